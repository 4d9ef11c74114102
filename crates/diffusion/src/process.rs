//! Processes: how a clean canvas becomes noise, and what a noisy one becomes on the way back.

mod duo;
mod gaussian;
mod masked;
mod mixing;
mod simplex;
mod walk;

pub use duo::Duo;
pub use gaussian::{Gaussian, Level};
pub use masked::Masked;
pub use mixing::Mixing;
pub use simplex::{Concentration, Simplex};

use crate::error::Named;
use crate::objective::Vectors;
use crate::random::Purpose;
use crate::{
    Alphabet, Canvas, Corrupted, Draws, Key, Kind, NoiseSchedule, NoisyInput, Proposal, SettingError, Step, Time,
    TokenId,
};
use std::fmt::Debug;
use std::sync::Arc;

/// A way from clean to noise and back. A trainer, a generator or a command line needs nothing else of it, and none of
/// them asks which process it is.
///
/// The steps of generation work on a whole [`Canvas`] and not on single tokens: a process whose open positions hold
/// points of a continuous space keeps them with the canvas, and one whose uncommitted positions change at every step
/// changes them in [`Process::advance`].
pub trait Process: Debug + Send + Sync {
    /// The name under which [`process`] finds this process again, its number included.
    fn name(&self) -> String;

    /// How likely a token is still clean at each time; under a continuous process, the pace at which positions become
    /// final where a policy counts them.
    fn schedule(&self) -> &dyn NoiseSchedule;

    /// Tokens that stand for noise alone: never proposed, never part of a clean canvas. None for a uniform process.
    fn noise_tokens(&self) -> &[TokenId];

    /// Coordinates of the points that positions hold; `None` where they hold tokens.
    fn point_size(&self) -> Option<usize> {
        None
    }

    /// Coordinates of the word vectors that the network has to have for this process; `None` where it needs none.
    fn vector_size(&self) -> Option<usize> {
        None
    }

    /// Signal and noise at a time, where points are gaussian around word vectors: all that a probability flow hangs on.
    fn level(&self, _t: Time) -> Option<Level> {
        None
    }

    /// Whether an open position is written at every step, so that what it shows may be mended before it is final.
    fn revises(&self) -> bool {
        true
    }

    /// The name of the policy that this process is sampled with where nobody says: the one that walks it back as it was
    /// noised, or a better one.
    fn policy(&self) -> &'static str {
        "last"
    }

    /// Whether what [`Process::corrupt_for_bound`] costs is a bound on −log p(x).
    fn is_bounded(&self) -> bool {
        true
    }

    /// Whether what [`Process::corrupt`] costs is the bound itself, so that its weights count.
    fn learns_bound(&self) -> bool {
        true
    }

    /// Whether there is a form with a fixed count of corrupted positions, see [`Process::corrupt_count`].
    fn has_fixed_count(&self) -> bool {
        false
    }

    /// Draws the noisy canvas of time `t` for a clean one, with what each position's belief costs in learning.
    ///
    /// `open` says which positions may be corrupted; positions beyond its end may not.
    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted;

    /// The same with what it costs in measuring: the expectation over uniform times is the bound in nats, where
    /// [`Process::is_bounded`].
    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.corrupt(clean, open, t, draws)
    }

    /// As [`Process::corrupt_for_bound`] for one step of the exact bound in discrete time: (step, steps), counted from 0, which
    /// ends clean; the expectation over uniform steps is the bound. `None` where the process has no such form.
    fn corrupt_discrete(
        &self,
        _clean: &[TokenId],
        _open: &[bool],
        _step_of: (usize, usize),
        _draws: &mut Draws,
    ) -> Option<Corrupted> {
        None
    }

    /// As [`Process::corrupt_for_bound`] with exactly `count` corrupted positions, every set equally likely; the expectation over
    /// counts uniform on 1 to the number of open positions is the same bound, with less variance. `None` where the
    /// process has no such form.
    fn corrupt_count(
        &self,
        _clean: &[TokenId],
        _open: &[bool],
        _count: usize,
        _draws: &mut Draws,
    ) -> Option<Corrupted> {
        None
    }

    /// The time that a network is told when the plan's clock shows `t` and `noisy` of `length` positions are not final:
    /// what [`Corrupted::noise`] was in training.
    fn network_time(&self, t: Time, noisy: usize, length: usize) -> f64;

    /// Turns what a network says of a position that shows a token at a time into its belief about the clean token.
    fn posterior_logits(&self, _shown: TokenId, _t: Time, _logits: &mut [f32]) {}

    /// One draw of pure noise.
    fn noise(&self, draws: &mut Draws) -> Noise;

    /// Draws pure noise at open positions.
    fn scatter(&self, canvas: &mut Canvas, positions: &[usize], step: u64, key: Key) {
        let key = key.fold(Purpose::Begin as u64);
        for &position in positions {
            let noise = self.noise(&mut key.at(position as u64, step));
            // A position that the canvas itself calls open takes noise.
            let _ = canvas.show_noise(position, noise.token);
            if let Some(point) = noise.point {
                canvas.hold(position, &point, noise.prior_logit_scale);
            }
        }
    }

    /// Draws the state of pure noise at every open position: how generation begins.
    fn begin(&self, canvas: &mut Canvas, key: Key) {
        canvas.hold_points(self.point_size());
        let open = canvas.open_positions();
        self.scatter(canvas, &open, 0, key);
    }

    /// What a network reads of the canvas; with `hidden` given positions, which is what the unconditional branch of guidance
    /// reads. Closed positions and padding are left as they are.
    fn network_input(&self, canvas: &Canvas, hidden: bool, step: u64, key: Key) -> NoisyInput {
        show(self, canvas, hidden, step, key)
    }

    /// Takes committed positions back into the noise of the step's earlier end. Positions without a final token are left.
    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>);

    /// What the positions of the proposal that are still open look like at the end of a step, after its commits.
    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key);
}

/// Tokens and points of a canvas, with pure noise at given positions where they are hidden.
fn show<P: Process + ?Sized>(process: &P, canvas: &Canvas, hidden: bool, step: u64, key: Key) -> NoisyInput {
    let mut shown = NoisyInput { tokens: canvas.tokens().to_vec(), points: canvas.points().cloned() };
    let given = |position: &usize| canvas.kind(*position) == Some(Kind::Given);
    let key = key.fold(Purpose::Hide as u64);
    for position in (0..canvas.len()).filter(|position| hidden && given(position)) {
        let noise = process.noise(&mut key.at(position as u64, step));
        shown.tokens[position] = noise.token;
        if let (Some(points), Some(point)) = (&mut shown.points, noise.point) {
            points.set(position, 0.0, &point, noise.prior_logit_scale);
        }
    }
    shown
}

/// One draw of pure noise for one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// The token shown.
    pub token: TokenId,
    /// The point held, under a continuous process.
    pub point: Option<Vec<f32>>,
    /// See [`crate::ContinuousState::prior_logit_scale`].
    pub prior_logit_scale: f32,
}

/// All names.
const ALLOWED: &str =
    "masked, uniform, uniform-posterior, duo:TEMPERATURE, hybrid:SHARE, gaussian:SIZE, simplex, simplex-argmax";

/// The process of a name over an alphabet: `masked`, `uniform` (its belief leaves the shown token out, learnt from the
/// bound), `uniform-posterior` (learnt from cross-entropy), `duo:τ` (uniform, taught by soft tokens of temperature τ), `hybrid:p` (masks and, half way, a share p of random tokens),
/// `gaussian:d` (word vectors of d coordinates), `simplex` (read as mixtures of word vectors), `simplex-argmax` (read as
/// the likeliest token).
///
/// # Errors
/// When there is no such name, its number does not fit, or the alphabet lacks the mask that it needs.
pub fn process(
    name: &str,
    alphabet: Alphabet,
    schedule: Arc<dyn NoiseSchedule>,
) -> Result<Arc<dyn Process>, SettingError> {
    let named = Named::parse("process", name, ALLOWED);
    let needs = || {
        let hint = format!("`{name}` needs a mask token in the vocabulary");
        alphabet.mask.ok_or_else(|| {
            SettingError::new("process", format!("\"{name}\""), "uniform, gaussian, simplex").with_hint(hint)
        })
    };
    Ok(match named.word {
        "masked" => named.plain(Arc::new(Masked::new(needs()?, schedule)))?,
        "uniform" => named.plain(Arc::new(Mixing::uniform(alphabet, schedule)))?,
        "uniform-posterior" => named.plain(Arc::new(Mixing::uniform(alphabet, schedule).with_posterior()))?,
        "duo" => {
            let fits = |temperature: f64| temperature > 0.0 && temperature <= 1.0;
            let temperature = named.number(Some(Duo::TEMPERATURE), "above 0 and at most 1", fits)?;
            Arc::new(Duo::new(alphabet, temperature, schedule))
        }
        "hybrid" => {
            let share = named.number(Some(Mixing::SHARE), "above 0 and below 1", |share| share > 0.0 && share < 1.0)?;
            needs()?;
            Arc::new(Mixing::hybrid(alphabet, share, schedule))
        }
        "gaussian" => {
            let fits = |size: f64| size >= 2.0 && size.fract() == 0.0 && size <= 65536.0;
            let size = named.number(Some(Gaussian::SIZE as f64), "of coordinates, 2 or more", fits)?;
            Arc::new(Gaussian::new(alphabet, size as usize, schedule))
        }
        "simplex" => named.plain(Arc::new(Simplex::new(alphabet, schedule)))?,
        "simplex-argmax" => named.plain(Arc::new(Simplex::new(alphabet, schedule).read_as_argmax()))?,
        _ => return Err(named.refuse()),
    })
}
