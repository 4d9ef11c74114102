//! A server of diffusion language models: the protocols of OpenAI and Ollama, and a canvas that can be watched and edited.
//!
//! [`Server::start`] listens, loads the first model, and serves until [`Server::stop`]. Handlers run on tokio's threads;
//! everything that computes runs on one thread, the scheduler's. What happens is reported as [`ServeEvent`]s; this crate
//! prints nothing.
//!
//! ```no_run
//! use aquatint::runtime::{Runtime, RuntimeSettings};
//! use aquatint_serve::{ModelSource, ServeSettings, Server};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::new(&RuntimeSettings::default())?;
//! let settings = ServeSettings { port: 0, ..ServeSettings::new(ModelSource::named("tales")) };
//! let server = Server::start(settings, runtime, Arc::new(|event| println!("{event:?}")))?;
//! println!("http://{}", server.address());
//! server.stop();
//! server.wait()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod app;
mod blocking;
mod body;
mod canvas;
mod connection;
mod conversation;
mod description;
mod error;
mod event;
mod filling;
mod gate;
mod given_media;
mod health;
mod identity;
mod json;
mod making;
mod metrics;
mod models;
mod ollama;
mod openai;
mod page;
mod props;
mod reading;
mod report;
mod sampling;
mod scheduler;
mod server;
mod settings;
mod sheet;
mod sse;
mod text;
mod tokens;
mod wire;

pub use error::ServeError;
pub use event::ServeEvent;
#[doc(hidden)]
pub use reading::{PARSERS, parse};
pub use server::Server;
pub use settings::{AdapterChoice, ModelSource, ServeSettings};

use std::sync::Arc;

/// Hears what happens, from any thread.
pub type Events = Arc<dyn Fn(ServeEvent) + Send + Sync>;
