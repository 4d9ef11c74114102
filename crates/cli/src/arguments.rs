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

/// Trains, runs and measures language diffusion models: text grows on a canvas, many words at a time.
#[derive(Debug, Parser)]
#[command(
    name = "aquatint",
    version,
    styles = STYLES,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Begin with:\n  aquatint run\n  aquatint generate \"Once upon a time\" --seed 7\n  aquatint generate \"The \
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
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Also say what was resolved, and why
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,

    /// When to use colour (NO_COLOR is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Complete a text or fill templates in a conversation with a model
    ///
    /// Without PROMPT it asks for one after the other; /help says what can be typed. Input from a pipe is one prompt.
    Run(RunArguments),
    /// Fill a canvas: continue a text, or fill the open places of a template
    ///
    /// A text without [[ ]] is continued by --max-tokens tokens at most. In a template, [[3]] stands for three open tokens
    /// and [[~8]] for at most eight, which the model may close early; \[[ is a literal [[. Every given character stays.
    /// What is not set by a flag comes from the model's generation_config.json.
    Generate(GenerateArguments),
    /// Train a model as a recipe says
    ///
    /// Everything is written to the run folder: the model in Hugging Face shape, the state for --resume, metrics.jsonl and
    /// the loss curve. Ctrl-C saves and leaves; --resume goes on from there, bit for bit.
    Train(TrainArguments),
    /// Measure a model
    #[command(subcommand, arg_required_else_help = true)]
    Eval(EvalCommand),
    /// Measure speed and memory: a forward pass, a training step, a generation
    ///
    /// Each thing runs once before it counts. GFLOP/s count what has to be computed, whatever the kernels do, and are set
    /// against what multiply-adds in registers reach on this processor. Weights of --config are random.
    Bench(BenchArguments),
    /// Write a model whose matrices are integers of 8 or 4 bits
    ///
    /// The matrices of the blocks are rounded to the nearest integer times a scale; word vectors and norms stay. The folder
    /// is of Hugging Face shape, with tensors as compressed-tensors lays them out.
    #[command(name = "quantize", visible_alias = "quantise")]
    Quantise(QuantiseArguments),
    /// Show what a model is: its network, size, vocabulary and defaults
    Show(ShowArguments),
    /// List the models at hand
    List(ListArguments),
    /// Say what this machine can do and which path will be taken
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

/// Which model, where and in which precision.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeviceArguments {
    /// Where to compute: auto (an NVIDIA GPU where one is ready, else the processor), cpu, cpu-scalar (the slow path that
    /// defines what is right), cuda, cuda:N (GPU N, from 0)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Computing")]
    pub(crate) device: DeviceChoice,

    /// Number format of the products
    #[arg(long, visible_alias = "dtype", value_name = "PRECISION", default_value = "auto", help_heading = "Computing")]
    pub(crate) precision: Precision,

    /// Threads to use [default: one for each processor]
    #[arg(short = 't', long, value_name = "N", help_heading = "Computing")]
    pub(crate) threads: Option<usize>,
}

/// As [`aquatint::runtime::Precision`], with what `--help` says of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Precision {
    /// bf16 where the processor has instructions for it, else f32
    #[default]
    Auto,
    /// 32 bits
    F32,
    /// Products of factors rounded to 16 bits (bfloat16), sums in 32
    Bf16,
    /// Matrices as integers of 8 bits with a scale for each output
    Int8,
    /// Matrices as integers of 4 bits with a scale for 32 of them; the head has 8
    Int4,
    /// 64 bits, on the scalar path only
    F64,
}

/// How a canvas is filled. What is not given comes from the model's `generation_config.json`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SamplingArguments {
    /// Tokens to write when a text is continued
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        aliases = ["n-predict", "max-new-tokens", "gen-length"],
        help_heading = "Sampling"
    )]
    pub(crate) max_tokens: Option<usize>,

    /// Denoising steps for each block
    #[arg(long, value_name = "N", aliases = ["num-inference-steps", "diffusion-steps"], help_heading = "Sampling")]
    pub(crate) steps: Option<usize>,

    /// Open positions that are filled together, block after block [default: all of them]
    #[arg(long, value_name = "N", alias = "block-size", help_heading = "Sampling")]
    pub(crate) block_length: Option<usize>,

    /// Which beliefs become final at a step: confidence, margin, entropy, random, ancestral, first-hitting,
    /// threshold:P, entropy-bound:NATS, last (all at the last step), auto (the model's own process)
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

    /// Take tokens back and look again (ReMDM): none, cap:ETA, rescale:ETA, conf:ETA, loop:ETA
    #[arg(long, value_name = "RULE", help_heading = "Sampling")]
    pub(crate) remasking: Option<String>,

    /// 0 takes the likeliest token, 1 draws from the model's belief
    #[arg(allow_negative_numbers = true, long, value_name = "T", alias = "temp", help_heading = "Sampling")]
    pub(crate) temperature: Option<f64>,

    /// Draw among the K likeliest tokens only
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    pub(crate) top_k: Option<usize>,

    /// Draw among the likeliest tokens that hold P of the probability
    #[arg(allow_negative_numbers = true, long, value_name = "P", help_heading = "Sampling")]
    pub(crate) top_p: Option<f64>,

    /// Make tokens that are on the canvas already less likely; 1 is neutral
    #[arg(allow_negative_numbers = true, long, value_name = "R", alias = "repeat-penalty", help_heading = "Sampling")]
    pub(crate) repetition_penalty: Option<f64>,

    /// Push the belief away from that without the given text; 1 is neutral
    #[arg(allow_negative_numbers = true, long, value_name = "S", help_heading = "Sampling")]
    pub(crate) guidance_scale: Option<f64>,

    /// The same in LLaDA's convention: W is S - 1, 0 is neutral
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "W",
        conflicts_with = "guidance_scale",
        help_heading = "Sampling"
    )]
    pub(crate) cfg_scale: Option<f64>,

    /// What is remembered between steps: none, exact (networks with blocks in order; the same text for less work),
    /// prefix or dual (all others; approximate) [default: exact where it can be, else none]
    #[arg(long, value_name = "CACHE", help_heading = "Sampling")]
    pub(crate) cache: Option<String>,

    /// Read everything again after N steps, where the cache is approximate [default: at each block only]
    #[arg(long, value_name = "N", requires = "cache", help_heading = "Sampling")]
    pub(crate) cache_refresh: Option<usize>,

    /// How much of the noise at positions that stay open is drawn afresh at each step, from 0 to 1 [default: as the
    /// model's process has it]
    #[arg(allow_negative_numbers = true, long, value_name = "SHARE", help_heading = "Sampling")]
    pub(crate) churn: Option<f64>,

    /// Steps at the same time after each step, which draw a share of the noise afresh (predictor-corrector): --churn, or 0.2
    /// [default: 0]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) correctors: Option<usize>,

    /// Keep what the policy accepts open to the last step, and draw the rest anew
    #[arg(long, help_heading = "Sampling")]
    pub(crate) revise: bool,

    /// Same seed, same text [default: drawn afresh and shown]
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
    /// Text to continue or template to fill; `-` reads it from standard input
    #[arg(value_name = "TEMPLATE", required_unless_present = "prompt")]
    pub(crate) template: Option<String>,

    /// The same as TEMPLATE
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "template")]
    pub(crate) prompt: Option<String>,

    /// A folder or the name of a built-in model [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// What goes to standard output: the text, one JSON object, or one JSON object for each event
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,

    /// Write every step to FILE as JSON lines
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
    /// A folder or the name of a built-in model [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Answer this one prompt and leave
    #[arg(value_name = "PROMPT")]
    pub(crate) words: Option<String>,

    /// The same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL", conflicts_with = "model")]
    pub(crate) model_flag: Option<String>,

    /// The same as PROMPT
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
    /// The recipe, a TOML file
    #[arg(value_name = "RECIPE")]
    pub(crate) recipe: PathBuf,

    /// Go on with the run in the run folder
    #[arg(long)]
    pub(crate) resume: bool,

    /// Print the recipe with every gap filled, and leave
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,

    /// Change one key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// The run folder [default: the recipe's `output`]
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Bound the likelihood of a text: nats per token, bits per byte, perplexity, each with its standard error
    Likelihood(LikelihoodArguments),
    /// Hold models against each other: what they write in few and in many steps, judged by a causal model
    ///
    /// Each model writes texts on empty canvases. The judge says how likely they are; the entropy of the tokens within a text
    /// says whether that is because they repeat themselves. Figures, tables and plots go to the folder of --out, and what is
    /// there already is not measured again.
    Compare(CompareArguments),
    /// Have models solve Sudoku puzzles that none of them has seen
    Sudoku(SudokuArguments),
    /// Write Sudoku puzzles with their solutions, to train on
    ///
    /// Each line is a JSON object whose `text` holds 81 clues, `.` where nothing is given, and the 81 digits of the only
    /// solution. No solution that is written to train on is ever asked by `eval sudoku`.
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
    /// Models, each a folder or NAME=FOLDER
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// The causal model that judges
    #[arg(long, value_name = "MODEL")]
    pub(crate) judge: String,

    /// Denoising steps to try
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "4,8,16,32,64,128")]
    pub(crate) steps: Vec<usize>,

    /// Texts that each model writes at each number of steps
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) texts: usize,

    /// Tokens of a text [default: as many as the model can read]
    #[arg(long, value_name = "N")]
    pub(crate) length: Option<usize>,

    /// Held-out text, on which likelihoods are measured, too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,

    /// Canvases of held-out text to measure
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) limit: usize,

    /// Times drawn for each canvas of held-out text
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) samples: usize,

    /// The policy, as in `generate`
    #[arg(long, value_name = "POLICY", default_value = "auto")]
    pub(crate) policy: String,

    /// 0 takes the likeliest token, 1 draws from the model's belief
    #[arg(allow_negative_numbers = true, long, value_name = "T", default_value_t = 1.0)]
    pub(crate) temperature: f64,

    /// Seed of the texts; same seed, same texts
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// The folder of figures, tables, plots and samples
    #[arg(long, value_name = "DIR", default_value = "compare")]
    pub(crate) out: PathBuf,

    /// What goes to standard output: tables, or one JSON object
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
    /// Folders of models that were trained on puzzles
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// Puzzles to solve
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) puzzles: usize,

    /// Policies to try, as in `generate`
    #[arg(long, value_name = "POLICY", value_delimiter = ',', default_value = "auto")]
    pub(crate) policies: Vec<String>,

    /// Denoising steps
    #[arg(long, value_name = "N", default_value_t = 81)]
    pub(crate) steps: usize,

    /// 0 takes the likeliest digit, 1 draws from the model's belief
    #[arg(allow_negative_numbers = true, long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f64,

    /// Fewest and most clues of a puzzle
    #[arg(long, value_name = "FEWEST-MOST", default_value = "24-40")]
    pub(crate) clues: String,

    /// Seed of the puzzles and of the noise; same seed, same numbers
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// What goes to standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval puzzles` takes.
#[derive(Debug, Args)]
pub(crate) struct PuzzleArguments {
    /// The file to write, JSON lines
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Puzzles to write
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) count: usize,

    /// Write puzzles that are kept from training instead
    #[arg(long)]
    pub(crate) unseen: bool,

    /// Fewest and most clues of a puzzle
    #[arg(long, value_name = "FEWEST-MOST", default_value = "24-40")]
    pub(crate) clues: String,

    /// Seed of the puzzles
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LikelihoodArguments {
    /// A folder or the name of a built-in model [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// The text to measure: a file or a folder (.txt, .jsonl, .jsonl.zst, .parquet)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// The field or column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// Keep only rows whose field has this value; may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filter: Vec<String>,

    /// Tokens at the beginning of each document that are given and cost nothing
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) given: usize,

    /// Times drawn for each canvas; more lower the standard error
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) samples: usize,

    /// Measure a gaussian field along its probability flow in N steps, as a check on the bound
    #[arg(long, value_name = "N", conflicts_with_all = ["samples", "given"])]
    pub(crate) flow: Option<usize>,

    /// Measure N canvases only, spread evenly over the text
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Seed of the noise; same seed, same numbers
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// What goes to standard output: lines to read, or one JSON object
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
    /// A folder or the name of a built-in model [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Measure the network that this config.json describes, with random weights
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(crate) config: Option<PathBuf>,

    /// Positions of each sequence [default: 128, or as many as the model can read]
    #[arg(short, long, value_name = "N")]
    pub(crate) length: Option<usize>,

    /// Sequences that are read together
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) batch: usize,

    /// Positions of each sequence whose logits are wanted: all or N [default: all; half of them with --train]
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<Rows>,

    /// Times that each thing runs
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    pub(crate) repeat: usize,

    /// Time a training step instead: forward, backward, clipping, AdamW
    #[arg(long)]
    pub(crate) train: bool,

    /// Also time a generation: the last N positions of the length are written, greedily by confidence
    #[arg(short, long, value_name = "N", conflicts_with = "train")]
    pub(crate) generate: Option<usize>,

    /// Denoising steps for each block of --generate [default: 4 tokens a step]
    #[arg(long, value_name = "N", requires = "generate")]
    pub(crate) steps: Option<usize>,

    /// Positions that --generate fills together, block after block [default: all of them]
    #[arg(long, value_name = "N", requires = "generate")]
    pub(crate) block_length: Option<usize>,

    /// What --generate remembers between steps: none, exact, prefix or dual; how far the approximate ones are off is
    /// told [default: exact where it can be, else none]
    #[arg(long, value_name = "CACHE", requires = "generate")]
    pub(crate) cache: Option<String>,

    /// Steps after which an approximate cache is made anew [default: at each block only]
    #[arg(long, value_name = "N", requires = "cache")]
    pub(crate) cache_refresh: Option<usize>,

    /// Also tell the time of each operation
    #[arg(long)]
    pub(crate) breakdown: bool,

    /// What goes to standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    /// Write the JSON object to FILE, too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Where to compute: auto (an NVIDIA GPU where one is ready, else the processor), cpu, cpu-scalar (the slow path that
    /// defines what is right), cuda, cuda:N (GPU N, from 0)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Computing")]
    pub(crate) device: DeviceChoice,

    /// Number formats of the arithmetic, separated by commas
    #[arg(
        long,
        visible_alias = "dtype",
        value_name = "PRECISION",
        default_value = "auto",
        value_delimiter = ',',
        help_heading = "Computing"
    )]
    pub(crate) precision: Vec<Precision>,

    /// Numbers of threads to use, separated by commas [default: one for each processor]
    #[arg(short = 't', long, value_name = "N", value_delimiter = ',', help_heading = "Computing")]
    pub(crate) threads: Vec<usize>,
}

/// How many positions of a sequence are asked for.
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
    /// A folder or the name of a built-in model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// Bits of each integer: 8 or 4
    #[arg(long, value_name = "BITS", default_value_t = 8)]
    pub(crate) bits: u32,

    /// Consecutive inputs that share a scale [default: all of an output in 8 bits, 32 in 4 bits]
    #[arg(long, value_name = "N", alias = "group-size")]
    pub(crate) group: Option<usize>,

    /// What becomes of the head, where it is a matrix of its own
    #[arg(long, value_name = "HEAD", default_value = "keep")]
    pub(crate) head: HeadChoice,

    /// The folder to write
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum HeadChoice {
    /// It stays as it is
    #[default]
    Keep,
    /// 8 bits
    #[value(name = "8")]
    Eight,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// A folder or the name of a built-in model [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// What goes to standard output: lines to read, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Folders to look for models in
    #[arg(value_name = "DIR", default_value = "runs")]
    pub(crate) folders: Vec<PathBuf>,

    /// What goes to standard output: lines to read, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// What goes to standard output: lines to read, or one JSON object
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
    fn two_ways_to_say_the_same_thing_exclude_each_other() {
        for pair in [["--threshold=0.9", "--policy=random"], ["--cfg-scale=1", "--guidance-scale=2"]] {
            assert!(Arguments::try_parse_from(["aquatint", "generate", "a", pair[0], pair[1]]).is_err(), "{pair:?}");
        }
    }
}
