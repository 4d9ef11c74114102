//! What people type, as clap sees it: raw values only. Each command resolves them against the checkpoint's defaults.

use crate::printer::ColorChoice;
use aquatint::runtime::DeviceChoice;
use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Trains, runs and evaluates diffusion language models
#[derive(Debug, Parser)]
#[command(
    name = "aquatint",
    version,
    styles = STYLES,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  aquatint run\n  aquatint generate \"Once upon a time\" --seed 7\n  aquatint generate \"The \
                  [[3]] sat on the [[5]].\""
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Print nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Also print which settings were resolved, and why
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,

    /// When to use colour (NO_COLOR is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Complete texts and fill templates interactively
    ///
    /// Without PROMPT the program reads prompts from the terminal; type /help for its commands. Piped input is one
    /// prompt.
    Run(RunArguments),
    /// Continue a text, or fill the holes of a template
    ///
    /// A text without [[ ]] is continued by at most --max-tokens tokens. In a template, [[3]] is a hole of three tokens
    /// and [[~8]] one of at most eight, which the model may end early; \[[ is a literal [[. Given characters never
    /// change. Settings without a flag come from the model's generation_config.json.
    Generate(GenerateArguments),
    /// Train a model from a recipe
    ///
    /// The run folder gets the model in Hugging Face layout, the state for --resume, metrics.jsonl and the loss curve.
    /// Ctrl-C saves and exits; --resume continues from there, bit for bit.
    Train(TrainArguments),
    /// Evaluate models
    #[command(subcommand, arg_required_else_help = true)]
    Eval(EvalCommand),
    /// Measure speed and memory of a forward pass, a training step or a generation
    ///
    /// Each measurement has one warm-up run. GFLOP/s count the operations of the network, whatever the kernels do, and
    /// are compared with the peak of multiply-adds in registers on this processor. With --config the weights are
    /// random.
    Bench(BenchArguments),
    /// Quantise a model to 8 or 4 bits
    ///
    /// The matrices of the layers become integers with scales, rounded to nearest; embeddings and norms stay. The
    /// folder has Hugging Face layout, with tensors in the compressed-tensors format.
    #[command(name = "quantize", visible_alias = "quantise")]
    Quantise(QuantiseArguments),
    /// Show a model's network, size, vocabulary and default settings
    Show(ShowArguments),
    /// List the available models
    List(ListArguments),
    /// Show what this machine supports and which device will be used
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

/// Which model, where and in which precision.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeviceArguments {
    /// Device: auto (an NVIDIA GPU if one is ready, else the CPU), cpu, cpu-scalar (slow; the reference for all
    /// others), cuda, cuda:N (GPU N, from 0)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Computing")]
    pub(crate) device: DeviceChoice,

    /// Number format of matrix products
    #[arg(long, visible_alias = "dtype", value_name = "PRECISION", default_value = "auto", help_heading = "Computing")]
    pub(crate) precision: Precision,

    /// Number of threads [default: one per processor]
    #[arg(short = 't', long, value_name = "N", help_heading = "Computing")]
    pub(crate) threads: Option<usize>,
}

/// As [`aquatint::runtime::Precision`], with what `--help` says of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Precision {
    /// bf16 if the processor has instructions for it, else f32
    #[default]
    Auto,
    /// 32 bits
    F32,
    /// Factors rounded to 16 bits (bfloat16), sums in 32 bits
    Bf16,
    /// Matrices as 8-bit integers with a scale per output
    Int8,
    /// Matrices as 4-bit integers with a scale per 32 inputs; the head has 8 bits
    Int4,
    /// 64 bits, only on cpu-scalar
    F64,
}

/// How a canvas is filled. What is not given comes from the model's `generation_config.json`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SamplingArguments {
    /// Maximum number of tokens when a text is continued
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        aliases = ["n-predict", "max-new-tokens", "gen-length"],
        help_heading = "Sampling"
    )]
    pub(crate) max_tokens: Option<usize>,

    /// Denoising steps per block
    #[arg(long, value_name = "N", aliases = ["num-inference-steps", "diffusion-steps"], help_heading = "Sampling")]
    pub(crate) steps: Option<usize>,

    /// Open positions that are filled together, block after block [default: all]
    #[arg(long, value_name = "N", alias = "block-size", help_heading = "Sampling")]
    pub(crate) block_length: Option<usize>,

    /// Commit policy, which tokens become final at a step: confidence, margin, entropy, random, ancestral,
    /// first-hitting, threshold:P, entropy-bound:NATS, last (all at the last step), auto (that of the model's process)
    #[arg(long, value_name = "POLICY", help_heading = "Sampling")]
    pub(crate) policy: Option<String>,

    /// Short for --policy threshold:P
    #[arg(allow_negative_numbers = true, long, value_name = "P", conflicts_with_all = ["policy", "entropy_bound"], help_heading = "Sampling")]
    pub(crate) threshold: Option<f64>,

    /// Short for --policy entropy-bound:NATS
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "NATS",
        conflicts_with = "policy",
        help_heading = "Sampling"
    )]
    pub(crate) entropy_bound: Option<f64>,

    /// Remask committed tokens (ReMDM): none, cap:ETA, rescale:ETA, conf:ETA, loop:ETA
    #[arg(long, value_name = "RULE", help_heading = "Sampling")]
    pub(crate) remasking: Option<String>,

    /// Sampling temperature: 0 takes the likeliest token, 1 samples from the model's prediction
    #[arg(allow_negative_numbers = true, long, value_name = "T", alias = "temp", help_heading = "Sampling")]
    pub(crate) temperature: Option<f64>,

    /// Sample among the K likeliest tokens
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    pub(crate) top_k: Option<usize>,

    /// Sample among the likeliest tokens whose probabilities sum to P
    #[arg(allow_negative_numbers = true, long, value_name = "P", help_heading = "Sampling")]
    pub(crate) top_p: Option<f64>,

    /// Penalty for tokens that are already on the canvas; 1 is neutral
    #[arg(allow_negative_numbers = true, long, value_name = "R", alias = "repeat-penalty", help_heading = "Sampling")]
    pub(crate) repetition_penalty: Option<f64>,

    /// Classifier-free guidance by the given text; 1 is neutral
    #[arg(allow_negative_numbers = true, long, value_name = "S", help_heading = "Sampling")]
    pub(crate) guidance_scale: Option<f64>,

    /// Guidance in LLaDA's convention: W is S - 1, 0 is neutral
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "W",
        conflicts_with = "guidance_scale",
        help_heading = "Sampling"
    )]
    pub(crate) cfg_scale: Option<f64>,

    /// KV cache: none, exact (block diffusion; the same text for less work), prefix or dual (other models; approximate)
    /// [default: exact where possible, else none]
    #[arg(long, value_name = "CACHE", help_heading = "Sampling")]
    pub(crate) cache: Option<String>,

    /// Recompute an approximate cache after N steps [default: at each block only]
    #[arg(long, value_name = "N", requires = "cache", help_heading = "Sampling")]
    pub(crate) cache_refresh: Option<usize>,

    /// Share of the noise at open positions that each step draws again, from 0 to 1 [default: that of the model's
    /// process]
    #[arg(allow_negative_numbers = true, long, value_name = "SHARE", help_heading = "Sampling")]
    pub(crate) churn: Option<f64>,

    /// Corrector steps after each step (predictor-corrector), which draw a share of the noise again: --churn, or 0.2
    /// [default: 0]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) correctors: Option<usize>,

    /// Keep accepted positions open until the last step, and draw all others again
    #[arg(long, help_heading = "Sampling")]
    pub(crate) revise: bool,

    /// Random seed; the same seed gives the same text [default: random, and printed]
    #[arg(short = 's', long, value_name = "N", help_heading = "Sampling")]
    pub(crate) seed: Option<u64>,
}

/// What `generate` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint generate \"Once upon a time\" --seed 7\n  aquatint generate \"The [[3]] sat on \
                        the [[5]].\" --steps 8\n  echo \"A fox\" | aquatint generate - --format json"
)]
pub(crate) struct GenerateArguments {
    /// Text to continue or template to fill; `-` reads standard input
    #[arg(value_name = "TEMPLATE", required_unless_present = "prompt")]
    pub(crate) template: Option<String>,

    /// Same as TEMPLATE
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "template")]
    pub(crate) prompt: Option<String>,

    /// Model folder or name of a built-in model [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Output format: the text, one JSON object, or one JSON object per event
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,

    /// Write all events to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // The text
    #[default]
    Human,
    // One object at the end
    Json,
    // One object for each event, and the one at the end
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ReportFormat {
    // Lines to read
    #[default]
    Human,
    // One object
    Json,
}

/// What `run` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint run\n  aquatint run tales \"Once upon a time\"\n  echo \"A fox\" | aquatint run"
)]
pub(crate) struct RunArguments {
    /// Model folder or name of a built-in model [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Answer this prompt and exit
    #[arg(value_name = "PROMPT")]
    pub(crate) words: Option<String>,

    /// Same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL", conflicts_with = "model")]
    pub(crate) model_flag: Option<String>,

    /// Same as PROMPT
    #[arg(short, long, value_name = "PROMPT", conflicts_with = "words")]
    pub(crate) prompt: Option<String>,

    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `train` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint train recipes/smoke.toml\n  aquatint train recipes/tales.toml --out runs/tales --set \
                        run.steps=2000\n  aquatint train recipes/tales.toml --out runs/tales --resume"
)]
pub(crate) struct TrainArguments {
    /// Recipe, a TOML file
    #[arg(value_name = "RECIPE")]
    pub(crate) recipe: PathBuf,

    /// Continue the run in the run folder
    #[arg(long)]
    pub(crate) resume: bool,

    /// Print the resolved recipe and exit
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,

    /// Override a key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Run folder [default: the recipe's `output`]
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Measure the likelihood of a text: nats per token, bits per byte, perplexity, with standard errors
    Likelihood(LikelihoodArguments),
    /// Compare models: the texts they generate at several numbers of steps, judged by a causal model
    ///
    /// Each model generates texts from empty canvases. The judge measures their perplexity, which repetition lowers,
    /// too; so the entropy of the tokens within a text is measured as well. Figures, tables and plots go to --out, and
    /// figures that are there already are not measured again.
    Compare(CompareArguments),
    /// Solve Sudoku puzzles that are not in the training data
    Sudoku(SudokuArguments),
    /// Write Sudoku puzzles with their solutions as training data
    ///
    /// Each line is a JSON object whose `text` has 81 clues, `.` for an empty cell, and the 81 digits of the only
    /// solution. `eval sudoku` uses no solution of the training data.
    Puzzles(PuzzleArguments),
}

/// What `eval compare` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval compare runs/compare/masked runs/compare/gaussian --judge runs/compare/judge\n  aquatint \
                        eval compare masked=runs/a field=runs/b --judge runs/judge --steps 4,16,64 --data \
                        ../shared/data/stories-valid.jsonl.zst"
)]
pub(crate) struct CompareArguments {
    /// Models, each FOLDER or NAME=FOLDER
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// Causal model that judges the texts
    #[arg(long, value_name = "MODEL")]
    pub(crate) judge: String,

    /// Numbers of denoising steps
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "4,8,16,32,64,128")]
    pub(crate) steps: Vec<usize>,

    /// Texts per model and number of steps
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) texts: usize,

    /// Tokens per text [default: the model's context length]
    #[arg(long, value_name = "N")]
    pub(crate) length: Option<usize>,

    /// Held-out text whose likelihood is measured, too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,

    /// Number of canvases of held-out text
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) limit: usize,

    /// Diffusion times drawn per canvas of held-out text
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) samples: usize,

    /// Commit policy, as in `generate`
    #[arg(long, value_name = "POLICY", default_value = "auto")]
    pub(crate) policy: String,

    /// Sampling temperature: 0 takes the likeliest token, 1 samples from the model's prediction
    #[arg(allow_negative_numbers = true, long, value_name = "T", default_value_t = 1.0)]
    pub(crate) temperature: f64,

    /// Random seed; the same seed gives the same texts
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Folder for figures, tables, plots and samples
    #[arg(long, value_name = "DIR", default_value = "compare")]
    pub(crate) out: PathBuf,

    /// Output format: tables or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval sudoku` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval sudoku runs/sudoku/masked --policies random,confidence,margin\n  aquatint eval sudoku \
                        runs/sudoku/masked runs/sudoku/gaussian --puzzles 200"
)]
pub(crate) struct SudokuArguments {
    /// Folders of models trained on puzzles
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// Number of puzzles
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) puzzles: usize,

    /// Commit policies, as in `generate`
    #[arg(long, value_name = "POLICY", value_delimiter = ',', default_value = "auto")]
    pub(crate) policies: Vec<String>,

    /// Denoising steps
    #[arg(long, value_name = "N", default_value_t = 81)]
    pub(crate) steps: usize,

    /// Sampling temperature: 0 takes the likeliest digit, 1 samples from the model's prediction
    #[arg(allow_negative_numbers = true, long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f64,

    /// Minimum and maximum number of clues
    #[arg(long, value_name = "FEWEST-MOST", default_value = "24-40")]
    pub(crate) clues: String,

    /// Random seed of the puzzles and the noise
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Output format: a table or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval puzzles` takes.
#[derive(Debug, Args)]
pub(crate) struct PuzzleArguments {
    /// File to write, JSON lines
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Number of puzzles
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) count: usize,

    /// Write puzzles that are reserved for evaluation instead
    #[arg(long)]
    pub(crate) unseen: bool,

    /// Minimum and maximum number of clues
    #[arg(long, value_name = "FEWEST-MOST", default_value = "24-40")]
    pub(crate) clues: String,

    /// Random seed of the puzzles
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LikelihoodArguments {
    /// Model folder or name of a built-in model [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Text to measure: a file or a folder (.txt, .jsonl, .jsonl.zst, .parquet)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// Field or column with the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// Only rows whose field has this value; may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filter: Vec<String>,

    /// Number of tokens at the start of each document that are given and not measured
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) given: usize,

    /// Diffusion times drawn per canvas; more of them lower the standard error
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) samples: usize,

    /// Measure gaussian diffusion along its probability flow in N steps, as a check of the bound
    #[arg(long, value_name = "N", conflicts_with_all = ["samples", "given"])]
    pub(crate) flow: Option<usize>,

    /// Measure only N canvases, spread evenly over the text
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Random seed of the noise; the same seed gives the same figures
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `bench` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint bench\n  aquatint bench --precision f32,bf16 --threads 1,2\n  aquatint bench \
                        --config benches/networks/llada-31m.json --generate 96 --steps 4 --block-length 32\n  aquatint bench \
                        --train --batch 8 --breakdown"
)]
pub(crate) struct BenchArguments {
    /// Model folder or name of a built-in model [default: the built-in model]
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
    /// others), cuda, cuda:N (GPU N, from 0)
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

/// What `quantize` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint quantize tales --out runs/tales-8\n  aquatint quantize runs/big --bits 4 \
                        --group 64 --head 8 --out runs/big-4"
)]
pub(crate) struct QuantiseArguments {
    /// Model folder or name of a built-in model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// Bits per integer: 8 or 4
    #[arg(long, value_name = "BITS", default_value_t = 8)]
    pub(crate) bits: u32,

    /// Consecutive inputs that share a scale [default: all inputs of an output for 8 bits, 32 for 4 bits]
    #[arg(long, value_name = "N", alias = "group-size")]
    pub(crate) group: Option<usize>,

    /// Output head, if it is untied: keep it, or quantise it to 8 bits
    #[arg(long, value_name = "HEAD", default_value = "keep")]
    pub(crate) head: HeadChoice,

    /// Folder to write
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum HeadChoice {
    /// Leave it unchanged
    #[default]
    Keep,
    /// 8 bits
    #[value(name = "8")]
    Eight,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Model folder or name of a built-in model [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Folders to search for models
    #[arg(value_name = "DIR", default_value = "runs")]
    pub(crate) folders: Vec<PathBuf>,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_of_other_tools_are_understood() {
        let typed = ["aquatint", "generate", "-p", "a", "--max-new-tokens", "9", "--temp", "0.5", "--dtype", "f32"];
        let Command::Generate(generate) = Arguments::try_parse_from(typed).unwrap().command else {
            panic!("not generate");
        };
        assert_eq!(generate.sampling.max_tokens, Some(9));
        assert_eq!(generate.sampling.temperature, Some(0.5));
        assert_eq!(generate.device.precision, Precision::F32);
    }

    #[test]
    fn two_flags_for_the_same_setting_exclude_each_other() {
        for pair in [["--threshold=0.9", "--policy=random"], ["--cfg-scale=1", "--guidance-scale=2"]] {
            assert!(Arguments::try_parse_from(["aquatint", "generate", "a", pair[0], pair[1]]).is_err(), "{pair:?}");
        }
    }
}
