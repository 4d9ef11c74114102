//! Causal networks write from left to right: what their own likelihood says is most likely, with and without a cache,
//! alone and beside others, up to the end token.

use crate::chain::{END, process as masked, spec};
use crate::real::{listening, small};
use aquatint_compute::{Cpu, CpuPath, ReadRow};
use aquatint_diffusion::{Canvas, Layout, LeftToRight, Process, TokenId, WordVectors};
use aquatint_generate::{
    Cache, FinishReason, GenerateError, Outcome, Request, Settings, SettingsBuilder, generate, process_of,
};
use aquatint_network::{
    Denoiser, HostDenoiser, Network, NetworkError, NetworkInput, NetworkSpec, RowLayout, RowSlots, WholeRows,
};
use std::ops::ControlFlow;

/// What stands before a text.
const BEGIN: TokenId = 2;

fn causal() -> NetworkSpec {
    small(|spec| (spec.attention, spec.mask_token) = (Layout::Causal, None))
}

fn network(path: CpuPath, threads: usize) -> Network<Cpu<f32>> {
    listening(Network::new(Cpu::<f32>::new(path, threads).unwrap(), causal(), 1).unwrap())
}

fn canvas(given: u32, open: usize, approximate: bool) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&(3..3 + given).collect::<Vec<TokenId>>());
    canvas.push_open(open, approximate, BEGIN);
    canvas
}

fn filled(network: &dyn Denoiser, requests: &[Request]) -> Vec<Result<Outcome, GenerateError>> {
    let process = process_of(network.spec(), Some(BEGIN)).unwrap();
    generate(network, process.as_ref(), requests, &mut |_, _| ControlFlow::Continue(()))
}

fn fill(network: &dyn Denoiser, requests: &[Request]) -> Vec<Outcome> {
    filled(network, requests).into_iter().collect::<Result<_, _>>().unwrap()
}

/// Continuations of different lengths, drawn in different ways.
fn unlike(change: impl Fn(SettingsBuilder) -> SettingsBuilder) -> Vec<Request> {
    let request = |given: u32, open: usize, approximate: bool, settings: SettingsBuilder| {
        let settings = change(settings.seed(u64::from(given))).build().unwrap();
        Request::new(canvas(given, open, approximate), settings).with_ends(Some(END))
    };
    vec![
        request(0, 6, false, Settings::builder().temperature(0.0)),
        request(3, 18, true, Settings::builder()),
        request(9, 12, false, Settings::builder().temperature(0.8).top_k(7).top_p(0.9)),
        request(5, 9, true, Settings::builder().repetition_penalty(1.4)),
    ]
}

/// The likeliest token behind a text, as the network reads all of it at once.
fn likeliest(network: &dyn Denoiser, text: &[TokenId]) -> TokenId {
    let tokens: Vec<TokenId> = std::iter::once(BEGIN).chain(text.iter().copied()).collect();
    let mut rows = RowLayout::default();
    rows.push(Layout::Causal, tokens.len(), &[]);
    let (positions, visibility) = rows.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let slots = RowSlots::new(1);
    let last = [tokens.len() as u32 - 1];
    network.forward_rows(&input, &last, &|index, logits| slots.set(index, logits.to_vec())).unwrap();
    let logits = slots.into_vec().unwrap().remove(0);
    (0..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).map(|(token, _)| token).unwrap()
}

#[test]
fn greedy_text_is_what_the_likelihood_says_is_likeliest() {
    for path in CpuPath::available() {
        let network = network(path, 1);
        let greedy = Settings::builder().temperature(0.0).build().unwrap();
        for given in [0, 4] {
            let outcome = fill(&network, &[Request::new(canvas(given, 12, false), greedy.clone())]).remove(0);
            let mut text: Vec<TokenId> = (3..3 + given).collect();
            for _ in 0..12 {
                text.push(likeliest(&network, &text));
            }
            assert_eq!(outcome.tokens, text, "{path}");
            assert_eq!((outcome.statistics.forward_passes, outcome.reason), (12, FinishReason::Filled));
        }
    }
}

#[test]
fn an_exact_cache_changes_nothing_and_reads_each_row_once() {
    for path in CpuPath::available() {
        let network = network(path, 2);
        let of = |cache| fill(&network, &unlike(|settings| settings.cache(cache)));
        let (with, without, default) =
            (of(Cache::Exact), of(Cache::None), fill(&network, &unlike(|settings| settings)));
        for ((with, without), default) in with.iter().zip(&without).zip(&default) {
            assert_eq!((&with.canvas, with.reason), (&without.canvas, without.reason), "{path}");
            assert_eq!(with, default);
            // The row of the last token is never needed.
            let passes = with.statistics.forward_passes;
            let given = without.statistics.rows_read / passes - passes.div_ceil(2);
            assert_eq!(with.statistics.rows_read, given + passes);
            assert!(with.statistics.rows_read < without.statistics.rows_read);
        }
    }
}

#[test]
fn a_batch_changes_nothing() {
    for path in CpuPath::available() {
        let (one, two) = (network(path, 1), network(path, 2));
        let requests = unlike(|settings| settings);
        for (request, outcome) in requests.iter().zip(fill(&two, &requests)) {
            assert_eq!(fill(&one, std::slice::from_ref(request))[0], outcome, "{path}");
        }
    }
}

/// Counts on from the token before, and ends behind the seventh.
struct Counter(NetworkSpec);

impl HostDenoiser for Counter {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        for sequence in input.visibility.sequences() {
            assert_eq!(input.tokens[sequence.start as usize], BEGIN);
            // Nothing behind the position that is written is read.
            assert_eq!(sequence.end - 1, rows[0]);
        }
        for (index, row) in rows.iter().enumerate() {
            let before = input.tokens[*row as usize];
            let next = if before >= 7 { END } else { before + 1 };
            let mut logits = vec![0.0; 10];
            logits[next as usize] = 50.0;
            read(index, &mut logits);
        }
        Ok(())
    }
}

fn counter() -> Counter {
    Counter(NetworkSpec { mask_token: None, ..spec(10, Layout::Causal) })
}

#[test]
fn an_end_token_ends_the_text_and_stands_in_no_exact_hole() {
    let request = |approximate| Request::new(canvas(2, 9, approximate), Settings::default()).with_ends(Some(END));
    let outcome = fill(&counter(), &[request(true)]).remove(0);
    assert_eq!((outcome.tokens.as_slice(), outcome.reason), (&[3, 4, 5, 6, 7][..], FinishReason::End));
    // Three tokens and the end; the five positions behind it cost nothing.
    assert_eq!((outcome.statistics.tokens, outcome.statistics.forward_passes), (3, 4));
    let exact = fill(&counter(), &[request(false)]).remove(0);
    assert_eq!((exact.tokens.len(), exact.reason), (11, FinishReason::Filled));
}

#[test]
fn what_a_causal_model_cannot_do_is_refused_by_name() {
    let refused = |canvas: Canvas, change: fn(SettingsBuilder) -> SettingsBuilder| {
        let request = Request::new(canvas, change(Settings::builder()).build().unwrap());
        let error = filled(&counter(), &[request]).remove(0).unwrap_err();
        format!("{error} | {}", error.hint().unwrap_or_default())
    };
    let mut behind = canvas(2, 3, true);
    behind.push_given(&[4]);
    assert_eq!(
        refused(behind, |settings| settings),
        "a causal model writes from left to right and does not see the text behind a hole, which begins at position 5 of \
         the canvas | put the hole at the end of the text, or choose a diffusion model"
    );
    type Change = fn(SettingsBuilder) -> SettingsBuilder;
    let changes: [(Change, &str); 5] = [
        (|settings| settings.guidance_scale(2.0), "`guidance_scale` is 2; allowed: 1"),
        (|settings| settings.remasking_named("cap:0.2"), "`remasking` is cap:0.2; allowed: none"),
        (|settings| settings.policy_named("margin"), "`policy` is margin; allowed: auto"),
        (|settings| settings.block_length(4), "`block_length` is 4; allowed: 1"),
        (|settings| settings.cache(Cache::Dual), "`cache` is dual; allowed: none, exact"),
    ];
    for (change, expected) in changes {
        let words = refused(canvas(2, 8, true), change);
        assert!(words.starts_with(expected), "{words}");
    }
    assert!(matches!(process_of(&counter().0, None), Err(GenerateError::NoBegin)));
    // A process and a network that do not belong together.
    let request = [Request::new(canvas(2, 3, true), Settings::default())];
    let of = |network: &dyn Denoiser, process: &dyn Process| {
        generate(network, process, &request, &mut |_, _| ControlFlow::Continue(())).remove(0).unwrap_err().to_string()
    };
    assert_eq!(of(&counter(), &masked()), "the process masked does not fit the model, whose attention is causal");
    let full = Counter(spec(10, Layout::Full));
    assert_eq!(
        of(&full, &LeftToRight::new(BEGIN)),
        "the process left-to-right does not fit the model, whose attention is full"
    );
}
