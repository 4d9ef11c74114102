//! The mathematics of diffusion over tokens.
//!
//! A [`Canvas`] is a row of positions, given, open or padding. A [`Process`] says how clean becomes noisy and how to walk
//! back; a [`NoiseSchedule`] how fast; a [`Layout`] who sees whom; a [`StepPlan`] in how many steps; a [`CommitPolicy`]
//! which beliefs become final at each of them, and [`Remasking`] which are taken back. Slices and seeds only: there are
//! no tensors, files, clocks or hidden state here, and every random draw is a function of (seed, position, step).
//!
//! Conventions: time 0 is clean and 1 is noise; steps count up from 0; costs are in nats; everything random is f64.
#![forbid(unsafe_code)]

mod canvas;
mod error;
mod guidance;
mod layout;
pub mod objective;
mod plan;
pub mod policy;
mod process;
mod proposal;
mod random;
mod remasking;
mod schedule;
mod shaping;
mod stopping;
mod time;
mod time_sampling;

pub use canvas::{Canvas, CanvasError, Kind, Span};
pub use error::SettingError;
pub use guidance::{guidance_scale, guide};
pub use layout::{Intervals, Layout, PADDING_DOCUMENT, two_stream_intervals};
pub use objective::{Corrupted, Term};
pub use plan::{BlockPlan, PlannedStep, Step, StepPlan};
pub use policy::{Commit, CommitPolicy};
pub use process::{Masked, Process};
pub use proposal::{Candidate, Proposal, ProposalError, propose};
pub use random::{Draws, Key};
pub use remasking::Remasking;
pub use schedule::{Cosine, Linear, LogLinear, NoiseSchedule, Polynomial, schedule};
pub use shaping::Shaping;
pub use stopping::{Stability, closed_by_end};
pub use time::Time;
pub use time_sampling::TimeSampling;

/// A token's id in the joint vocabulary.
pub type TokenId = u32;
