//! The bound against closed forms, with predictors whose price is known.

use aquatint_compute::ReadRow;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Layout, Linear, LossTerm, Masked, ProcessKind, TokenId, Vectors, WordVectors};
use aquatint_evaluate::{
    CausalLikelihood, DiffusionBound, Estimate, EvaluateError, Likelihood, ProbabilityFlow, Rule, Units, likelihood,
};
use aquatint_network::{
    AttentionSpec, Denoiser, FeedForwardSpec, ForwardPass, HostDenoiser, LayerSpec, LossRow, NetworkError,
    NetworkInput, NetworkSpec, ProcessSpec, RowAnswer, RowQuery, answer_on_host,
};
use std::sync::Arc;

const SIZE: usize = 11;
pub(crate) const MASK: TokenId = 10;
pub(crate) const BEGIN: TokenId = 9;

/// A predictor with given answers: −log p of a row, from what it reads.
pub(crate) struct Oracle<F> {
    spec: NetworkSpec,
    price: F,
}

pub(crate) fn oracle<F: Fn(&NetworkInput, &LossRow) -> f64 + Send + Sync>(attention: Layout, price: F) -> Oracle<F> {
    let spec = NetworkSpec {
        context_length: 64,
        attention,
        mask_token: Some(MASK),
        ..NetworkSpec::new(SIZE, 4, vec![LayerSpec::new(AttentionSpec::new(1, 1, 4), FeedForwardSpec::new(4))])
    };
    Oracle { spec, price }
}

impl<F: Fn(&NetworkInput, &LossRow) -> f64 + Send + Sync> Denoiser for Oracle<F> {
    fn spec(&self) -> &NetworkSpec {
        &self.spec
    }
    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        Ok(WordVectors::default())
    }
    fn forward(
        &self,
        _: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        answer_on_host(queries, SIZE, Vectors::default(), read, |rows, read| {
            (0..rows.len()).for_each(|index| read(index, &mut [0.0; SIZE]));
            Ok(())
        })
    }
    fn costs(&self, input: &NetworkInput, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        let row = |term: &LossTerm| LossRow { row: term.position as u32, target: term.target, weight: term.weight };
        self.nll(input, &terms.iter().map(row).collect::<Vec<LossRow>>())
    }
    fn token_gradients(&self, _: &NetworkInput, _: &[LossRow], _: &[u32]) -> Result<Vec<f32>, NetworkError> {
        Err(NetworkError::NoGradients { reason: "costs are given" })
    }
    fn kv_cache_bytes(&self, _: usize) -> usize {
        0
    }
    fn nll(&self, input: &NetworkInput, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        Ok(rows.iter().map(|row| (self.price)(input, row)).collect())
    }
}

/// Canvases of 8 positions: one full, one of two documents and two positions of padding.
fn batches(copies: usize) -> Vec<CanvasBatch> {
    let tokens = vec![1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 8, 2, 2, 8, 0, 0];
    let documents = vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, u32::MAX, u32::MAX];
    let text_bytes = vec![3, 3, 3, 3, 3, 3, 3, 0, 3, 3, 0, 3, 3, 0, 0, 0];
    vec![CanvasBatch { length: 8, tokens, documents, text_bytes, spans: Vec::new(), given: Vec::new() }; copies]
}

fn measure<F: Fn(&NetworkInput, &LossRow) -> f64 + Send + Sync>(
    model: &Oracle<F>,
    rule: &dyn Rule,
    seed: u64,
    batches: Vec<CanvasBatch>,
) -> Result<Likelihood, EvaluateError> {
    likelihood(model, rule, seed, batches.into_iter().map(Ok), &mut |_| true)
}

/// The standard error of a measurement of several canvases.
fn error(measured: &Likelihood) -> f64 {
    measured.standard_error.unwrap().nats_per_token
}

#[test]
fn knowing_nothing_costs_log_v_and_knowing_all_costs_nothing_whatever_the_masks() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let rule = DiffusionBound { process: &process, times: 3, prompt: 0 };
    let uniform = (SIZE as f64).ln();
    let guess = measure(&oracle(Layout::Full, move |_, _| uniform), &rule, 1, batches(4)).unwrap();
    // Fixed counts leave no noise at all where every position costs the same.
    assert!((guess.nats_per_token - uniform).abs() < 1e-12);
    assert!((guess.perplexity - SIZE as f64).abs() < 1e-9);
    assert!(error(&guess) < 1e-9);
    assert_eq!((guess.tokens, guess.canvases, guess.estimate), (4 * 14, 8, Estimate::Bound { times: 3 }));
    // Eleven of the fourteen tokens are text of three bytes, three are ends of documents, which are no text.
    assert_eq!(guess.bytes, 4 * 33);
    let bits = 14.0 * uniform / std::f64::consts::LN_2 / 33.0;
    assert!((guess.bits_per_byte - bits).abs() < 1e-12);

    let perfect = measure(&oracle(Layout::Full, |_, _| 0.0), &rule, 1, batches(4)).unwrap();
    assert_eq!(perfect.nats_per_token, 0.0);
}

#[test]
fn a_seed_gives_the_same_masks_in_batches_of_any_size() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let rule = DiffusionBound { process: &process, times: 2, prompt: 0 };
    // A price that depends on how much of the row's own canvas is hidden, so that other masks give another result.
    let model = oracle(Layout::Full, |input, row| {
        let sequence = input.visibility.sequences().iter().find(|s| s.contains(&row.row)).unwrap();
        let hidden =
            input.tokens[sequence.start as usize..sequence.end as usize].iter().filter(|t| **t == MASK).count();
        hidden as f64 + f64::from(row.row - sequence.start)
    });
    let one = measure(&model, &rule, 5, batches(6)).unwrap();
    let joined = CanvasBatch {
        length: 8,
        tokens: batches(6).into_iter().flat_map(|b| b.tokens).collect(),
        documents: batches(6).into_iter().flat_map(|b| b.documents).collect(),
        text_bytes: batches(6).into_iter().flat_map(|b| b.text_bytes).collect(),
        spans: Vec::new(),
        given: Vec::new(),
    };
    let other = measure(&model, &rule, 5, vec![joined]).unwrap();
    assert!((one.nats_per_token - other.nats_per_token).abs() < 1e-12);
    assert_eq!(one, measure(&model, &rule, 5, batches(6)).unwrap());
    assert_ne!(one.nats_per_token, measure(&model, &rule, 6, batches(6)).unwrap().nats_per_token);
    assert!(error(&one) > 0.0);
}

#[test]
fn hidden_rows_read_the_mask_and_the_bound_is_without_bias() {
    let process = Masked::new(MASK, Arc::new(Linear));
    // The price of a position is its own number: the bound's expectation is then the mean of 0..=7.
    let model = oracle(Layout::Full, |input, row| {
        assert_eq!(input.tokens[row.row as usize], MASK);
        f64::from(input.positions[row.row as usize])
    });
    let canvas = CanvasBatch {
        length: 8,
        tokens: vec![1, 2, 3, 4, 5, 6, 7, 8],
        documents: vec![0; 8],
        text_bytes: vec![1; 8],
        spans: Vec::new(),
        given: Vec::new(),
    };
    let rule = DiffusionBound { process: &process, times: 8, prompt: 0 };
    let measured = measure(&model, &rule, 3, vec![canvas; 500]).unwrap();
    let off = (measured.nats_per_token - 3.5) / error(&measured);
    assert!(off.abs() < 4.0, "{} ± {}", measured.nats_per_token, error(&measured));
}

#[test]
fn a_causal_model_reads_what_comes_before_and_is_measured_everywhere() {
    let clean = [1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 8, 2, 2, 8];
    let begins = [0, 8, 11];
    let model = oracle(Layout::Causal, move |input, row| {
        let row = row.row as usize;
        let before = if begins.contains(&row) { BEGIN } else { clean[row - 1] };
        assert_eq!(input.tokens[row], before);
        let start = begins.iter().rev().find(|b| **b <= row).unwrap();
        assert_eq!(input.visibility.row(row)[0], *start as u32..row as u32 + 1);
        row as f64
    });
    let measured = measure(&model, &CausalLikelihood { begin: BEGIN, prompt: 0 }, 0, batches(1)).unwrap();
    assert!((measured.nats_per_token - 6.5).abs() < 1e-12);
    assert_eq!(measured.estimate, Estimate::Exact);
}

#[test]
fn what_is_given_costs_nothing_under_a_causal_model_too() {
    // Each document has its first two tokens given: 14 tokens less 3 times 2.
    let begins = [0, 8, 11];
    let model = oracle(Layout::Causal, move |_, row| {
        let begin = begins.iter().rev().find(|begin| **begin <= row.row).unwrap();
        assert!(row.row - begin >= 2, "row {} is given", row.row);
        1.5
    });
    let measured = measure(&model, &CausalLikelihood { begin: BEGIN, prompt: 2 }, 0, batches(1)).unwrap();
    assert_eq!((measured.tokens, measured.nats_per_token), (8, 1.5));
    assert_eq!((measured.canvases, measured.documents), (2, 3));
    let nothing = measure(&model, &CausalLikelihood { begin: BEGIN, prompt: 8 }, 0, batches(1));
    assert!(matches!(nothing, Err(EvaluateError::Empty)));
}

#[test]
fn one_canvas_has_no_standard_error_and_ends_of_documents_no_bytes() {
    let model = oracle(Layout::Causal, |_, _| 1.0);
    let rule = CausalLikelihood { begin: BEGIN, prompt: 0 };
    let ends = CanvasBatch {
        length: 2,
        tokens: vec![8, 8],
        documents: vec![0, 1],
        text_bytes: vec![0, 0],
        spans: Vec::new(),
        given: Vec::new(),
    };
    let measured = measure(&model, &rule, 0, vec![ends]).unwrap();
    assert_eq!((measured.standard_error, measured.bytes), (None, 0));
    assert!(measured.bits_per_byte.is_nan());
    let both = measure(&model, &rule, 0, batches(1)).unwrap().standard_error.unwrap();
    assert_eq!(both.over, Units::Documents);
}

#[test]
fn nothing_to_measure_and_no_times_are_reported() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let model = oracle(Layout::Full, |_, _| 1.0);
    let rule = |times| DiffusionBound { process: &process, times, prompt: 0 };
    assert!(matches!(measure(&model, &rule(1), 0, Vec::new()), Err(EvaluateError::Empty)));
    let error = measure(&model, &rule(0), 0, batches(1)).unwrap_err().to_string();
    assert_eq!(error, "`time_samples` is 0; allowed: 1 or more");
    let stopped = likelihood(&model, &rule(1), 0, batches(2).into_iter().map(Ok), &mut |_| false);
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
}

/// Three words at the corners of a triangle, and how often each comes.
const CORNERS: [f32; 6] = [1.0, 0.0, -0.5, 0.866_025_4, -0.5, -0.866_025_4];
const SHARES: [f64; 3] = [0.6, 0.3, 0.1];

/// What knows the law of a field of single words, and nothing else.
struct Field(NetworkSpec);

impl HostDenoiser for Field {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }
    fn host_word_vectors(&self) -> WordVectors {
        WordVectors { size: 2, values: CORNERS.to_vec() }
    }
    fn host_rows(&self, input: &NetworkInput, rows: &[u32], read: &ReadRow) -> Result<(), NetworkError> {
        let points = input.points.unwrap();
        for (index, &row) in rows.iter().enumerate() {
            let own = &CORNERS[2 * input.tokens[row as usize] as usize..][..2];
            let z = points.offset(row as usize).iter().zip(own).map(|(r, e)| points.clean_weight[row as usize] * e + r);
            let z: Vec<f32> = z.collect();
            let evidence = points.prior_logit_scale[row as usize];
            let logit =
                |v: usize| SHARES[v].ln() as f32 + evidence * (z[0] * CORNERS[2 * v] + z[1] * CORNERS[2 * v + 1]);
            read(index, &mut [logit(0), logit(1), logit(2)]);
        }
        Ok(())
    }
}

/// With the exact prediction the flow's law is that of the text, so both bounds are its entropy.
#[test]
fn the_flow_of_an_exact_field_costs_the_entropy() {
    let spec = NetworkSpec {
        vocabulary_size: 3,
        mask_token: None,
        word_vector_size: Some(2),
        process: ProcessSpec { kind: ProcessKind::Gaussian { size: 2 }, ..ProcessSpec::default() },
        ..oracle(Layout::Full, |_, _| 0.0).spec
    };
    let process = spec.process().unwrap().unwrap();
    // Canvases of one token, as often as the law has them.
    let tokens: Vec<TokenId> = (0..600)
        .map(|i| {
            if i < 360 {
                0
            } else if i < 540 {
                1
            } else {
                2
            }
        })
        .collect();
    let batch = CanvasBatch {
        length: 1,
        documents: (0..600).collect(),
        tokens,
        text_bytes: vec![1; 600],
        spans: Vec::new(),
        given: Vec::new(),
    };
    let entropy: f64 = SHARES.iter().map(|p| -p * p.ln()).sum();
    let measure = |rule: &dyn Rule| {
        likelihood(&Field(spec.clone()), rule, 1, std::iter::once(Ok(batch.clone())), &mut |_| true).unwrap()
    };
    let flow = measure(&ProbabilityFlow { process: process.as_ref(), steps: 200 });
    assert_eq!(flow.estimate, Estimate::Flow { steps: 200 });
    let off = (flow.nats_per_token - entropy).abs();
    assert!(off < 4.0 * error(&flow) && error(&flow) < 0.05, "{flow:?} for {entropy}");
    let bound = measure(&DiffusionBound { process: process.as_ref(), times: 400, prompt: 0 });
    assert!((bound.nats_per_token - entropy).abs() < 0.03, "{bound:?} for {entropy}");
    let masked = Masked::new(MASK, Arc::new(Linear));
    let refused = likelihood(
        &oracle(Layout::Full, |_, _| 0.0),
        &ProbabilityFlow { process: &masked, steps: 1 },
        0,
        batches(1).into_iter().map(Ok),
        &mut |_| true,
    );
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), "the process masked has no probability flow");
    assert_eq!(refused.hint().unwrap(), "leave `flow` out");
}
