//! The mathematics of diffusion over tokens.
//!
//! A [`Canvas`] is a row of positions, given, open or padding. A [`Process`] says how clean becomes noisy and how to
//! walk back; a [`NoiseSchedule`] how fast; a [`Layout`] which positions attend to which; a [`StepPlan`] in how many
//! steps; a [`CommitPolicy`] which predictions become final at each of them, and [`Remasking`] which are taken back; a
//! [`ReverseStep`] does all of it once. Slices and seeds only: there are no tensors, files, clocks or hidden state
//! here, and every random draw is a function of (seed, position, step).
//!
//! One position after another, with a prediction that is the same everywhere:
//!
//! ```
//! use aquatint_diffusion::*;
//!
//! let process = process("masked", Alphabet { size: 3, mask: Some(2) }, schedule("linear")?)?;
//! let (policy, remasking) = (process.policy(), Remasking::None);
//! let mut canvas = Canvas::new();
//! canvas.push_given(&[1]);
//! canvas.push_open(3, false, 2);
//!
//! let key = Key::new(7);
//! process.begin(&mut canvas, key);
//! let plan = StepPlan::new(&[3], 3, process.schedule(), policy.as_ref(), &remasking)?;
//! for &planned in plan.blocks()[0].steps() {
//!     let mut proposal = Proposal::new();
//!     for position in canvas.open_positions() {
//!         let draws = &mut key.at(position as u64, planned.number);
//!         let logits = [0.1, 0.3, 0.0];
//!         proposal.insert(position, propose(&logits, &Shaping::NONE, process.noise_tokens(), &[], draws)?);
//!     }
//!     let step = ReverseStep {
//!         process: process.as_ref(),
//!         policy: policy.as_ref(),
//!         remasking: &remasking,
//!         vectors: Vectors::default(),
//!         planned,
//!         key,
//!         settled: false,
//!         revise: false,
//!         commit_likeliest: false,
//!     };
//!     step.take(&mut canvas, &proposal, &[])?;
//! }
//! assert_eq!(canvas.tokens()[0], 1);
//! assert!(canvas.open_positions().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Conventions: time 0 is clean and 1 is noise; steps count up from 0; costs are in nats; everything random is f64.
#![forbid(unsafe_code)]

mod canvas;
pub mod constraint;
mod continuous_state;
mod counting;
mod domain;
mod editing;
mod error;
mod guidance;
mod layout;
mod marginal;
pub mod objective;
mod order;
mod plan;
pub mod policy;
mod process;
mod proposal;
mod random;
mod remasking;
mod reopening;
mod schedule;
mod shaping;
mod step;
mod stopping;
mod time;
mod time_density;
mod time_sampling;

pub use canvas::{Canvas, CanvasError, Kind, PositionState, Span};
pub use continuous_state::{ContinuousState, NoisyInput};
pub use counting::Counting;
pub use domain::{Axes, Domain, Place, places};
pub use editing::{Editing, LengthChanges, LengthEdits, LengthStep, LengthTokens, Source};
pub use error::SettingError;
pub use guidance::{guidance_scale, guide, guide_by_classifier};
pub use layout::{Intervals, Layout, PADDING_DOCUMENT, two_stream_intervals};
pub use marginal::{Alphabet, Bridge, Marginal};
pub use objective::{Corrupted, Cost, Distance, LossTerm, Ratio, Vectors, WordVectors, divergence};
pub use order::{OrderChoice, OrderFeatures, OrderNetwork, OrderNumbers, OrderTensor};
pub use plan::{BlockPlan, PlanSettings, PlannedStep, Step, StepPlan};
pub use policy::{Commit, CommitPolicy, PlanPart};
pub use process::{
    Concentration, Duo, Gaussian, LeftToRight, Level, Masked, Mixing, Noise, Process, ProcessKind, ProcessSpec,
    ScoreEntropy, Simplex, process,
};
pub use proposal::{Candidate, Proposal, ProposalError, propose, propose_at};
pub use random::{Draws, Key, Uniforms};
pub use remasking::Remasking;
pub use reopening::reopened_share;
pub use schedule::{Cosine, Linear, LogLinear, NoiseSchedule, Polynomial, ScheduleSpec, schedule};
pub use shaping::Shaping;
pub use step::{ReverseStep, StepChanges};
pub use stopping::{Stability, closed_by_end};
pub use time::Time;
pub use time_density::{TimeDensity, TimeGrid};
pub use time_sampling::TimeSampling;

/// A token's id in the joint vocabulary.
pub type TokenId = u32;
