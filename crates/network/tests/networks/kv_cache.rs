//! Cached rows answer as if they had been computed again, wherever nothing that they see has changed.

use aquatint_compute::{Cpu, CpuPath, Visibility};
use aquatint_diffusion::Layout;
use aquatint_network::{
    CachedRows, Denoiser, KvCache, Network, NetworkError, NetworkInput, NetworkSpec, RowLayout, WholeRows,
};
use aquatint_testing::Example;
use std::sync::Mutex;

/// Sequences in blocks of four.
fn blocks(lengths: &[usize]) -> (Example, Visibility) {
    let spec = NetworkSpec { attention: Layout::Block { length: 4 }, ..Example::named("plain").spec };
    let example = Example::ragged(spec, lengths);
    let mut rows = RowLayout::default();
    for &length in lengths {
        rows.push(example.spec.attention, length, &[]);
    }
    (example, rows.finish().unwrap().1)
}

fn again(
    network: &dyn Denoiser,
    input: &NetworkInput<'_>,
    rows_to_compute: &[u32],
    kv_caches: &mut [KvCache],
    rows: &[u32],
) -> Result<Vec<Vec<f32>>, NetworkError> {
    let answers = Mutex::new(vec![Vec::new(); rows.len()]);
    network.forward_cached(input, CachedRows { rows_to_compute, kv_caches }, rows, &|index, logits| {
        answers.lock().unwrap()[index] = logits.to_vec();
    })?;
    Ok(answers.into_inner().unwrap())
}

#[test]
fn reading_block_after_block_is_reading_everything_to_the_bit() {
    let lengths = [13, 4, 9];
    for windows in [[None; 2], [Some(3), None], [Some(2), Some(6)]] {
        let (mut example, visibility) = blocks(&lengths);
        if windows == [None; 2] {
            let mut several = example.clone();
            several.spec.layers.iter_mut().for_each(|layer| {
                layer.attention.head_size = 8;
                layer.attention.rope.axes = 3;
            });
            let of_row = |position: &u32| [2 + position / 4, 2 + position % 4, *position];
            several.places = Some(several.positions.iter().flat_map(of_row).collect());
            block_after_block(&several, &visibility);
        }
        example.spec.layers.iter_mut().zip(windows).for_each(|(layer, window)| layer.attention.window = window);
        block_after_block(&example, &visibility);
        // Rows that choose their experts together are computed together.
        let routed = Example::named("block-experts").spec;
        example.spec.layers.iter_mut().zip(&routed.layers).for_each(|(layer, routed)| {
            layer.feed_forward = routed.feed_forward;
        });
        block_after_block(&example, &visibility);
    }
}

/// Compares each block, read by itself, with a pass over everything.
fn block_after_block(example: &Example, visibility: &Visibility) {
    let input = NetworkInput { visibility, ..example.input() };
    for path in CpuPath::available() {
        let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(path, 2).unwrap());
        let size = example.spec.vocabulary_size;
        let all: Vec<u32> = (0..visibility.len() as u32).collect();
        let truth = network.logits(&input, &all).unwrap();
        let mut kv_caches: Vec<KvCache> = visibility.sequences().iter().map(|_| KvCache::default()).collect();
        for block in 0..4_u32 {
            let of_block = |row: &u32| {
                let sequence = visibility.sequences().iter().find(|rows| rows.contains(row)).unwrap();
                (row - sequence.start) / 4 == block
            };
            let rows_to_compute: Vec<u32> = all.iter().copied().filter(of_block).collect();
            // RowTargets out of order, and not for all that is read.
            let requested: Vec<u32> = rows_to_compute.iter().rev().step_by(2).copied().collect();
            let answers = again(&network, &input, &rows_to_compute, &mut kv_caches, &requested).unwrap();
            for (row, answer) in requested.iter().zip(answers) {
                assert_eq!(answer, truth[*row as usize * size..][..size], "{path}: row {row}");
            }
        }
        assert!(kv_caches.iter().all(|memory| !memory.is_empty()));
    }
}

#[test]
fn rows_outside_every_window_need_not_be_cached() {
    let (mut example, visibility) = blocks(&[12]);
    let input_of = |example: &Example, rows: &[u32]| {
        let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap());
        let input = NetworkInput { visibility: &visibility, ..example.input() };
        let mut caches = [KvCache::default()];
        again(&network, &input, rows, &mut caches, &rows[rows.len() - 1..])
    };
    let last: Vec<u32> = (4..12).collect();
    example.spec.layers[1].attention.window = Some(2);
    assert!(matches!(input_of(&example, &last), Err(NetworkError::NotCached { row: 4 })), "one layer sees everything");
    example.spec.layers[0].attention.window = Some(1);
    assert!(matches!(input_of(&example, &last), Err(NetworkError::NotCached { row: 4 })), "row 4 sees row 3");
    example.spec.layers[1].attention.window = Some(1);
    assert!(input_of(&example, &last).is_ok());
}

#[test]
fn rows_left_of_every_window_are_freed_and_the_rest_is_read_to_the_bit() {
    const BLOCK: u32 = 4;
    let (mut example, visibility) = blocks(&[148, 9, 96]);
    example.spec.context_length = 256;
    example.spec.layers.iter_mut().zip([3, 6]).for_each(|(layer, window)| layer.attention.window = Some(window));
    assert_eq!(example.spec.widest_window(), Some(6));
    let input = NetworkInput { visibility: &visibility, ..example.input() };
    for path in CpuPath::available() {
        let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(path, 2).unwrap());
        let size = example.spec.vocabulary_size;
        let all: Vec<u32> = (0..visibility.len() as u32).collect();
        let truth = network.logits(&input, &all).unwrap();
        let mut kv_caches: Vec<KvCache> = visibility.sequences().iter().map(|_| KvCache::default()).collect();
        for block in 0..37 {
            let of_block = |row: &u32| {
                let sequence = visibility.sequences().iter().find(|rows| rows.contains(row)).unwrap();
                (row - sequence.start) / BLOCK == block
            };
            let rows: Vec<u32> = all.iter().copied().filter(of_block).collect();
            kv_caches.iter_mut().for_each(|cache| cache.free_before((BLOCK * block + 1).saturating_sub(6) as usize));
            let answers = again(&network, &input, &rows, &mut kv_caches, &rows).unwrap();
            for (row, answer) in rows.iter().zip(answers) {
                assert_eq!(answer, truth[*row as usize * size..][..size], "{path}: row {row}");
            }
            // Two rooms are what a window that lies across their border takes.
            assert!(kv_caches.iter().all(|cache| cache.rows() <= 64), "{path}: block {block}");
        }
        let read = again(&network, &input, &[132, 133, 134, 135], &mut kv_caches, &[]);
        assert!(matches!(read, Err(NetworkError::NotCached { row: 132 })), "row 132 sees rows that were freed");
        let error = again(&network, &input, &[0, 1, 2, 3], &mut kv_caches, &[]).unwrap_err();
        assert_eq!(error.to_string(), "row 0 is to be computed (`rows_to_compute`), but was freed from its KV cache");
    }
}

#[test]
fn a_row_that_is_not_read_keeps_what_it_was() {
    let example = Example::named("plain");
    let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap());
    let all: Vec<u32> = (0..example.visibility.len() as u32).collect();
    let mut kv_caches: Vec<KvCache> = example.visibility.sequences().iter().map(|_| KvCache::default()).collect();
    let truth = again(&network, &example.input(), &all, &mut kv_caches, &all).unwrap();
    assert_eq!(truth.concat(), network.logits(&example.input(), &all).unwrap());
    // Another token in a row that is not read again: nobody notices. In one that is read: everybody who sees it does.
    let mut tokens = example.tokens.clone();
    tokens[0] = (tokens[0] + 1) % 3;
    let changed = NetworkInput { tokens: &tokens, ..example.input() };
    assert_eq!(again(&network, &changed, &all[1..], &mut kv_caches, &[1]).unwrap()[0], truth[1]);
    assert_ne!(again(&network, &changed, &all, &mut kv_caches, &[1]).unwrap()[0], truth[1]);
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let (example, visibility) = blocks(&[8]);
    let input = NetworkInput { visibility: &visibility, ..example.input() };
    let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap());
    let message = |rows_to_compute: &[u32], kv_caches: &mut [KvCache], rows: &[u32]| {
        again(&network, &input, rows_to_compute, kv_caches, rows).unwrap_err().to_string()
    };
    let empty = || [KvCache::default()];
    assert_eq!(
        message(&[0, 1, 2, 3], &mut empty(), &[5]),
        "row 5 has to answer but is not among the rows that are read (`rows_to_compute`)"
    );
    assert_eq!(
        message(&[4, 5, 6, 7], &mut empty(), &[5]),
        "row 4 sees a row that is neither computed (`rows_to_compute`) nor cached"
    );
    assert_eq!(message(&[0, 2, 1, 3], &mut empty(), &[]), "`rows_to_compute` does not ascend at index 2");
    assert!(message(&[8], &mut empty(), &[]).starts_with("`rows_to_compute` has 8 at index 0; allowed: below 8"));
    assert!(message(&[0], &mut [], &[]).starts_with("`kv_caches` has 0 entries; expected: 1"));
    let (longer, long) = blocks(&[12]);
    let mut kv_caches = empty();
    let input = NetworkInput { visibility: &long, ..longer.input() };
    again(&network, &input, &[0, 1, 2, 3], &mut kv_caches, &[]).unwrap();
    assert_eq!(
        message(&[0, 1, 2, 3], &mut kv_caches, &[]),
        "the KV cache is of another network, or of a longer sequence"
    );
}

/// Rows of a batch that was cut out of a larger one: a part of each chosen sequence.
struct Cut {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    visibility: Visibility,
    /// Where each row stands in the larger batch.
    origin: Vec<u32>,
}

impl Cut {
    /// The first `length` rows of each of these sequences, or all where there are fewer.
    fn new(example: &Example, visibility: &Visibility, chosen: &[usize], length: usize) -> Self {
        let mut rows = RowLayout::default();
        let mut origin = Vec::new();
        for &index in chosen {
            let sequence = visibility.sequences()[index].clone();
            let length = length.min(sequence.len());
            rows.push(example.spec.attention, length, &[]);
            origin.extend(sequence.take(length));
        }
        let (positions, visibility) = rows.finish().unwrap();
        let tokens = origin.iter().map(|&row| example.tokens[row as usize]).collect();
        Self { tokens, positions, visibility, origin }
    }

    fn input(&self) -> NetworkInput<'_> {
        NetworkInput::of_tokens(&self.tokens, &self.positions, &self.visibility)
    }

    /// Reads the rows from `first` of each sequence on and compares them with the truth of the larger batch.
    fn check(&self, network: &dyn Denoiser, kv_caches: &mut [KvCache], first: usize, truth: &[f32]) {
        let sequences = self.visibility.sequences().iter();
        let rows: Vec<u32> = sequences.flat_map(|rows| rows.clone().skip(first)).collect();
        let answers = again(network, &self.input(), &rows, kv_caches, &rows).unwrap();
        let size = network.spec().vocabulary_size;
        for (row, answer) in rows.iter().zip(answers) {
            assert_eq!(answer, truth[self.origin[*row as usize] as usize * size..][..size], "row {row}");
        }
    }
}

#[test]
fn sequences_grow_and_leave_and_lie_in_any_order_and_are_read_as_if_alone() {
    let lengths = [70, 24, 132, 8];
    let (example, visibility) = blocks(&lengths);
    let example = Example { spec: NetworkSpec { context_length: 256, ..example.spec }, ..example };
    let whole = NetworkInput { visibility: &visibility, ..example.input() };
    for path in CpuPath::available() {
        let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(path, 2).unwrap());
        let all: Vec<u32> = (0..visibility.len() as u32).collect();
        let truth = network.logits(&whole, &all).unwrap();
        let fresh = |count| -> Vec<KvCache> { (0..count).map(|_| KvCache::default()).collect() };
        // The first of them goes when it has filled its room; a later one takes that.
        let mut first = fresh(1);
        Cut::new(&example, &visibility, &[1], 24).check(&network, &mut first, 0, &truth);
        let mut growing = fresh(2);
        Cut::new(&example, &visibility, &[0, 2], 20).check(&network, &mut growing, 0, &truth);
        drop(first);
        let mut late = fresh(1);
        Cut::new(&example, &visibility, &[3], 8).check(&network, &mut late, 0, &truth);
        let taken: usize = growing.iter().map(KvCache::bytes).sum();
        // Grown block by block, with the last that came first in the batch.
        for length in (24..=132).step_by(4) {
            let mut caches: Vec<KvCache> = late.drain(..).chain(growing.drain(..)).collect();
            let cut = Cut::new(&example, &visibility, &[3, 0, 2], length);
            cut.check(&network, &mut caches, if length == 24 { 4 } else { length - 4 }, &truth);
            growing = caches.split_off(1);
            late = caches;
        }
        assert!(growing.iter().map(KvCache::bytes).sum::<usize>() > taken);
        assert!(growing[1].rows() >= 132);
    }
}

#[test]
fn a_cache_holds_keys_and_values_and_nothing_else() {
    let (example, visibility) = blocks(&[8]);
    let input = NetworkInput { visibility: &visibility, ..example.input() };
    let network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap());
    let mut caches = [KvCache::default()];
    assert_eq!((caches[0].rows(), caches[0].bytes()), (0, 0));
    again(&network, &input, &[0, 1, 2, 3], &mut caches, &[]).unwrap();
    let columns = |layer: &aquatint_network::LayerSpec| 2 * layer.attention.key_value_heads * layer.attention.head_size;
    let columns: usize = example.spec.layers.iter().map(columns).sum();
    assert_eq!(caches[0].bytes(), caches[0].rows() * columns * size_of::<f32>());
    assert_eq!(network.kv_cache_bytes(8), caches[0].bytes());
}
