//! Processes: how a clean canvas becomes noise, and what a noisy one becomes on the way back.

mod duo;
mod gaussian;
mod left_to_right;
mod masked;
mod mixing;
mod score_entropy;
mod simplex;
mod spec;
mod walk;

pub use duo::Duo;
pub use gaussian::{Gaussian, Level};
pub use left_to_right::LeftToRight;
pub use masked::Masked;
pub use mixing::Mixing;
pub use score_entropy::ScoreEntropy;
pub use simplex::{Concentration, Simplex};
pub use spec::{ProcessKind, ProcessSpec};

use crate::objective::Vectors;
use crate::policy::CommitPolicy;
use crate::random::Purpose;
use crate::{
    Alphabet, Canvas, Corrupted, Draws, Key, Kind, NoiseSchedule, NoisyInput, Proposal, SettingError, Step, Time,
    TokenId,
};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// A way from clean to noise and back. A trainer, a generator or a command line needs nothing else of it, and none of
/// them asks which process it is.
///
/// The steps of generation work on a whole [`Canvas`] and not on single tokens: a process whose open positions hold
/// points of a continuous space keeps them with the canvas, and one whose uncommitted positions change at every step
/// changes them in [`Process::advance`].
///
/// Every method is required, so that a process that wraps another one cannot forget to delegate a method. What follows
/// from these methods is written once, on the trait object: [`begin`](#method.begin), [`scatter`](#method.scatter),
/// [`network_input`](#method.network_input), [`time_of_noise`](#method.time_of_noise),
/// [`posterior_logits`](#method.posterior_logits).
pub trait Process: Debug + Send + Sync {
    /// The name under which [`process`] finds this process again, its number included; [`LeftToRight`], which belongs to
    /// causal networks, is not found by its name.
    fn name(&self) -> String;

    /// How likely a token is still clean at each time; under a continuous process, the pace at which positions become
    /// final where a policy counts them.
    fn schedule(&self) -> &dyn NoiseSchedule;

    /// Tokens that stand for noise alone: never proposed, never part of a clean canvas. None for a uniform process.
    fn noise_tokens(&self) -> &[TokenId];

    /// What stands before the first position, where the network reads at each position the token before it, as causal
    /// networks do; `None` where it reads what the position itself shows.
    fn first_token(&self) -> Option<TokenId>;

    /// Coordinates of the points that positions hold; `None` where they hold tokens.
    fn point_size(&self) -> Option<usize>;

    /// Whether a network reads the points that positions hold; `false` where there are none, or only their tokens are
    /// read.
    fn reads_points(&self) -> bool;

    /// Coordinates of the word vectors that the network has to have for this process; `None` where it needs none.
    fn vector_size(&self) -> Option<usize>;

    /// Signal and noise at a time, where points are gaussian around word vectors: all that a probability flow hangs on.
    fn level(&self, t: Time) -> Option<Level>;

    /// Whether an open position is written at every step, so that what it shows may be mended before it is final.
    fn revises(&self) -> bool;

    /// The policy that this process is sampled with by default: the one that walks it back as it was noised, or a
    /// better one.
    fn policy(&self) -> Arc<dyn CommitPolicy>;

    /// Whether what [`Process::corrupt_for_bound`] costs is a bound on −log p(x).
    fn is_bounded(&self) -> bool;

    /// Whether what [`Process::corrupt`] costs is the bound itself, so that its weights count.
    fn learns_bound(&self) -> bool;

    /// Whether there is a form with a fixed count of corrupted positions, see [`Process::corrupt_count`].
    fn has_fixed_count(&self) -> bool;

    /// Draws the noisy canvas of time `t` for a clean one, with what each position's prediction costs in learning.
    ///
    /// `open` says which positions may be corrupted; positions beyond its end may not.
    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted;

    /// The same with what it costs in measuring: the expectation over uniform times is the bound in nats, where
    /// [`Process::is_bounded`].
    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted;

    /// As [`Process::corrupt_for_bound`] with exactly `count` corrupted positions, every set equally likely; the
    /// expectation over counts uniform on 1 to the number of open positions is the same bound, with less variance.
    /// `None` where the process has no such form.
    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, draws: &mut Draws) -> Option<Corrupted>;

    /// The time that the network is conditioned on when the plan's clock shows `t` and `noisy` of `length` positions
    /// are not final: what [`Corrupted::noise`] was in training.
    fn network_time(&self, t: Time, noisy: usize, length: usize) -> f64;

    /// What is to be added to the logit of the token that a position shows at a time, to turn what a network says
    /// without looking at that token into its prediction about the clean one; `None` where the network has looked.
    fn evidence(&self, shown: TokenId, t: Time) -> Option<f32>;

    /// How much larger the logit of the token that a position shows at a time is because the position shows it: what is
    /// left without it is the prediction from the rest of the canvas. 0 where the network says that already, or where
    /// noise is never taken for a token.
    fn shown_evidence(&self, shown: TokenId, t: Time) -> f32;

    /// What the prediction of a row counts in a step, from the logarithm of the sum of its exponentials: how many times
    /// the probability of becoming final it has. 1 where the logits of a row mean the same with any number added.
    fn mass(&self, log_sum_exp: f64) -> f64;

    /// One draw of pure noise.
    fn noise(&self, draws: &mut Draws) -> Noise;

    /// Takes committed positions back into the noise of the step's earlier end. Positions without a final token are
    /// left.
    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>);

    /// What the positions of the proposal that are still open look like at the end of a step, after its commits.
    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key);
}

impl dyn Process + '_ {
    /// Draws the state of pure noise at every open position: how generation begins.
    pub fn begin(&self, canvas: &mut Canvas, key: Key) {
        canvas.hold_points(self.point_size());
        let open = canvas.open_positions();
        self.scatter(canvas, &open, 0, key);
    }

    /// Draws pure noise at open positions.
    pub fn scatter(&self, canvas: &mut Canvas, positions: &[usize], step: u64, key: Key) {
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

    /// What a network reads of the canvas; with noise in the given positions that are in `hidden`, which is what the
    /// unconditional branch of guidance reads. Closed positions and padding are left as they are.
    pub fn network_input(&self, canvas: &Canvas, hidden: Range<usize>, step: u64, key: Key) -> NoisyInput {
        let points = canvas.points().filter(|_| self.reads_points()).cloned();
        let mut input = NoisyInput { tokens: canvas.tokens().to_vec(), points };
        let given = |position: &usize| canvas.kind(*position) == Some(Kind::Given);
        let key = key.fold(Purpose::Hide as u64);
        for position in (0..canvas.len()).filter(|position| hidden.contains(position) && given(position)) {
            let noise = self.noise(&mut key.at(position as u64, step));
            input.tokens[position] = noise.token;
            if let (Some(points), Some(point)) = (&mut input.points, noise.point) {
                points.set(position, 0.0, &point, noise.prior_logit_scale);
            }
        }
        input
    }

    /// The lowest time at which so many of a canvas's positions are noise in expectation, as the network has met them in
    /// training. Where positions hold points, all that are open have the noise of one time, and a point without any
    /// signal is that of the first one.
    pub fn time_of_noise(&self, noisy: usize, length: usize) -> Time {
        match self.point_size() {
            Some(_) => Time::NOISE,
            None => self.schedule().time_at_alpha(1.0 - noisy as f64 / length.max(1) as f64),
        }
    }

    /// Turns what a network says of a position that shows a token at a time into its prediction about the clean token.
    pub fn posterior_logits(&self, shown: TokenId, t: Time, logits: &mut [f32]) {
        if let (Some(evidence), Some(logit)) = (self.evidence(shown, t), logits.get_mut(shown as usize)) {
            *logit += evidence;
        }
    }
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

/// The process of a name over an alphabet, as [`ProcessKind`] reads it.
///
/// # Errors
/// When there is no such name, its number does not fit, or the alphabet lacks the mask that it needs.
pub fn process(
    name: &str,
    alphabet: Alphabet,
    schedule: Arc<dyn NoiseSchedule>,
) -> Result<Arc<dyn Process>, SettingError> {
    name.parse::<ProcessKind>()?.build(alphabet, schedule)
}
