//! What a run counts; saved with its state. Real numbers are kept as their bits, so that nothing is rounded.

use crate::event::{Ending, Summary};
use crate::identity::Identity;
use crate::objective::ObjectiveState;
use crate::trainer::Measured;
use serde::{Deserialize, Serialize};

/// What a run counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    pub(crate) step: u64,
    pub(crate) tokens: u64,
    seconds: u64,
    best: Option<(u64, u64)>,
    last: Option<LastMeasure>,
    /// Steps whose gradient was not finite.
    pub(crate) skipped: u64,
    /// What the objective counts.
    pub(crate) objective: ObjectiveState,
    /// What the run is.
    pub(crate) identity: Identity,
}

/// The last measurement of the held-out text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastMeasure {
    nats_per_token: u64,
    /// Of text; nothing else has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits_per_byte: Option<u64>,
    step: u64,
}

impl Counters {
    /// Of a run that has not taken a step.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            step: 0,
            tokens: 0,
            seconds: 0f64.to_bits(),
            best: None,
            last: None,
            skipped: 0,
            objective: ObjectiveState::default(),
            identity,
        }
    }

    /// Seconds of training, over all the run's processes.
    pub(crate) fn seconds(&self) -> f64 {
        f64::from_bits(self.seconds)
    }

    pub(crate) fn set_seconds(&mut self, seconds: f64) {
        self.seconds = seconds.to_bits();
    }

    /// Takes note of a measurement at the present step; returns whether it is the best so far.
    pub(crate) fn measured(&mut self, measured: &dyn Measured) -> bool {
        let (nats, step) = (measured.cost(), self.step);
        let (nats_per_token, bits_per_byte) = (nats.to_bits(), measured.bits_per_byte().map(f64::to_bits));
        self.last = Some(LastMeasure { nats_per_token, bits_per_byte, step });
        // What is no number is better than nothing else.
        let best = nats.is_finite() && self.best.is_none_or(|(bits, _)| nats < f64::from_bits(bits));
        if best {
            self.best = Some((nats_per_token, step));
        }
        best
    }

    /// Whether the held-out text was measured at the present step.
    pub(crate) fn is_measured(&self) -> bool {
        self.last.is_some_and(|last| last.step == self.step)
    }

    /// Where the run stands when it ends.
    pub(crate) fn summary(&self, ending: Ending, seconds: f64) -> Summary {
        Summary {
            ending,
            step: self.step,
            tokens: self.tokens,
            seconds,
            best: self.best(),
            last: self.last.map(|last| f64::from_bits(last.nats_per_token)),
            bits_per_byte: self.last.and_then(|last| last.bits_per_byte).map(f64::from_bits),
        }
    }

    /// The best measurement in nats per token, and its step.
    pub(crate) fn best(&self) -> Option<(f64, u64)> {
        self.best.map(|(bits, step)| (f64::from_bits(bits), step))
    }
}
