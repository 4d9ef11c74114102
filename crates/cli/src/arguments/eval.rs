//! What the subcommands of `eval` take.

use super::{DeviceArguments, EvalGuardArguments, ReportFormat, SamplingArguments};
use aquatint_corpus::{Encoding, Format};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// Measure a codec of pictures or sounds: how well they come back from their codes, and how many codes are used
    ///
    /// Pictures of any size are fitted into the codec's square first, and sounds are resampled. PSNR and SSIM are of colours
    /// over white. Log-spectral distance is between spectra of 32 ms.
    Codec(CodecArguments),
    /// Measure a model of words and pictures: whether pictures show what a text speaks of, and words what a picture shows
    ///
    /// Texts of --data get a picture each. Of the pictures that --catalogue names, the nearest one in codes says what it shows;
    /// with --judge, so does the name that is nearest to it. Then pictures of --data get words, and the first eight are to
    /// name what is shown, by language.
    ///
    /// Words of --data get a sound each, as long as their recording. The model reads it back, and of the known sounds, those
    /// that are held out included, the nearest one says what it says; the recording itself does not count. Then sounds of
    /// --data get words.
    ///
    /// Beside each share stand its 95 % interval (Wilson), chance, and what the codec alone reaches. At the end stand the
    /// nats per code of --data. Rows are those of recipes/canvas/prepare.py: a text that names one picture or one sound, its
    /// concept, its kind and its language.
    Spans(SpansArguments),
    /// Measure what a model answers to held-out conversations: exact match, token F1 and ROUGE-L, with 95 % intervals
    ///
    /// Rows are conversations in OpenAI's or ShareGPT's form (JSON lines), whose last answer is asked for. Answers that
    /// count as right are in `references`, an array beside the turns, or else the last answer itself. The baseline
    /// answers with the best sentence of `passage` for `question`, by BM25. Means are over rows: exact match has Wilson's
    /// interval, the others have the normal one.
    ///
    /// With --drafts it is measured, too, how sure the models are: whether answers with which further drafts agree, by their
    /// words, are right more often, and what leaving out the others gives.
    Answers(Box<AnswersArguments>),
    /// Measure whom a model wrongs: which of two sentences it finds likelier, what it answers where a text does not say, and
    /// how toxic its continuations of prompts are
    ///
    /// Rows are JSON lines of pairs, choices and prompts, as benches/trust/prepare.py makes them of CrowS-Pairs, StereoSet,
    /// BBQ, WinoBias and RealToxicityPrompts (docs/TRUST.md). Sentences of a pair share their noise, so that differences have
    /// little of it. Answers are listed in three rotations. Prompts are continued --count times, and each continuation is
    /// judged by itself by --guard: a classifier over words, or a list of words, which know no meanings.
    Bias(BiasArguments),
    /// Measure how sure a model is: whether what it fills in is right as often as it is probable, on held-out text
    ///
    /// Open spans of given texts are filled and compared with what stood there, token by token. Scores are the probability and
    /// the entropy at commit, and how many of --runs further fillings, in random orders with other seeds at temperature 1,
    /// write the same. Tables have the expected calibration error, risk by coverage, and what abstaining gives.
    Calibration(CalibrationArguments),
    /// Measure what a model repeats: the longest runs of words that its texts have in common with a corpus, with sources
    ///
    /// Texts are those of --texts, or such as the model writes on empty canvases. With --canaries, secrets that were planted
    /// in the training text are ranked among others by what they cost (exposure, in bits): with what stands before them given,
    /// with both sides given, and with the secret given and both sides open.
    Memory(MemoryArguments),
    /// Measure guards on labelled texts: how many they catch of those to be refused, and how many others they refuse
    ///
    /// Texts are judged as they would be given, with their holes; no model is needed. Shares have 95 % intervals (Wilson).
    Guard(EvalGuardArguments),
    /// Solve Sudoku puzzles that are not in the training data
    Sudoku(SudokuArguments),
    /// Write Sudoku puzzles with their solutions as training data
    ///
    /// Each line is a JSON object whose `text` has 81 clues, `.` for an empty cell, and the 81 digits of the only
    /// solution. `eval sudoku` uses no solution of the training data.
    Puzzles(PuzzleArguments),
}

/// What `eval codec` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval codec runs/pictures --data pictures.tar.zst --folders emoji,clipart \
                        --held-out 0.05\n  aquatint eval codec runs/pictures --data photos --sheet sheet.png\n  aquatint \
                        eval codec runs/sounds --data data/sample/sounds --returned heard"
)]
pub(crate) struct CodecArguments {
    /// Folder of the codec
    #[arg(value_name = "FOLDER")]
    pub(crate) codec: PathBuf,

    /// What to measure: an archive (.tar, .tar.zst) or a folder, of PNG, JPEG and WebP files for a codec of pictures, of
    /// WAV and FLAC files for one of sounds
    #[arg(short, long, value_name = "PATH")]
    pub(crate) data: PathBuf,

    /// Only files of these folders in it
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) folders: Vec<String>,

    /// Only what a recipe with this `data.held_out` and --seed holds out
    #[arg(long, value_name = "SHARE")]
    pub(crate) held_out: Option<f64>,

    /// Seed of what is held out
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Measure only N pictures or sounds, spread evenly
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Write a sheet of originals beside what came back of them, at most 72, as PNG; sounds are shown as log-mel spectra
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,

    /// Write what came back into this folder, under the names of the originals, as PNG or WAV
    #[arg(long, value_name = "FOLDER")]
    pub(crate) returned: Option<PathBuf>,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval spans` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval spans -m runs/canvas --data data/sample/captions/valid.jsonl --catalogue \
                        data/sample/captions/train.jsonl --media data/sample/pictures\n  aquatint eval spans -m runs/canvas \
                        --data passages-valid.jsonl,captions-valid.jsonl --catalogue captions-train.jsonl --media \
                        pictures.tar.zst --judge runs/judge --steps 4,16,64 --guidance-scale 1,2,5\n  aquatint eval spans -m \
                        runs/canvas --data words-valid.jsonl --catalogue words-train.jsonl --media sounds.tar.zst \
                        --sounds-out heard"
)]
pub(crate) struct SpansArguments {
    /// Folder of a model of words and pictures or sounds
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: String,

    /// JSON lines that are held out
    #[arg(long, value_name = "FILE,...", value_delimiter = ',', required = true)]
    pub(crate) data: Vec<PathBuf>,

    /// JSON lines that were trained on, with whose pictures and sounds the made ones are compared
    #[arg(long, value_name = "FILE,...", value_delimiter = ',', required = true)]
    pub(crate) catalogue: Vec<PathBuf>,

    /// Folders or archives (.tar, .tar.zst) of the pictures and sounds that the lines name
    #[arg(long, value_name = "PATH,...", value_delimiter = ',', required = true)]
    pub(crate) media: Vec<PathBuf>,

    /// Folder of a matcher that judges pictures, as recipes/canvas/judge.toml trains one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) judge: Option<PathBuf>,

    /// Write recordings, what the codec gives back of them and made sounds to a new folder, with a list of what each should
    /// say, for benches/recognise.py
    #[arg(long, value_name = "FOLDER")]
    pub(crate) sounds_out: Option<PathBuf>,

    /// Measure only N texts of each kind, N pictures of each language and N sounds of each source, spread evenly
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) count: usize,

    /// Denoising steps of a picture or a sound, one table line for each
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "16")]
    pub(crate) steps: Vec<usize>,

    /// Guidance scales of a picture or a sound, one table line for each
    #[arg(long, value_name = "X,...", value_delimiter = ',', default_value = "2")]
    pub(crate) guidance_scale: Vec<f64>,

    /// Random seed
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Output format: tables or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
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
    #[arg(long, value_name = "T", default_value_t = 1.0)]
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

/// A baseline that needs no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Baseline {
    /// The best sentence of a passage by BM25.
    Bm25,
}

/// What `eval answers` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval answers tales runs/instruct --data tales-test.jsonl --baseline bm25 --group seen\n  \
                        aquatint eval answers runs/instruct --data tales-test.jsonl --limit 100 --out answers.jsonl\n  aquatint eval answers runs/instruct \
                        --data tales-test.jsonl --drafts 8 --report answers.html"
)]
pub(crate) struct AnswersArguments {
    /// Models: folders, names of built-in models, or OWNER/NAME that were pulled
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<String>,

    /// Conversations that are held out, as JSON lines
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// Answer by retrieval, too: bm25 is the best sentence of a row's `passage` for its `question`
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<Baseline>,

    /// Measure the rows of each value of this field by themselves, too
    #[arg(long, value_name = "FIELD")]
    pub(crate) group: Option<String>,

    /// Ask only N rows, spread evenly
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Write N further drafts of each answer at temperature 1, with seeds that follow on, and measure how far they agree
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) drafts: usize,

    /// F1 of words from which on two drafts are near; a cluster holds what is near one after another [default: 0.5]
    #[arg(long, value_name = "F1")]
    pub(crate) near: Option<f64>,

    /// Write a page about how sure the models are, with tables and plots, as HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write every answer with its scores into this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Output format: a table or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval bias` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval bias --data data/sample/bias.jsonl --limit 20\n  aquatint eval bias -m runs/mine --data \
                        crows-pairs.jsonl,stereoset.jsonl,bbq.jsonl,wino.jsonl --samples 16 --report bias.html --out bias.jsonl\n  aquatint eval bias --data prompts.jsonl --guard toxicity.json --count 8 \
                        --length 24 --report toxicity.html"
)]
pub(crate) struct BiasArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Rows of pairs, choices and prompts, as JSON lines
    #[arg(short, long, value_name = "FILE,...", value_delimiter = ',', required = true)]
    pub(crate) data: Vec<PathBuf>,

    /// Noisy versions of each text; more of them lower the noise of a pair
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) samples: usize,

    /// What is open in the sentences of a pair, one table line each: whole; common, given what differs; differing
    #[arg(long, value_name = "PART,...", value_delimiter = ',', default_value = "whole,common")]
    pub(crate) open: Vec<String>,

    /// Judge continuations of prompts by this file: a classifier (.json, `aquatint guard-classifier`), or otherwise a list of
    /// phrases and /regular expressions/, one a line; repeat it for several, of which the largest score counts
    #[arg(long = "guard", value_name = "FILE")]
    pub(crate) guards: Vec<PathBuf>,

    /// Continuations of each prompt
    #[arg(long, value_name = "N", requires = "guards", default_value_t = 8)]
    pub(crate) count: usize,

    /// Tokens of a continuation; where the model knows an end token, it may end earlier
    #[arg(long, value_name = "N", requires = "guards", default_value_t = 24)]
    pub(crate) length: usize,

    /// Denoising steps of a continuation [default: as the model's makers advise]
    #[arg(long, value_name = "N", requires = "guards")]
    pub(crate) steps: Option<usize>,

    /// Sampling temperature of continuations [default: as the model's makers advise]
    #[arg(long, value_name = "T", requires = "guards")]
    pub(crate) temperature: Option<f64>,

    /// Sample continuations from the smallest set of tokens whose probabilities reach P [default: as the model's makers advise]
    #[arg(long, value_name = "P", requires = "guards")]
    pub(crate) top_p: Option<f64>,

    /// Measure only N rows of each file, spread evenly
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Random seed of the noise and of continuations; the same seed gives the same figures
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Write a page with tables and plots, as HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write the figures of every row, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Output format: tables or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval calibration` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval calibration --data data/sample/valid --limit 4\n  aquatint eval calibration -m runs/mine \
                        --data books.jsonl.zst --limit 200 --spans 6 --length 3 --runs 8 --report calibration.html"
)]
pub(crate) struct CalibrationArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Held-out text: a file or a folder (.txt, .jsonl, also .gz, .zst or .xz, .parquet)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// Use only N canvases, spread evenly over the text
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Open spans in each canvas
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) spans: usize,

    /// Tokens of a span
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) length: usize,

    /// Further fillings of each canvas, with which the first is compared; 0 for none
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) runs: usize,

    /// Denoising steps, as in `generate`
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,

    /// Commit policy, as in `generate`
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,

    /// Sampling temperature of the filling that is measured: 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f64,

    /// Random seed: where spans lie, and of the draws
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Write a page with tables and plots, as HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write every span with its scores, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Output format: tables or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What `eval memory` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint eval memory --corpus data/sample/train --count 4 --length 64\n  aquatint eval memory --corpus \
                        books.jsonl.zst --texts held-out.jsonl.zst\n  aquatint eval memory -m runs/mine --corpus books.jsonl.zst --count 200 \
                        --report memory.html --canaries canaries.jsonl"
)]
pub(crate) struct MemoryArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// The training text: a file or a folder (.txt, .jsonl, also .gz, .zst or .xz, .parquet)
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,

    /// Compare the documents of this file in place of what the model writes
    #[arg(long, value_name = "FILE", requires = "corpus", conflicts_with_all = ["count", "length", "steps", "temperature"])]
    pub(crate) texts: Option<PathBuf>,

    /// Planted secrets, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) canaries: Option<PathBuf>,

    /// Texts that the model writes
    #[arg(long, value_name = "N", requires = "corpus", default_value_t = 64)]
    pub(crate) count: usize,

    /// Tokens per text [default: the model's context length]
    #[arg(long, value_name = "N", requires = "corpus")]
    pub(crate) length: Option<usize>,

    /// Denoising steps, as in `generate`
    #[arg(long, value_name = "N", requires = "corpus")]
    pub(crate) steps: Option<usize>,

    /// Sampling temperature [default: as the model's makers advise]
    #[arg(long, value_name = "T", requires = "corpus")]
    pub(crate) temperature: Option<f64>,

    /// List runs of N words and more
    #[arg(long, value_name = "N", requires = "corpus", default_value_t = 8)]
    pub(crate) run_length: usize,

    /// Noisy versions of each candidate of a canary
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) samples: usize,

    /// Random seed: of the texts and of the noise
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Write a page with the texts, their runs marked, as HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write every text with its runs, as JSON lines
    #[arg(long, value_name = "FILE", requires = "corpus")]
    pub(crate) out: Option<PathBuf>,

    /// Output format: tables or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// Which puzzles.
#[derive(Debug, Args)]
pub(crate) struct PuzzleKind {
    /// Cells of a row: 9, or 4 of small puzzles
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub(crate) side: usize,

    /// Minimum and maximum number of clues [default: 24-40; of small puzzles 4-8]
    #[arg(long, value_name = "FEWEST-MOST")]
    pub(crate) clues: Option<String>,
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

    /// Denoising steps [default: one for each cell]
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,

    /// Sampling temperature: 0 takes the likeliest digit, 1 samples from the model's prediction
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f64,

    #[command(flatten)]
    pub(crate) kind: PuzzleKind,

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

    #[command(flatten)]
    pub(crate) kind: PuzzleKind,

    /// Random seed of the puzzles
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What `eval likelihood` takes.
#[derive(Debug, Args)]
pub(crate) struct LikelihoodArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Text to measure: a file or a folder (.txt, .jsonl, also .gz, .zst or .xz, .parquet)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// How files are read whose names do not say it: text, json or parquet
    #[arg(long, value_name = "FORMAT")]
    pub(crate) data_format: Option<Format>,

    /// Field or column with the text; a.b is the field b inside a [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// What stands between the documents of a text file; "" for one document [default: <|endoftext|>]
    #[arg(long, value_name = "TEXT")]
    pub(crate) separator: Option<String>,

    /// Encoding of text and JSON files, such as windows-1252 [default: UTF-8, or UTF-16 where it shows]
    #[arg(long, value_name = "NAME")]
    pub(crate) encoding: Option<Encoding>,

    /// Only rows whose field has this value; may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filter: Vec<String>,

    /// Number of tokens at the start of each document that are given and not measured; a document that
    /// fills several canvases has them once
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
