//! What `serve` takes.

use super::{DeviceArguments, GuardArguments};
use aquatint_serve::ServeSettings;
use clap::Args;
use std::path::PathBuf;

/// What `serve` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aquatint serve\n  aquatint serve -m runs/mine -m tales --port 0\n  curl \
                  http://127.0.0.1:8642/v1/completions -H 'Content-Type: application/json' -d '{\"prompt\": \"Once upon \
                  a time\", \"max_tokens\": 64}'")]
pub(crate) struct ServeArguments {
    /// Model to serve: a folder, a built-in model, OWNER/NAME that was pulled, or NAME=MODEL; repeat it for several. A model
    /// with adapters, MODEL+FOLDER+…, is served alone and with each of them, as MODEL+ADAPTER [default: the built-in model]
    #[arg(short, long = "model", value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// Address to listen on; any other than loopback is reachable from other machines
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", help_heading = "Listening", env = "AQUATINT_HOST")]
    pub(crate) host: String,

    /// Port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = ServeSettings::PORT, help_heading = "Listening", env = "AQUATINT_PORT")]
    pub(crate) port: u16,

    /// Key that requests have to show; repeat it for several clients, among whom the work is shared out fairly
    #[arg(
        long = "api-key",
        value_name = "KEY",
        help_heading = "Access",
        env = "AQUATINT_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_keys: Vec<String>,

    /// Name by which the server may be called, beside its address (the Host header)
    #[arg(long = "allowed-host", value_name = "NAME", help_heading = "Access")]
    pub(crate) allowed_hosts: Vec<String>,

    /// Origin whose pages may call the server (CORS), as https://example.org
    #[arg(long = "cors-origin", value_name = "ORIGIN", help_heading = "Access")]
    pub(crate) cors_origins: Vec<String>,

    /// Do not serve the page at /
    #[arg(long, help_heading = "Access")]
    pub(crate) no_page: bool,

    /// Requests that may wait for their turn; more are answered with 429
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Limits")]
    pub(crate) queue: usize,

    /// Seconds that a request may take, its wait included
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Limits")]
    pub(crate) timeout: u64,

    /// Positions of a canvas at most
    #[arg(long, value_name = "N", default_value_t = 16384, help_heading = "Limits")]
    pub(crate) max_canvas: usize,

    /// Bytes of a request's body at most
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = "Limits")]
    pub(crate) max_body: usize,

    /// MiB that the weights of all loaded models may take; the least recently used is given up for another one
    /// [default: half of the free memory]
    #[arg(long, value_name = "MIB", help_heading = "Limits")]
    pub(crate) model_memory: Option<u64>,

    /// Seconds that requests may go on when the server is asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 20, help_heading = "Limits")]
    pub(crate) grace: u64,

    /// Mark every text that is written by the key of this file (`aquatint watermark-key`); /v1/models says so
    #[arg(long, value_name = "KEYFILE", help_heading = "Provenance")]
    pub(crate) watermark: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) guard: GuardArguments,

    /// Print the texts of requests (with --verbose)
    #[arg(long, help_heading = "Output")]
    pub(crate) log_prompts: bool,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}
