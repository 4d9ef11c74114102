//! Language diffusion models: open one, fill a canvas, train and measure.
//!
//! ```
//! use aquatint::{DenoisingEvent, Model, Settings};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> Result<(), aquatint::Error> {
//! let model = Model::open("tales")?;
//! let settings = Settings::builder().steps(8).seed(7).build()?;
//!
//! // Three open tokens in the middle; every given character stays.
//! let text = model.fill("The [[3]] sat on the mat.", &settings)?;
//! assert!(text.starts_with("The ") && text.ends_with(" sat on the mat."));
//!
//! // A text without an open place is continued; every step can be watched.
//! let template_canvas = model.lay_out("Once upon a time", 16)?;
//! let mut steps = 0;
//! let outcome = model.watch(&template_canvas, &settings, &mut |event| {
//!     steps += usize::from(matches!(event, DenoisingEvent::Step { .. }));
//!     ControlFlow::Continue(())
//! })?;
//! assert!(model.text(&template_canvas, &outcome).starts_with("Once upon a time"));
//! assert_eq!(steps, outcome.statistics.steps);
//! # Ok(())
//! # }
//! ```
//!
//! A policy of your own is a value like those that are here:
//!
//! ```
//! use aquatint::diffusion::{Commit, CommitPolicy, Key, PlanPart, Proposal, Step};
//! use aquatint::{DenoisingEvent, Model, Settings};
//! use std::ops::ControlFlow;
//! use std::sync::Arc;
//!
//! /// Fills from left to right.
//! #[derive(Debug)]
//! struct LeftToRight;
//!
//! impl CommitPolicy for LeftToRight {
//!     fn name(&self) -> String {
//!         "left-to-right".to_owned()
//!     }
//!
//!     fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
//!         Commit { positions: proposal.positions()[..step.commits].to_vec() }
//!     }
//!
//!     fn steps(&self, open: usize, requested: usize) -> usize {
//!         requested.min(open)
//!     }
//!
//!     fn reads(&self) -> PlanPart {
//!         PlanPart::Counts
//!     }
//! }
//!
//! # fn main() -> Result<(), aquatint::Error> {
//! let model = Model::open("tales")?;
//! let settings = Settings::builder().steps(12).policy(Arc::new(LeftToRight)).seed(7).build()?;
//! let template_canvas = model.lay_out("Once upon a time, [[12]]", 0)?;
//! let mut order = Vec::new();
//! model.watch(&template_canvas, &settings, &mut |event| {
//!     if let DenoisingEvent::Step { changes, .. } = event {
//!         order.extend(changes.iter().map(|change| change.position));
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert!(order.len() == 12 && order.is_sorted());
//! # Ok(())
//! # }
//! ```
//!
//! [`Model`] is the short way: it fills canvases, serves requests as they come ([`Model::engine`]) and measures text
//! ([`Model::measure`]). A [`Runtime`](runtime::Runtime) chooses the device and the precision, opens models on it and trains
//! them. An error's message says what went wrong, its [`Hint`] what helps, its [`Fault`] whether the request was to blame.
//!
//! The crates under it are here whole: the mathematics in [`diffusion`], the loop in [`generate`], training in [`train`] and
//! [`batch`], measuring in [`evaluate`], networks and devices in [`network`] and [`compute`],
//! codecs of pictures in [`codec`], files in [`checkpoint`] and
//! [`corpus`], models of the Hugging Face Hub in [`hub`], text in [`vocabulary`], regular expressions and JSON schemas in [`constraint`], watermarks in
//! [`provenance`], and what may be given and written in [`guard`].
#![forbid(unsafe_code)]

mod classifier_options;
mod error;
mod fault;
mod hint;
mod media;
mod media_options;
mod model;
pub mod runtime;
mod sampling;
mod spans;

pub use aquatint_batch as batch;
pub use aquatint_checkpoint as checkpoint;
pub use aquatint_codec as codec;
pub use aquatint_compute as compute;
pub use aquatint_constraint as constraint;
pub use aquatint_corpus as corpus;
pub use aquatint_diffusion as diffusion;
pub use aquatint_evaluate as evaluate;
pub use aquatint_generate as generate;
pub use aquatint_guard as guard;
pub use aquatint_hub as hub;
pub use aquatint_network as network;
pub use aquatint_provenance as provenance;
pub use aquatint_train as train;
pub use aquatint_vocabulary as vocabulary;

pub use aquatint_constraint::ConstraintSpec;
pub use aquatint_diffusion::Canvas;
pub use aquatint_generate::{ClassifierMethod, DenoisingEvent, FinishReason, Outcome, Settings, Statistics};
pub use aquatint_vocabulary::{Template, TemplateCanvas};
pub use classifier_options::ClassifierOptions;
pub use error::Error;
pub use fault::Fault;
pub use hint::Hint;
pub use media::{MediaError, MediaFile, MediaFiles, OutputPiece};
pub use media_options::MediaOptions;
pub use model::{Model, Prepared};
pub use sampling::{Sampling, SamplingOptions, advised_time_grid, random_seed};
pub use spans::SpanModel;
