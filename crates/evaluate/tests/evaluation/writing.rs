//! Texts and puzzles written by models whose predictions are known, under a judge whose price is known.

use aquatint_compute::ReadRow;
use aquatint_diffusion::{Layout, TokenId, WordVectors};
use aquatint_evaluate::sudoku::{ExamSettings, Part, Puzzle, Puzzles, Size, examine};
use aquatint_evaluate::{Compare, CompareEvent, CompareSettings, Contestant, EvaluateError, Judge, Writer};
use aquatint_generate::DenoisingEvent;
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, NetworkError, NetworkInput, NetworkSpec,
};
use aquatint_vocabulary::{Role, Vocabulary};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static NEVER: AtomicBool = AtomicBool::new(false);

/// A network that predicts one token at each position with certainty, or nothing at all.
pub(crate) struct Known<F> {
    spec: NetworkSpec,
    predict: F,
    passes: AtomicUsize,
}

pub(crate) fn known<F: Fn(u32) -> Option<TokenId> + Send + Sync>(
    attention: Layout,
    vocabulary: &Vocabulary,
    predict: F,
) -> Known<F> {
    let layer = LayerSpec::new(AttentionSpec::new(1, 1, 4), FeedForwardSpec::new(4));
    let spec = NetworkSpec {
        context_length: 200,
        attention,
        mask_token: vocabulary.role(Role::Mask).filter(|_| attention != Layout::Causal),
        ..NetworkSpec::new(vocabulary.len(), 4, vec![layer])
    };
    Known { spec, predict, passes: AtomicUsize::new(0) }
}

impl<F: Fn(u32) -> Option<TokenId> + Send + Sync> HostDenoiser for Known<F> {
    fn host_spec(&self) -> &NetworkSpec {
        &self.spec
    }
    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }
    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        self.passes.fetch_add(1, Ordering::SeqCst);
        for (index, &row) in rows.iter().enumerate() {
            let mut logits = vec![0.0; self.spec.vocabulary_size];
            if let Some(mask) = self.spec.mask_token {
                logits[mask as usize] = f32::NEG_INFINITY;
            }
            if let Some(token) = (self.predict)(input.positions[row as usize]) {
                logits[token as usize] = 100.0;
            }
            read(index, &mut logits);
        }
        Ok(())
    }
}

/// One token for each byte of ASCII; a text that repeats itself has longer ones from 261 tokens on.
pub(crate) fn vocabulary(text: &str, size: usize) -> Vocabulary {
    Vocabulary::train(std::iter::once(text.to_owned()), size).unwrap()
}

pub(crate) fn token(vocabulary: &Vocabulary, text: &str) -> TokenId {
    vocabulary.encode(text).unwrap()[0]
}

pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("aquatint-writing-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_judge_without_an_opinion_has_the_perplexity_of_its_vocabulary() {
    let vocabulary = vocabulary("abc", 260);
    let network = known(Layout::Causal, &vocabulary, |_| None);
    let judge = Judge::new("nobody", &network, &vocabulary).unwrap();
    let texts = ["abc".to_owned(), "ab".to_owned()];
    let judgement = judge.judge(&texts, 8, &NEVER).unwrap();
    assert!((judgement.perplexity / vocabulary.len() as f64 - 1.0).abs() < 1e-9, "{judgement:?}");
    assert_eq!(judgement.tokens, 5);
    // Twice the writer's length is read, and no more.
    assert_eq!(judge.judge(&texts, 1, &NEVER).unwrap().tokens, 4);
    let stopped = judge.judge(&texts, 8, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(stopped, EvaluateError::Stopped));
}

#[test]
fn only_causal_models_judge_and_only_others_are_compared() {
    let vocabulary = vocabulary("abc", 260);
    let (full, causal) = (known(Layout::Full, &vocabulary, |_| None), known(Layout::Causal, &vocabulary, |_| None));
    let refused = Judge::new("runs/masked", &full, &vocabulary).err().unwrap();
    assert_eq!(refused.to_string(), "the judge `runs/masked` is no causal model");
    assert!(refused.hint().unwrap().contains("recipes/compare/judge.toml"));
    let refused = Contestant::new(("judge", "runs/judge"), &causal, &vocabulary, None).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "`runs/judge` is a causal model, which takes one step for each token, however many are asked for"
    );
    assert_eq!(Writer::new(&causal, &vocabulary).unwrap().process().name(), "left-to-right");
}

#[test]
fn what_was_compared_is_retained_and_not_written_again() {
    let vocabulary = vocabulary("abc", 260);
    let a = token(&vocabulary, "a");
    let network = known(Layout::Full, &vocabulary, move |_| Some(a));
    let uniform = known(Layout::Causal, &vocabulary, |_| None);
    let judge = Judge::new("nobody", &uniform, &vocabulary).unwrap();
    let contestant = Contestant::new(("a", "runs/a"), &network, &vocabulary, None).unwrap();
    let out = folder("compared");
    let settings = |steps: &[usize]| CompareSettings {
        steps: steps.to_vec(),
        texts: 3,
        length: Some(8),
        policy: "confidence".to_owned(),
        temperature: 1.0,
        seed: 5,
        held_out: None,
        canvases: 1,
        times: 1,
    };
    let run = |steps: &[usize], stop: &AtomicBool| {
        let settings = settings(steps);
        let mut compare = Compare::open(&settings, &judge, (&out, &out), stop).unwrap();
        let mut heard = Vec::new();
        let end = compare.run(&contestant, &mut |event| match event {
            CompareEvent::Written(written) => heard.push(format!("written in {:?}", written.setting.steps)),
            CompareEvent::Known { model, steps } => heard.push(format!("{model} known in {steps}")),
            CompareEvent::HeldOut(_) | CompareEvent::Measured { .. } => heard.push("held out".to_owned()),
        });
        (end, heard, compare.comparison().clone())
    };
    let (end, heard, comparison) = run(&[2], &NEVER);
    end.unwrap();
    assert_eq!(heard, ["written in Some(2)"]);
    let written = &comparison.texts[0];
    assert_eq!((written.unigram_entropy, written.tokens_per_text, written.forward_passes_per_text), (0.0, 8.0, 2.0));
    // Three texts of seven equal pairs each.
    assert_eq!(written.distinct_bigrams, 1.0 / 21.0);
    assert!((written.judge_perplexity / vocabulary.len() as f64 - 1.0).abs() < 1e-9);
    let samples = std::fs::read_to_string(out.join("samples/a-2.txt")).unwrap();
    assert_eq!(samples, "aaaaaaaa\n\n---\n\naaaaaaaa\n\n---\n\naaaaaaaa\n");

    let passes = network.passes.load(Ordering::SeqCst);
    let (end, heard, again) = run(&[2], &NEVER);
    end.unwrap();
    assert_eq!((heard.as_slice(), &again), (&["a known in 2".to_owned()][..], &comparison));
    assert_eq!(network.passes.load(Ordering::SeqCst), passes);
    let (end, heard, stopped) = run(&[2, 4], &AtomicBool::new(true));
    assert!(matches!(end, Err(EvaluateError::Stopped)));
    assert_eq!((heard.len(), &stopped), (1, &comparison));
    std::fs::remove_dir_all(out).unwrap();
}

fn puzzle() -> Puzzle {
    Puzzles::new(Size::Nine, 1, Part::Unseen, 40..=40).next().unwrap()
}

fn exam() -> ExamSettings {
    ExamSettings { steps: 3, policy: "confidence".to_owned(), temperature: 1.0, seed: 0 }
}

#[test]
fn a_model_that_knows_the_solution_solves_the_puzzle() {
    let vocabulary = vocabulary("123456789.", 260);
    let puzzle = puzzle();
    let solution = vocabulary.encode(&puzzle.solution.to_string()).unwrap();
    let network =
        known(Layout::Full, &vocabulary, move |position| solution.get(position.checked_sub(81)? as usize).copied());
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let result = examine(&writer, &[puzzle], &exam(), &NEVER).unwrap();
    assert_eq!((result.scores.solved, result.scores.cell_rate(), result.forward_passes_per_puzzle), (1, 1.0, 3.0));
    let stopped = examine(&writer, &[puzzle], &exam(), &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(stopped, EvaluateError::Stopped));
}

#[test]
fn a_model_that_writes_ones_solves_nothing_and_is_right_where_a_one_belongs() {
    let vocabulary = vocabulary("123456789.", 260);
    let puzzle = puzzle();
    let one = token(&vocabulary, "1");
    let network = known(Layout::Full, &vocabulary, move |_| Some(one));
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let scores = examine(&writer, &[puzzle], &exam(), &NEVER).unwrap().scores;
    let ones = puzzle.solution.to_string().matches('1').count() - puzzle.clues.to_string().matches('1').count();
    assert_eq!(
        (scores.solved, scores.well_formed, scores.right, scores.requested),
        (0, 1, ones, 81 - puzzle.clues.filled())
    );
}

#[test]
fn cells_that_are_not_one_token_each_are_refused() {
    let vocabulary = vocabulary(&"..".repeat(400), 264);
    let network = known(Layout::Full, &vocabulary, |_| None);
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let error = examine(&writer, &[puzzle()], &exam(), &NEVER).unwrap_err();
    assert!(matches!(error, EvaluateError::Cells { cells: 81, tokens } if tokens < 81), "{error}");
    assert!(error.hint().unwrap().contains("recipes/sudoku"));
}

/// Where a begin token stands in front of a model's texts, it does on empty canvases, too, and is no part of what was written.
#[test]
fn an_empty_canvas_begins_as_the_texts_of_the_model_do() {
    let plain = vocabulary("abc", 260);
    let mut beginning = plain.clone();
    beginning.set_adds_begin(true).unwrap();
    let (begin, a) = (beginning.role(Role::Begin).unwrap(), token(&plain, "a"));
    let network = known(Layout::Full, &plain, move |_| Some(a));
    let (with, without) = (Writer::new(&network, &beginning).unwrap(), Writer::new(&network, &plain).unwrap());
    assert_eq!(with.empty_canvas(3).tokens(), [begin, with.blank(), with.blank(), with.blank()]);
    assert_eq!(
        (with.empty_canvas(3).open_positions(), with.longest_text() + 1),
        (vec![1, 2, 3], without.longest_text())
    );
    assert_eq!(without.empty_canvas(3).tokens(), [without.blank(); 3]);
    for writer in [with, without] {
        let request = writer.request(writer.empty_canvas(3), writer.settings().build().unwrap());
        let outcome = writer.fill(&[request], &mut |_, _| true).unwrap().remove(0);
        assert_eq!(writer.written(&outcome), [a, a, a]);
    }
}

#[test]
fn whoever_has_canvases_filled_hears_of_every_step_and_can_stop_before_the_first() {
    let vocabulary = vocabulary("abc", 260);
    let a = token(&vocabulary, "a");
    let network = known(Layout::Full, &vocabulary, move |_| Some(a));
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let settings = writer.settings().steps(3).build().unwrap();
    let request = || writer.request(writer.empty_canvas(3), settings.clone());
    let requests = [request(), request()];
    let stopped = writer.fill(&requests, &mut |_, _| false);
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
    assert_eq!(network.passes.load(Ordering::SeqCst), 0);
    // After the first no nobody hears anything.
    let mut heard = 0;
    let stopped = writer.fill(&requests, &mut |_, event| {
        heard += 1;
        !matches!(event, DenoisingEvent::Step { .. })
    });
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
    // Both begin, both begin a block, and one has made a step.
    assert_eq!((network.passes.load(Ordering::SeqCst), heard), (1, 5));
    let mut steps = [0, 0];
    let outcomes = writer.fill(&requests, &mut |index, event| {
        steps[index] += usize::from(matches!(event, DenoisingEvent::Step { .. }));
        true
    });
    assert_eq!((outcomes.unwrap().len(), steps), (2, [3, 3]));
}
