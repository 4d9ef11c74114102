//! `aquatint eval spans`: whether pictures show what a text speaks of, whether sounds say their word, and whether words say
//! what either shows or says.

mod sounds_out;
mod tables;

use crate::arguments::{ReportFormat, SpansArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::{Error, Model, SpanModel};
use aquatint_evaluate::spans::{
    HeardSound, ShownPictures, SpanBench, SpanReport, SpanRow, SpanSettings, SpanWatcher, SpokenWords,
};
use aquatint_vocabulary::MediaKind;
use serde::Serialize;
use sounds_out::SoundsOut;
use std::collections::HashSet;
use std::path::PathBuf;

/// What is reported.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    seed: u64,
    #[serde(flatten)]
    measured: SpanReport,
}

/// Tells of each line, and writes sounds where that is wanted.
struct Watcher<'a> {
    printer: &'a Printer,
    sounds: Option<SoundsOut>,
    /// Why sounds could not be written.
    failed: Option<Failure>,
}

impl SpanWatcher<Error> for Watcher<'_> {
    fn shown(&mut self, line: &ShownPictures) {
        let (steps, guidance) = (line.steps, line.guidance_scale);
        let (share, count) = (100.0 * line.hit_rate, line.count);
        self.printer
            .note(format_args!("{}, {steps} steps, guidance {guidance}: {share:.1} % of {count} show it", line.kind));
    }

    fn spoken(&mut self, line: &SpokenWords) {
        let (steps, guidance) = (line.steps, line.guidance_scale);
        let (share, count) = (100.0 * line.read.made.rate(), line.count);
        self.printer.note(format_args!(
            "{}, {steps} steps, guidance {guidance}: {share:.1} % of {count} are read as their word",
            line.source
        ));
    }

    fn listens(&self) -> bool {
        self.sounds.is_some() && self.failed.is_none()
    }

    fn heard(&mut self, sound: HeardSound<'_>) -> Result<(), Error> {
        // The measurement goes on without them.
        if let Some(Err(failure)) = self.sounds.as_mut().map(|sounds| sounds.write(sound)) {
            self.failed = Some(failure);
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &SpansArguments, printer: &Printer) -> Result<(), Failure> {
    let (valid, known) = (rows(&arguments.data)?, rows(&arguments.catalogue)?);
    let checkpoint = model::open(Some(&arguments.model), printer)?;
    let has = |kind: MediaKind| checkpoint.codecs.iter().any(|codec| codec.name == kind.name());
    let (pictures, sounds) = (has(MediaKind::Picture), has(MediaKind::Sound));
    if !pictures && !sounds {
        let allowed = "a model with a codec of pictures or of sounds";
        return Err(Failure::new(format!("`{}` has no pictures; allowed: {allowed}", arguments.model)));
    }
    if arguments.judge.is_some() && !pictures {
        return Err(Failure::new(format!("`--judge` judges pictures, and `{}` has none", arguments.model)));
    }
    if arguments.sounds_out.is_some() && !sounds {
        return Err(Failure::new(format!("`--sounds-out` is for sounds, and `{}` has none", arguments.model)));
    }
    let sounds_out = arguments.sounds_out.as_deref().map(SoundsOut::create).transpose()?;
    let runtime = arguments.device.runtime(printer)?;
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    let all = || valid.iter().chain(&known);
    let shown: HashSet<String> = all().filter_map(|row| Some(row.illustrated()?.file)).collect();
    let spoken: HashSet<String> = all().filter_map(|row| Some(row.spoken()?.file)).collect();
    let wanted: HashSet<String> = shown.iter().chain(&spoken).cloned().collect();
    let stopped = |error: Error| match interrupt::pressed() {
        true => Failure::interrupted("stopped before all was measured"),
        false => error.into(),
    };
    let mut subject = SpanModel::open(&model, &arguments.media, &wanted, &|| !interrupt::pressed()).map_err(stopped)?;
    if let Some(folder) = &arguments.judge {
        subject = subject.with_judge(folder).map_err(stopped)?;
    }
    let bench = SpanBench::new(&subject, &known).map_err(stopped)?;
    let (catalogue, sounds_known) = (bench.catalogue().len(), bench.sounds().len());
    if catalogue == 0 && (sounds_known == 0 || (pictures && !shown.is_empty())) {
        return Err(Failure::new("no picture of `--catalogue` is in `--media`"));
    }
    if catalogue > 0 {
        printer.note(format_args!("{catalogue} pictures that a made one is compared with"));
    }
    if sounds_known > 0 {
        printer.note(format_args!("{sounds_known} sounds that a made one is compared with, beside those held out"));
    }
    let settings = SpanSettings {
        steps: arguments.steps.clone(),
        guidance_scales: arguments.guidance_scale.clone(),
        count: arguments.count,
        seed: arguments.seed,
    };
    let mut watcher = Watcher { printer, sounds: sounds_out, failed: None };
    let measured = bench.measure(&valid, &settings, &mut watcher).map_err(stopped)?;
    let report = Report { model: model.checkpoint().origin.to_string(), seed: arguments.seed, measured };
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report)?)?,
        ReportFormat::Human => printer.data(tables::human(&report.measured))?,
    }
    watcher.failed.map_or(Ok(()), Err)
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
