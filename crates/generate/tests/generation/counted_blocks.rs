//! Blocks that are counted from the hole.

use crate::chain::{MASK, process};
use crate::real::small;
use crate::refusals::refused;
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Layout};
use aquatint_generate::{BlocksFrom, Cache, DenoisingEvent, Outcome, Request, Settings, generate};
use aquatint_network::Network;
use std::ops::ControlFlow;

/// The outcome of a continuation of so many tokens, with the positions of its blocks.
fn filled(given: usize, from: BlocksFrom, cache: Cache, part: Option<usize>) -> (Outcome, Vec<Vec<usize>>) {
    let spec = small(|spec| spec.attention = Layout::Block { length: 4 });
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
    let mut canvas = Canvas::new();
    canvas.push_given(&(2..2 + given as u32).collect::<Vec<_>>());
    canvas.push_open(10, false, MASK);
    let builder = Settings::builder().steps(3).temperature(0.7).seed(5).blocks_from(from).cache(cache);
    let settings = part.into_iter().fold(builder, |builder, part| builder.block_length(part)).build().unwrap();
    let mut blocks = Vec::new();
    let outcome = generate(&network, &process(), &[Request::new(canvas, settings)], &mut |_, event| {
        if let DenoisingEvent::BlockStarted { positions, .. } = event {
            blocks.push(positions.to_vec());
        }
        ControlFlow::Continue(())
    });
    (outcome.into_iter().next().unwrap().unwrap(), blocks)
}

#[test]
fn the_hole_begins_a_block_and_an_exact_cache_stays_exact() {
    for given in 0..9 {
        let (with, blocks) = filled(given, BlocksFrom::Hole, Cache::Exact, None);
        let (without, _) = filled(given, BlocksFrom::Hole, Cache::None, None);
        let lengths: Vec<usize> = blocks.iter().map(Vec::len).collect();
        assert_eq!((lengths, blocks[0][0]), (vec![4, 4, 2], given));
        assert_eq!(with.canvas, without.canvas, "{given} given");
        assert!(with.statistics.rows_read < without.statistics.rows_read);
        let (text, own) = filled(given, BlocksFrom::Text, Cache::Exact, None);
        // Where the prompt is whole blocks, both count alike.
        assert_eq!(given.is_multiple_of(4), own == blocks, "{given} given");
        assert!(!given.is_multiple_of(4) || text == with);
        let (_, parts) = filled(given, BlocksFrom::Hole, Cache::Dual, Some(2));
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2; 5]);
    }
}

/// A window that slides over the text begins with whole blocks of it.
#[test]
fn blocks_are_not_counted_from_the_hole_of_a_text_longer_than_the_context() {
    let spec = small(|spec| (spec.attention, spec.context_length) = (Layout::Block { length: 4 }, 12));
    let network = Network::new(Cpu::<f32>::scalar(), spec, 1).unwrap();
    let request = |given: u32| {
        let mut canvas = Canvas::new();
        canvas.push_given(&(2..2 + given).collect::<Vec<_>>());
        canvas.push_open(10, false, MASK);
        Request::new(canvas, Settings::builder().steps(1).blocks_from(BlocksFrom::Hole).build().unwrap())
    };
    assert_eq!(
        refused(&network, request(3)),
        "`blocks_from` is hole; allowed: text where a canvas of 13 is longer than the context of 12"
    );
    let outcomes = generate(&network, &process(), &[request(4)], &mut |_, _| ControlFlow::Continue(()));
    assert!(outcomes[0].is_ok(), "four are a whole block");
}
