//! `aquatint bench`: how fast a network runs here, in how much memory.

use crate::arguments::{BenchArguments, DeviceArguments, Precision, ReportFormat, Rows};
use crate::bench::batch::Batch;
use crate::bench::measure::{self, Generation};
use crate::bench::report::{FORWARD, Report, Row, Work};
use crate::bench::subject::Subject;
use crate::failure::Failure;
use crate::machine;
use crate::model;
use crate::printer::Printer;
use crate::wire;
use aquatint::runtime::{Runtime, forget_peak_memory, peak_memory};
use aquatint_files::write_atomically;
use aquatint_generate::{Cache, GenerateError};
use aquatint_network::NetworkSpec;
use std::collections::BTreeMap;

/// Positions of a sequence where the user does not say and the network can read as many.
const LENGTH: usize = 128;
/// Tokens that a step of generation commits where the user does not say.
const TOKENS_PER_STEP: usize = 4;

pub(crate) fn run(arguments: &BenchArguments, printer: &Printer) -> Result<(), Failure> {
    let runtimes = runtimes(arguments, printer)?;
    let subject = Subject::open(arguments, printer)?;
    let spec = &subject.spec;
    let (batch, generation) = work(arguments, spec)?;
    // By the usual convention the gradients of both factors of a product cost as much as the product each, so a step is
    // three forward passes. What is computed again to save memory does not count.
    let passes = if arguments.train { 3 } else { 1 };
    let (input, requested) = (batch.input(), batch.requested.len());
    let mut report = Report {
        network: subject.name.clone(),
        spec: spec.clone(),
        config: subject.config()?,
        random_weights: subject.is_random(),
        work: Work {
            name: if arguments.train { "training step" } else { FORWARD },
            batch: batch.sequences,
            length: batch.length,
            requested: batch.requested.len(),
            operations: passes * spec.operations(&batch.visibility, input.positions, input.current, requested)?,
            generation: generation.map(describe),
        },
        processor: machine::processor(),
        path: runtimes.first().map_or_else(String::new, Runtime::path),
        rows: Vec::new(),
    };
    let mut peaks = BTreeMap::new();
    for runtime in &runtimes {
        printer.detail(format_args!("measuring {} on {}", runtime.precision(), runtime.describe_device()));
        if arguments.breakdown && runtime.is_gpu() {
            return Err(Failure::new(
                "a GPU is not waited for after each operation, so that none has a time of its own",
            )
            .hint("leave out --breakdown, or look with NVIDIA's profiler (nsys)"));
        }
        let most = *peaks.entry((runtime.precision(), runtime.threads())).or_insert_with(|| runtime.peak());
        report.rows.push(row(arguments, runtime, &subject, &batch, generation, most)?);
        model::tell_of_graphs(runtime, printer);
    }
    if let Some(path) = &arguments.out {
        let text = wire::json(&report.json())?;
        write_atomically(path, |out| writeln!(out, "{text}"))
            .map_err(|error| Failure::of_file("write", path, &error))?;
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report.json())?),
        ReportFormat::Human => printer.data(report.table()),
    }
}

/// Everything about one precision and number of threads.
fn row(
    arguments: &BenchArguments,
    runtime: &Runtime,
    subject: &Subject,
    batch: &Batch,
    generation: Option<Generation>,
    peak: Option<f64>,
) -> Result<Row, Failure> {
    // Where the system cannot forget the peak of the row before, that of this one is not known.
    let fresh = forget_peak_memory();
    let (precision, threads) = (runtime.precision().to_string(), runtime.threads());
    let mut row = if arguments.train {
        let trained = measure::training(runtime, subject, batch, arguments.repeat, arguments.breakdown)?;
        let measure::Trained { times, start_up, spent } = trained;
        Row { precision, threads, start_up, times, peak, generated: None, peak_memory: None, breakdown: spent }
    } else {
        let ready = subject.denoiser(runtime, arguments.breakdown)?;
        let times = measure::forward(ready.denoiser.as_ref(), batch, arguments.repeat, ready.clock.as_ref())?;
        let breakdown = ready.clock.as_ref().map(|clock| clock.spent());
        let generate = |what| measure::generation(ready.denoiser.as_ref(), what, arguments.repeat);
        let generated = generation.map(generate).transpose()?;
        let start_up = ready.start_up;
        Row { precision, threads, start_up, times, peak, generated, peak_memory: None, breakdown }
    };
    row.peak_memory = if fresh { peak_memory() } else { None };
    Ok(row)
}

/// A runtime for each precision and number of threads, in the order in which they were typed.
fn runtimes(arguments: &BenchArguments, printer: &Printer) -> Result<Vec<Runtime>, Failure> {
    let threads: Vec<Option<usize>> = match &arguments.threads[..] {
        [] => vec![None],
        given => given.iter().copied().map(Some).collect(),
    };
    let pairs =
        arguments.precision.iter().flat_map(|precision| threads.iter().map(move |threads| (precision, threads)));
    let mut warned = false;
    let runtime = |(&precision, &threads): (&Precision, &Option<usize>)| -> Result<Runtime, Failure> {
        let typed = DeviceArguments {
            device: arguments.device,
            precision,
            threads,
            expert_memory: None,
            graphs: arguments.graphs,
        };
        let runtime = Runtime::new(&typed.settings())?;
        if !warned {
            warned = typed.warn_of_device(&runtime, printer);
        }
        Ok(runtime)
    };
    pairs.map(runtime).collect()
}

/// What is read, and what is generated, after checking that the network can.
fn work(arguments: &BenchArguments, spec: &NetworkSpec) -> Result<(Batch, Option<Generation>), Failure> {
    let refuse = |parameter: &str, given: usize, allowed: String| -> Failure {
        Failure::new(format!("`{parameter}` is {given}; allowed: {allowed}"))
    };
    let length = arguments.length.unwrap_or_else(|| LENGTH.min(spec.context_length));
    if length == 0 || length > spec.context_length {
        return Err(refuse(
            "length",
            length,
            format!("1 to {}, which is all that the network reads", spec.context_length),
        ));
    }
    if arguments.batch == 0 {
        return Err(refuse("batch", 0, "1 or more".to_owned()));
    }
    if arguments.repeat == 0 {
        return Err(refuse("repeat", 0, "1 or more".to_owned()));
    }
    if arguments.train && spec.vocabulary_size < 2 {
        return Err(Failure::new("a vocabulary of one token leaves nothing to learn"));
    }
    let requested = match arguments.rows {
        Some(Rows::Count(count)) if count == 0 || count > length => {
            return Err(refuse("rows", count, format!("all, or 1 to {length}, the length")));
        }
        Some(Rows::Count(count)) => count,
        Some(Rows::All) => length,
        None if arguments.train => length.div_ceil(2),
        None => length,
    };
    let generation = arguments.generate.map(|tokens| {
        if tokens == 0 || tokens > length {
            return Err(refuse("generate", tokens, format!("1 to {length}, the length")));
        }
        let block = arguments.block_length.unwrap_or(tokens);
        let steps = arguments.steps.unwrap_or_else(|| block.div_ceil(TOKENS_PER_STEP).max(1));
        let (requests, prompt, block_length) = (arguments.batch, length - tokens, arguments.block_length);
        let cache = arguments.cache.as_deref().map(|name| name.parse::<Cache>().map_err(GenerateError::Setting));
        let (cache, cache_refresh) = (cache.transpose()?, arguments.cache_refresh);
        Ok(Generation { requests, prompt, tokens, steps, block_length, cache, cache_refresh })
    });
    let batch = Batch::new(spec, arguments.batch, length, requested)?;
    Ok((batch, generation.transpose()?))
}

fn describe(what: Generation) -> String {
    let Generation { requests, prompt, tokens, steps, block_length, cache, cache_refresh } = what;
    let blocks = block_length.map_or_else(String::new, |length| format!(" in each block of {length}"));
    let refresh = cache_refresh.map_or_else(String::new, |steps| format!(" made anew every {steps} steps"));
    let cache = cache.map_or_else(String::new, |cache| format!(", cache {cache}{refresh}"));
    format!(
        "{requests} x {tokens} tokens behind {prompt} given ones, {steps} steps{blocks}, greedily by confidence{cache}"
    )
}
