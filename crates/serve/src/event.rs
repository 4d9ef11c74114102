//! What a server reports while it runs.

use std::net::SocketAddr;

/// One thing that happened. Texts of requests are in none of them but [`ServeEvent::Prompt`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServeEvent {
    /// The first model is loaded and requests are answered.
    Ready {
        /// Where.
        address: SocketAddr,
    },
    /// A model was loaded.
    Loaded {
        /// Its name.
        model: String,
        /// How long that took.
        seconds: f64,
        /// Keys of its `config.json` that nothing here knows.
        unknown_keys: Vec<String>,
        /// Whether it has experts of which each row reads a part.
        has_experts: bool,
    },
    /// A model was given up for the memory of another.
    Unloaded {
        /// Its name.
        model: String,
    },
    /// A request was answered; of a stream, its first byte.
    Answered {
        /// `GET`, `POST` …
        method: String,
        /// The path, without a query.
        path: String,
        /// HTTP status.
        status: u16,
        /// Until the answer began.
        seconds: f64,
    },
    /// The text that a request gives, where the settings want it logged.
    Prompt {
        /// The text.
        text: String,
    },
    /// No more requests are accepted; what runs is finished.
    Stopping,
}
