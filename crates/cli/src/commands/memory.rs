//! `aquatint eval memory`: what a model repeats of its training text.

use crate::arguments::{MemoryArguments, ReportFormat};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::source_report::{self, counted};
use crate::written_files::ReportFiles;
use crate::{interrupt, model, wire};
use aquatint::{Model, SamplingOptions};
use aquatint_corpus::{Source, SourceReport};
use aquatint_evaluate::{
    Canary, CorpusIndex, EvaluateError, TextMemory, canaries, exposures, memory_page, memory_tables,
};
use std::path::Path;

/// Texts that are written together.
const BATCH: usize = 16;

pub(crate) fn run(arguments: &MemoryArguments, printer: &Printer) -> Result<(), Failure> {
    if arguments.corpus.is_none() && arguments.canaries.is_none() {
        return Err(Failure::new("there is nothing to compare with").hint("name --corpus, or --canaries"));
    }
    let numbers = [("count", arguments.count), ("run-length", arguments.run_length), ("samples", arguments.samples)];
    if let Some((flag, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
        return Err(Failure::new(format!("`--{flag}` is 0; allowed: 1 or more")));
    }
    let files = ReportFiles::begin(arguments.out.as_deref(), arguments.report.as_deref())?;
    let secrets = arguments.canaries.as_deref().map(secrets).transpose()?.unwrap_or_default();
    let index = arguments.corpus.as_deref().map(|path| indexed(path, printer)).transpose()?;
    let (mut what, mut texts, mut measured) = (String::new(), Vec::new(), Vec::new());
    if let Some(path) = &arguments.texts {
        texts = read(path, printer)?;
        what = path.display().to_string();
    }
    if arguments.texts.is_none() || !secrets.is_empty() {
        let runtime = arguments.device.runtime(printer)?;
        let checkpoint = model::open(arguments.model.as_deref(), printer)?;
        arguments.device.warn_of_experts(&checkpoint, printer);
        let network = runtime.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        // What can be refused comes before what takes long.
        let of = (model.denoiser(), &model.checkpoint().vocabulary);
        measured = exposures(of, &secrets, (arguments.samples, arguments.seed), &mut |_| !interrupt::pressed())
            .map_err(stopped)?;
        if arguments.texts.is_none() {
            what = model.checkpoint().origin.to_string();
            if index.is_some() {
                texts = written(&model, arguments)?;
            }
        }
    }
    let compared = |text: String| {
        let memory = index.as_ref().map(|index| index.compare(&text, arguments.run_length))?;
        Some((text, memory))
    };
    let texts: Vec<(String, TextMemory)> = texts.into_iter().filter_map(compared).collect();
    let line =
        |(text, memory): &(String, TextMemory)| wire::json(&serde_json::json!({ "text": text, "memory": memory }));
    let lines = || texts.iter().map(|of_text| Ok(line(of_text)? + "\n")).collect();
    files.write(lines, || memory_page(&what, &texts, &measured).html())?;
    match arguments.format {
        ReportFormat::Json => {
            let all: Vec<&TextMemory> = texts.iter().map(|(_, memory)| memory).collect();
            printer.data_line(wire::json(&serde_json::json!({
                "of": what,
                "corpus": arguments.corpus,
                "seed": arguments.seed,
                "texts": all,
                "exposures": measured,
            }))?)
        }
        ReportFormat::Human => printer.data(memory_tables(&texts, &measured)),
    }
}

/// The canaries of a file.
fn secrets(path: &Path) -> Result<Vec<Canary>, Failure> {
    canaries(path).map_err(|error| match error {
        EvaluateError::Empty => Failure::new(format!("`{}` has no canary; allowed: one or more", path.display())),
        error => error.into(),
    })
}

/// A corpus that texts are compared with.
pub(crate) fn indexed(path: &Path, printer: &Printer) -> Result<CorpusIndex, Failure> {
    let (index, report) = CorpusIndex::open(&Source::new(path))?;
    tell("corpus", &report, printer);
    printer.note(format_args!("corpus: {}", counted(index.words() as u64, "word")));
    Ok(index)
}

/// Reports what a source gave and what it did not.
fn tell(what: &str, report: &SourceReport, printer: &Printer) {
    source_report::tell_unread(&report.path, &report.unread, printer);
    source_report::tell(what, report, printer);
}

/// The documents of a file.
fn read(path: &Path, printer: &Printer) -> Result<Vec<String>, Failure> {
    let source = Source::new(path);
    let mut texts = vec![String::new()];
    let mut passages = source.passages().map_err(EvaluateError::from)?;
    while let Some(passage) = passages.next().transpose().map_err(EvaluateError::from)? {
        if let Some(text) = texts.last_mut() {
            text.push_str(&passage.text);
        }
        if passage.ends_document {
            texts.push(String::new());
        }
    }
    texts.retain(|text| !text.trim().is_empty());
    let (documents, counts) = (texts.len() as u64, passages.counts().clone());
    let unread = source.files().map_err(EvaluateError::from)?.unread;
    tell("texts", &SourceReport { path: path.to_path_buf(), documents, counts, unread }, printer);
    if texts.is_empty() { Err(EvaluateError::Empty.into()) } else { Ok(texts) }
}

/// Texts that a model writes on empty canvases.
fn written(model: &Model, arguments: &MemoryArguments) -> Result<Vec<String>, Failure> {
    let writer = model.writer()?;
    let length = arguments.length.unwrap_or(writer.longest_text());
    let request = |number: usize| {
        let options = SamplingOptions {
            temperature: arguments.temperature,
            steps: arguments.steps,
            seed: Some(arguments.seed.wrapping_add(number as u64)),
            ..SamplingOptions::default()
        };
        let settings = options.resolve(model.generation())?.settings().clone();
        Ok::<_, Failure>(writer.request(writer.empty_canvas(length), settings))
    };
    let requests: Vec<_> = (0..arguments.count).map(request).collect::<Result<_, _>>()?;
    let mut texts = Vec::new();
    for requests in requests.chunks(BATCH) {
        let outcomes = writer.fill(requests, &mut |_, _| !interrupt::pressed()).map_err(stopped)?;
        texts.extend(outcomes.iter().map(|outcome| writer.vocabulary().decode(&writer.written(outcome))));
    }
    Ok(texts)
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before everything was measured"),
        _ => error.into(),
    }
}
