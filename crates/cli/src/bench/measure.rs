//! What is timed: a forward pass, a training step, a generation from beginning to end. Each runs once before it counts.

use super::batch::{Batch, tokens};
use super::subject::Subject;
use super::timed::{Clock, Operation, Spent, Timed};
use crate::failure::Failure;
use aquatint::runtime::{DeviceTask, Precision, Runtime};
use aquatint_compute::{AdamW, AdamWState, Device, DeviceError};
use aquatint_diffusion::Canvas;
use aquatint_generate::{Cache, Drift, Drifting, Request, Settings, generate, process_of};
use aquatint_network::{Denoiser, ForwardPass, Learner, Network, NetworkError, Query, RowQuery};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The optimiser's step that is timed; its numbers do not change what it costs.
const ADAMW: AdamW = AdamW { learning_rate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, step: 1 };
/// Norm to which gradients are clipped.
const CLIP: f64 = 1.0;

/// Milliseconds of each repetition, in the order in which they ran.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// Milliseconds as they were measured, at least one.
    pub(crate) fn new(milliseconds: Vec<f64>) -> Self {
        debug_assert!(!milliseconds.is_empty(), "nothing was measured");
        Self(milliseconds)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[f64] {
        &self.0
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
    }

    /// The shortest.
    pub(crate) fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Runs `work` once for nothing and then `repeat` times, at least once, on the clock; notes of the first run are
/// forgotten.
fn timed<E>(repeat: usize, clock: Option<&Clock>, mut work: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    work()?;
    if let Some(clock) = clock {
        clock.clear();
    }
    let mut milliseconds = Vec::with_capacity(repeat);
    for _ in 0..repeat.max(1) {
        let begun = Instant::now();
        work()?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Times::new(milliseconds))
}

/// Times a forward pass with the logits of the requested rows, each reduced to its summary.
pub(crate) fn forward(
    denoiser: &dyn Denoiser,
    batch: &Batch,
    repeat: usize,
    clock: Option<&Clock>,
) -> Result<Times, NetworkError> {
    let input = batch.input();
    let query = |&row: &u32| RowQuery { row, query: Query::Summary { best: 0 } };
    let queries: Vec<RowQuery<'_>> = batch.requested.iter().map(query).collect();
    timed(repeat, clock, || {
        let pass = ForwardPass { input: &input, cached: None };
        denoiser.forward(pass, &queries, &|_, _| {}).map(|answers| drop(std::hint::black_box(answers)))
    })
}

/// A timed training step.
pub(crate) struct Trained {
    pub(crate) times: Times,
    pub(crate) start_up: Duration,
    pub(crate) spent: Option<Vec<(Operation, Spent)>>,
}

/// Times a training step in the precision of a runtime: forward, backward, clipping, AdamW.
pub(crate) fn training(
    runtime: &Runtime,
    subject: &Subject,
    batch: &Batch,
    repeat: usize,
    breakdown: bool,
) -> Result<Trained, Failure> {
    struct Training<'a>(&'a Subject, &'a Batch, usize, bool);
    impl DeviceTask for Training<'_> {
        type Output = Trained;
        type Error = Failure;
        fn run<D: Device>(self, device: D) -> Result<Trained, Failure> {
            training_on(device, self.0, self.1, self.2, self.3)
        }
    }
    if let Precision::Int8 | Precision::Int4 = runtime.precision() {
        return Err(
            Failure::new("a network of integers does not learn").hint("leave out --train, or measure f32 or bf16")
        );
    }
    runtime.run(Training(subject, batch, repeat, breakdown))
}

fn training_on<D: Device>(
    device: D,
    subject: &Subject,
    batch: &Batch,
    repeat: usize,
    breakdown: bool,
) -> Result<Trained, Failure> {
    if breakdown {
        let device = Timed::new(device);
        let clock = device.clock();
        let (network, start_up) = subject.network(device)?;
        let times = steps(network, batch, repeat, Some(&clock))?;
        return Ok(Trained { times, start_up, spent: Some(clock.spent()) });
    }
    let (network, start_up) = subject.network(device)?;
    Ok(Trained { times: steps(network, batch, repeat, None)?, start_up, spent: None })
}

fn steps<D: Device>(
    mut network: Network<D>,
    batch: &Batch,
    repeat: usize,
    clock: Option<&Clock>,
) -> Result<Times, NetworkError> {
    let device = network.device().clone();
    let targets = batch.targets(network.spec());
    let moments = |parameter: &D::Buffer| -> Result<_, DeviceError> {
        Ok((device.zeros(device.len(parameter))?, device.zeros(device.len(parameter))?))
    };
    let mut moments: Vec<_> =
        network.parameters().iter().map(|parameter| moments(parameter.value)).collect::<Result<_, _>>()?;
    let mut step = 0;
    timed(repeat, clock, || {
        step += 1;
        network.clear_gradients();
        network.forward_backward(&batch.input(), &targets)?;
        let norm = network.gradient_norm();
        let scale = if norm > CLIP { CLIP / norm } else { 1.0 };
        for (parameter, (first, second)) in network.parameters_mut().into_iter().zip(&mut moments) {
            let state = AdamWState { first, second, parameter: parameter.value };
            device.adamw(AdamW { step, ..ADAMW }, scale, parameter.gradient, state);
        }
        Ok(())
    })
}

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Requests that are served together.
    pub(crate) requests: usize,
    /// Given tokens before the open ones.
    pub(crate) prompt: usize,
    /// Open positions of each request.
    pub(crate) tokens: usize,
    /// Denoising steps for each block.
    pub(crate) steps: usize,
    /// Open positions that are filled together.
    pub(crate) block_length: Option<usize>,
    /// The KV cache.
    pub(crate) cache: Option<Cache>,
    /// Steps after which everything is read again.
    pub(crate) cache_refresh: Option<usize>,
}

/// A timed generation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generated {
    pub(crate) times: Times,
    /// Tokens of all requests.
    pub(crate) tokens: usize,
    /// Forward passes, each over all requests.
    pub(crate) forward_passes: usize,
    /// Rows read in all passes.
    pub(crate) rows_read: usize,
    /// What the cache changed, where it is approximate.
    pub(crate) drift: Option<Drift>,
}

/// Times a generation from the canvas to the last token, greedily by confidence.
///
/// # Errors
/// When the network cannot fill a canvas so.
pub(crate) fn generation(denoiser: &dyn Denoiser, what: Generation, repeat: usize) -> Result<Generated, Failure> {
    let spec = denoiser.spec();
    // Any token will do to begin with: texts are made up.
    let process = process_of(spec, Some(0))?;
    let mut settings = Settings::builder().steps(what.steps).temperature(0.0);
    if let Some(length) = what.block_length {
        settings = settings.block_length(length);
    }
    if let Some(cache) = what.cache {
        settings = settings.cache(cache);
    }
    if let Some(steps) = what.cache_refresh {
        settings = settings.cache_refresh(steps);
    }
    let settings = settings.build()?;
    let request = |number: usize| {
        let mut canvas = Canvas::new();
        canvas.push_given(&tokens(spec, number as u64, what.prompt));
        // What an open position holds before the process begins is never read.
        canvas.push_open(what.tokens, false, spec.mask_token.unwrap_or_default());
        Request::new(canvas, settings.clone())
    };
    let requests: Vec<Request> = (0..what.requests).map(request).collect();
    let fill = |denoiser: &dyn Denoiser| {
        let outcomes = generate(denoiser, process.as_ref(), &requests, &mut |_, _| ControlFlow::Continue(()));
        outcomes.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let (mut written, mut passes, mut rows_read) = (0, 0, 0);
    let times = timed(repeat, None, || {
        let outcomes = fill(denoiser)?;
        rows_read = outcomes.iter().map(|outcome| outcome.statistics.rows_read).sum();
        written = outcomes.iter().map(|outcome| outcome.statistics.tokens).sum();
        passes = outcomes.iter().map(|outcome| outcome.statistics.forward_passes).max().unwrap_or(0);
        Ok::<(), Failure>(())
    })?;
    // Outside the measured time: everything is read twice.
    let drift = match what.cache {
        Some(Cache::Prefix | Cache::Dual) => {
            let watched = Drifting::new(denoiser);
            fill(&watched)?;
            Some(watched.drift())
        }
        _ => None,
    };
    Ok(Generated { times, tokens: written, forward_passes: passes, rows_read, drift })
}

impl Generated {
    /// Tokens of all requests in a second, by the median time.
    pub(crate) fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / (self.times.median() / 1e3)
    }

    /// Tokens of all requests for each forward pass.
    pub(crate) fn tokens_per_forward(&self) -> f64 {
        self.tokens as f64 / self.forward_passes.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::batch::tests::spec;
    use aquatint_diffusion::Layout;

    #[test]
    fn the_median_is_the_middle() {
        let times = |values: &[f64]| Times::new(values.to_vec());
        assert_eq!((times(&[3.0, 1.0, 2.0]).median(), times(&[4.0, 1.0, 2.0, 9.0]).median()), (2.0, 3.0));
        assert_eq!(times(&[3.0, 1.0, 2.0]).best(), 1.0);
    }

    #[test]
    fn a_generation_fills_every_request_in_the_passes_of_its_plan() {
        let device = aquatint_compute::Cpu::<f32>::scalar();
        let network = Network::new(device, spec(Layout::Full), 0).unwrap();
        let what = Generation {
            requests: 2,
            prompt: 4,
            tokens: 8,
            steps: 2,
            block_length: Some(4),
            cache: None,
            cache_refresh: None,
        };
        let generated = generation(&network, what, 2).unwrap();
        assert_eq!((generated.tokens, generated.forward_passes, generated.times.all().len()), (16, 4, 2));
        assert_eq!((generated.tokens_per_forward(), generated.rows_read, generated.drift), (4.0, 2 * 4 * 12, None));
        let cached = generation(&network, Generation { cache: Some(Cache::Dual), ..what }, 1).unwrap();
        // At each of two blocks once everything and once the block.
        assert_eq!(cached.rows_read, 2 * 2 * (12 + 4));
        assert_eq!(cached.drift.map(|drift| drift.rows > 0 && drift.largest < 1.0), Some(true));
    }
}
