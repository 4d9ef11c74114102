//! What people type, as clap sees it: raw values only, one module for each command.
//! Each command resolves them against the checkpoint's defaults.

mod bench;
mod device;
mod eval;
mod generate;
mod guard;
mod hub;
mod inspect;
mod media;
mod merge;
mod provenance;
mod quantise;
mod run;
mod sampling;
mod serve;
mod train;

pub(crate) use bench::{BenchArguments, Rows};
pub(crate) use device::{DeviceArguments, Precision};
pub(crate) use eval::{
    AnswersArguments, Baseline, BiasArguments, CalibrationArguments, CodecArguments, CompareArguments, EvalCommand,
    LikelihoodArguments, MemoryArguments, PuzzleArguments, PuzzleKind, SpansArguments, SudokuArguments,
};
pub(crate) use generate::{Format, GenerateArguments};
pub(crate) use guard::{EvalGuardArguments, GuardArguments, GuardClassifierArguments};
pub(crate) use hub::{PullArguments, RemoveArguments};
pub(crate) use inspect::{CompletionsArguments, DoctorArguments, ListArguments, ShowArguments};
pub(crate) use media::MediaArguments;
pub(crate) use merge::{MergeArguments, Storage};
pub(crate) use provenance::{DetectArguments, SigningArguments, WatermarkKeyArguments};
pub(crate) use quantise::{HeadChoice, QuantiseArguments};
pub(crate) use run::RunArguments;
pub(crate) use sampling::{SamplingArguments, TokenBias, TokenRange};
pub(crate) use serve::ServeArguments;
pub(crate) use train::TrainArguments;

use crate::printer::ColorChoice;
use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::any::TypeId;
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

impl Arguments {
    /// What was typed. clap shows its own errors and ends with exit code 2, or 0 for --help and --version.
    pub(crate) fn read() -> Self {
        let mut matches = with_numbers(Self::command()).get_matches();
        Self::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
    }
}

/// Takes `-3` behind an option as its value, so that what is wrong with it is said instead of that no flag is called so, and
/// has each number say what it may be.
fn with_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let is_option = !argument.is_positional() && argument.get_action().takes_values();
            number(argument.allow_negative_numbers(is_option))
        })
        .mut_subcommands(with_numbers)
}

/// The parser of an argument that is a number, by its type.
fn number(argument: clap::Arg) -> clap::Arg {
    let parser = argument.get_value_parser().type_id();
    let is = |number: TypeId| parser == number;
    if is(TypeId::of::<usize>()) {
        argument.value_parser(|text: &str| parsed::<usize>(text, "a whole number, 0 or more"))
    } else if is(TypeId::of::<u64>()) {
        argument.value_parser(|text: &str| parsed::<u64>(text, "a whole number, 0 or more"))
    } else if is(TypeId::of::<u32>()) {
        argument.value_parser(|text: &str| parsed::<u32>(text, "a whole number from 0 to 4294967295"))
    } else if is(TypeId::of::<u16>()) {
        argument.value_parser(|text: &str| parsed::<u16>(text, "a whole number from 0 to 65535"))
    } else if is(TypeId::of::<f64>()) {
        argument.value_parser(|text: &str| parsed::<f64>(text, "a number such as 0.5"))
    } else {
        argument
    }
}

fn parsed<N: FromStr>(text: &str, allowed: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("allowed: {allowed}"))
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
    /// Serve models over HTTP: OpenAI's and Ollama's protocols, and a page
    ///
    /// The page at / shows canvases while they are filled. Ctrl-C finishes what runs and ends; a second one ends at once.
    Serve(ServeArguments),
    /// Train a model from a recipe
    ///
    /// The run folder gets the model in Hugging Face layout, the state for --resume, metrics.jsonl and the loss curve.
    /// Ctrl-C saves and exits; --resume continues from there, bit for bit.
    Train(TrainArguments),
    /// Evaluate models
    #[command(subcommand, arg_required_else_help = true)]
    Eval(EvalCommand),
    /// Make a secret key that marks texts
    ///
    /// Who has the file can mark texts with --watermark, find the mark again with `aquatint detect`, and copy it: keep it
    /// secret. It is readable by its owner only.
    WatermarkKey(WatermarkKeyArguments),
    /// Say whether a text has the mark of a key, or what the content credentials of a file say
    ///
    /// With --key, the p-value is the probability that a text without the mark looks as marked as this one. Without, the
    /// content credentials (C2PA) of a picture, a sound or a text are read: who signed, what was stated, and whether both
    /// fit the file. The exit code is 0 whatever the answer; credentials that cannot be read are an error.
    Detect(DetectArguments),
    /// Train a classifier that guards what is given and what is written
    ///
    /// It is linear: a weight for each word and each n-gram of words of the labelled texts, by logistic regression. `generate`,
    /// `run` and `serve` take its file as --guard, and `aquatint eval guard` says how often it refuses.
    GuardClassifier(GuardClassifierArguments),
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
    /// Add an adapter to the matrices of its model
    ///
    /// The folder has the layout of the model. Matrices that are quantised become real numbers; quantise the folder to have
    /// integers again.
    Merge(MergeArguments),
    /// Download a model from the Hugging Face Hub
    ///
    /// The model goes into the cache that the tools of the Hub share, and is opened by its name from then on: aquatint run
    /// OWNER/NAME. Only its description, its tokenizer and its safetensors weights are downloaded, and their hashes checked.
    /// Ctrl-C stops; the same command goes on where it stopped. Variables: HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT,
    /// HF_HUB_OFFLINE.
    Pull(PullArguments),
    /// Remove models from the cache of the Hugging Face Hub
    #[command(name = "rm", visible_alias = "remove")]
    Remove(RemoveArguments),
    /// Show a model's network, size, vocabulary and default settings
    Show(ShowArguments),
    /// List the available models
    List(ListArguments),
    /// Show what this machine supports and which device will be used
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

/// The output format of a command that reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ReportFormat {
    // Lines to read
    #[default]
    Human,
    // One object
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        with_numbers(Arguments::command()).debug_assert();
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
