//! The sampling loop: plan, forward pass, proposal, commit, events.
//!
//! A [`Request`] is a canvas with [`Settings`] for all its spans, or for each of several [`Part`]s; an [`Engine`] fills
//! any number of unlike requests together, which may join and leave at every step, and returns an [`Outcome`] for each,
//! the same as it would have been alone; [`generate`] does so for a closed batch. Progress is reported as
//! [`DenoisingEvent`]s, which a terminal, a server, a trace file and a test all read.
//!
//! Traps of this field, decided here once and for all:
//! 1. The guidance scale is neutral at 1: `log p = u + s (c - u)`.
//! 2. Steps count up from 0 and time runs from 1 (noise) to 0 (clean).
//! 3. `steps` is per block; [`DenoisingEvent::Started`] gives the number of forward passes.
//! 4. Tokens are drawn in f64, by counters keyed with (seed, position, step).
//! 5. Confidence is the probability at temperature 1, whatever the shaping; [`ConfidenceOf`] says otherwise by name.
//! 6. Logit shifts belong to the network; nothing here knows of them.
#![forbid(unsafe_code)]

mod admission;
mod audit;
mod blocks_from;
mod branch;
mod cache;
mod certainty;
mod classifier;
mod confidence;
mod constrained;
mod constraint;
mod drift;
mod engine;
mod error;
mod event;
mod forward_batch;
mod generate;
mod guidance;
mod ineffective;
mod left_to_right;
mod limits;
mod model;
mod part;
mod predict;
mod prediction;
mod proposal;
mod request;
mod request_state;
mod reuse;
mod self_conditioning;
mod settings;
mod speculation;
mod stop_at;
mod visible;
mod watermark;

pub use audit::{Audit, Offence};
pub use blocks_from::BlocksFrom;
pub use cache::Cache;
pub use certainty::{Certainties, Certainty};
pub use classifier::{ClassifierGuidance, ClassifierMethod};
pub use confidence::ConfidenceOf;
pub use constraint::{
    AnyOrder, CommitOrder, Constraint, ConstraintError, SpanConstraint, SpanFiller, SpanStart, TextConstraint,
};
pub use drift::{Drift, Drifting};
pub use engine::{Admitted, Ended, Engine, RequestId};
pub use error::GenerateError;
pub use event::{Change, ChangeKind, DenoisingEvent, FinishReason, Statistics};
pub use generate::generate;
pub use ineffective::{Ineffective, ineffective};
pub use limits::{Demand, Limits};
pub use model::process_of;
pub use part::Part;
pub use predict::{Predicted, predict};
pub use request::{Outcome, Request};
pub use settings::{Settings, SettingsBuilder};
pub use stop_at::StopAt;
pub use watermark::{Mark, MarkedDraws, MarkedLogits, MarkedOrder, MarkedStep, Watermark};
