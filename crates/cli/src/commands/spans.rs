//! `aquatint eval spans`: whether pictures show what a text speaks of, and whether words say what a picture shows.

use crate::arguments::{ReportFormat, SpansArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::{Error, Model, SpanModel};
use aquatint_evaluate::spans::{SpanBench, SpanReport, SpanRow, SpanSettings};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What is reported.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    seed: u64,
    #[serde(flatten)]
    measured: SpanReport,
}

pub(crate) fn run(arguments: &SpansArguments, printer: &Printer) -> Result<(), Failure> {
    let (valid, known) = (rows(&arguments.data)?, rows(&arguments.catalogue)?);
    let checkpoint = model::open(Some(&arguments.model), printer)?;
    if !checkpoint.codecs.iter().any(|codec| codec.name == MediaKind::Picture.name()) {
        let message = format!("`{}` has no pictures; allowed: a model with a codec of pictures", arguments.model);
        return Err(Failure::new(message));
    }
    let runtime = arguments.device.runtime(printer)?;
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    let named = valid.iter().chain(&known).filter_map(|row| Some(row.illustrated()?.file));
    let wanted: HashSet<String> = named.collect();
    let stopped = |error: Error| match interrupt::pressed() {
        true => Failure::interrupted("stopped before all was measured"),
        false => error.into(),
    };
    let subject = SpanModel::open(&model, &arguments.media, &wanted, &|| !interrupt::pressed()).map_err(stopped)?;
    let bench = SpanBench::new(&subject, &known).map_err(stopped)?;
    if bench.catalogue().is_empty() {
        return Err(Failure::new("no picture of `--catalogue` is in `--media`"));
    }
    printer.note(format_args!("{} pictures that a made one is compared with", bench.catalogue().len()));
    let settings = SpanSettings {
        steps: arguments.steps.clone(),
        guidance_scales: arguments.guidance_scale.clone(),
        count: arguments.count,
        seed: arguments.seed,
    };
    let measured = bench.measure(&valid, &settings, &mut |line| {
        let (steps, guidance) = (line.steps, line.guidance_scale);
        let (share, count) = (100.0 * line.hit_rate, line.count);
        printer
            .note(format_args!("{}, {steps} steps, guidance {guidance}: {share:.1} % of {count} show it", line.kind));
    });
    let measured = measured.map_err(stopped)?;
    let report = Report { model: model.checkpoint().origin.to_string(), seed: arguments.seed, measured };
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report)?),
        ReportFormat::Human => printer.data(human(&report.measured)),
    }
}

/// The rows of all files.
fn rows(paths: &[PathBuf]) -> Result<Vec<SpanRow>, Failure> {
    let mut rows = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::of_file("read", path, &error))?;
        let read = SpanRow::read_all(&text);
        rows.extend(read.map_err(|error| Failure::new(format!("`{}` has in {error}", path.display())))?);
    }
    Ok(rows)
}

fn human(report: &SpanReport) -> String {
    let mut text = String::new();
    let share = |share: f64| format!("{:.1} %", 100.0 * share);
    if !report.pictures.is_empty() {
        text += "picture behind  steps  guidance  shows it   chance  codec alone  distance  of true ones  seconds  count  concepts\n";
    }
    for line in &report.pictures {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<14}  {:>5}  {:>8}  {:>8}  {:>7}  {:>11}  {:>8.3}  {:>12.3}  {:>7.2}  {:>5}  {:>8}",
            format!("a {}", line.kind),
            line.steps,
            line.guidance_scale,
            share(line.hit_rate),
            share(line.chance),
            share(line.reconstruction_hit_rate),
            line.distance,
            line.true_distance,
            line.seconds_each,
            line.count,
            line.concepts,
        );
    }
    if !report.captions.is_empty() {
        text += "\nwords behind a picture  name it   seconds  count\n";
    }
    for line in &report.captions {
        let _ = writeln!(
            text,
            "{:<22}  {:>7}  {:>7.2}  {:>5}",
            line.lang,
            share(line.hit_rate),
            line.seconds_each,
            line.count
        );
    }
    if let (false, [_, _, ..]) = (report.captions.is_empty(), report.captions.as_slice()) {
        let mean = report.captions.iter().map(|line| line.hit_rate).sum::<f64>() / report.captions.len() as f64;
        let _ = writeln!(text, "{:<22}  {:>7}", format!("mean of {} languages", report.captions.len()), share(mean));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_evaluate::spans::{NamedPictures, ShownPictures};
    use insta::assert_snapshot;

    #[test]
    fn a_report_is_two_tables() {
        let pictures = ShownPictures {
            kind: "passage".into(),
            steps: 16,
            guidance_scale: 2.0,
            count: 200,
            concepts: 120,
            hit_rate: 0.615,
            chance: 0.004,
            reconstruction_hit_rate: 0.98,
            distance: 0.4215,
            true_distance: 0.01,
            seconds_each: 1.25,
        };
        let captions =
            |lang: &str, hit_rate| NamedPictures { lang: lang.into(), count: 40, hit_rate, seconds_each: 0.5 };
        let report = SpanReport {
            catalogue: 6000,
            pictures: vec![pictures],
            captions: vec![captions("en", 0.55), captions("de", 0.25)],
        };
        assert_snapshot!(human(&report), @"
        picture behind  steps  guidance  shows it   chance  codec alone  distance  of true ones  seconds  count  concepts
        a passage          16         2    61.5 %    0.4 %       98.0 %     0.421         0.010     1.25    200       120

        words behind a picture  name it   seconds  count
        en                       55.0 %     0.50     40
        de                       25.0 %     0.50     40
        mean of 2 languages      40.0 %
        ");
    }
}
