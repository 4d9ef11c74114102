//! What `bench` takes.

use super::{Precision, ReportFormat};
use aquatint::runtime::DeviceChoice;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// What `bench` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint bench\n  aquatint bench --precision f32,bf16 --threads 1,2\n  aquatint bench \
                        --config benches/networks/llada-31m.json --generate 96 --steps 4 --block-length 32\n  aquatint bench \
                        --train --batch 8 --breakdown"
)]
pub(crate) struct BenchArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Measure the network of this config.json, with random weights
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(crate) config: Option<PathBuf>,

    /// Positions per sequence [default: 128, or the context length if it is shorter]
    #[arg(short, long, value_name = "N")]
    pub(crate) length: Option<usize>,

    /// Sequences per batch
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) batch: usize,

    /// Positions per sequence whose logits are computed: all or N [default: all; half of them with --train]
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<Rows>,

    /// Runs per measurement
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    pub(crate) repeat: usize,

    /// Measure a training step instead: forward, backward, clipping, AdamW
    #[arg(long)]
    pub(crate) train: bool,

    /// Also measure a generation: the last N positions are filled, greedily by confidence
    #[arg(short, long, value_name = "N", conflicts_with = "train")]
    pub(crate) generate: Option<usize>,

    /// Denoising steps per block of --generate [default: 4 tokens per step]
    #[arg(long, value_name = "N", requires = "generate")]
    pub(crate) steps: Option<usize>,

    /// Block length of --generate [default: all open positions]
    #[arg(long, value_name = "N", requires = "generate")]
    pub(crate) block_length: Option<usize>,

    /// KV cache of --generate: none, exact, prefix or dual; the drift of the approximate ones is printed [default:
    /// exact where possible, else none]
    #[arg(long, value_name = "CACHE", requires = "generate")]
    pub(crate) cache: Option<String>,

    /// Recompute an approximate cache after N steps [default: at each block only]
    #[arg(long, value_name = "N", requires = "cache")]
    pub(crate) cache_refresh: Option<usize>,

    /// Also print the time of each operation
    #[arg(long)]
    pub(crate) breakdown: bool,

    /// Output format: a table or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    /// Also write the JSON object to FILE
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Device: auto (an NVIDIA GPU if one is ready, else the CPU), cpu, cpu-scalar (slow; the reference for all
    /// others), cpu-avx2, cpu-avx512, cpu-amx (the CPU with these instructions), cuda, cuda:N (GPU N, from 0)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Computing")]
    pub(crate) device: DeviceChoice,

    /// Number formats of matrix products, separated by commas
    #[arg(
        long,
        visible_alias = "dtype",
        value_name = "PRECISION",
        default_value = "auto",
        value_delimiter = ',',
        help_heading = "Computing"
    )]
    pub(crate) precision: Vec<Precision>,

    /// Numbers of threads, separated by commas [default: one per processor]
    #[arg(short = 't', long, value_name = "N", value_delimiter = ',', help_heading = "Computing")]
    pub(crate) threads: Vec<usize>,

    /// MiB that the experts of a mixture take in memory at most; they are read when tokens are routed to them, which is
    /// slower, and the results are the same [default: all are in memory]
    #[arg(long, value_name = "MIB", conflicts_with_all = ["config", "train"], help_heading = "Computing")]
    pub(crate) expert_memory: Option<u64>,

    /// Replay GPU launches that repeat, as CUDA graphs; rows whose logits are wanted are padded to few numbers. Tested
    /// on an emulated GPU only
    #[arg(long, help_heading = "Computing")]
    pub(crate) graphs: bool,
}

/// Positions of a sequence whose logits are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Each.
    All,
    /// That many.
    Count(usize),
}

impl FromStr for Rows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Count).map_err(|_| "allowed: all, or a number of positions".to_owned()),
        }
    }
}
