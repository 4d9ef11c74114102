//! `aquatint eval spans`: whether pictures show what a text speaks of, and whether words say what a picture shows.

use crate::arguments::{ReportFormat, SpansArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::codec::collection::Entries;
use aquatint::codec::{Codec, CodecError, PictureCodec};
use aquatint::generate::Outcome;
use aquatint::{MediaFiles, MediaOptions, Model, Prepared, SamplingOptions};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_evaluate::{Catalogue, says};
use aquatint_vocabulary::{CanvasPiece, MediaKind, Template};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::Instant;

/// Requests that are filled together.
const TOGETHER: usize = 8;
/// Words of a caption among which the name of what is shown has to be.
const WORDS: usize = 8;
/// Open tokens behind a picture: enough for so many words.
const OPEN: usize = 16;

/// A document as `recipes/canvas/prepare.py` writes it.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    text: String,
    concept: String,
    kind: String,
    #[serde(default = "english")]
    lang: String,
}

fn english() -> String {
    "en".to_owned()
}

/// A row with one picture: the text before it, its file, the text behind it.
#[derive(Debug, Clone, PartialEq)]
struct Illustrated<'a> {
    before: &'a str,
    file: &'a str,
    behind: &'a str,
}

impl Row {
    fn parts(&self) -> Option<Illustrated<'_>> {
        let (before, rest) = self.text.split_once("[[picture:")?;
        let (file, behind) = rest.split_once("]]")?;
        (!behind.contains("[[")).then_some(Illustrated { before, file, behind })
    }
}

/// What is reported.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    catalogue: usize,
    seed: u64,
    pictures: Vec<Pictures>,
    captions: Vec<Captions>,
}

/// How often a picture shows what the text before it speaks of.
#[derive(Debug, Serialize)]
struct Pictures {
    kind: String,
    steps: usize,
    guidance_scale: f64,
    count: usize,
    concepts: usize,
    hit_rate: f64,
    /// Of pictures drawn from the catalogue.
    chance: f64,
    /// Of the pictures that belong to the texts, as the codec gives them back.
    reconstruction_hit_rate: f64,
    /// Distance to the nearest picture of the catalogue, root mean squared over the values of codes.
    distance: f64,
    /// The same of the pictures that belong to the texts.
    true_distance: f64,
    seconds_each: f64,
}

/// How often the first words behind a picture name what it shows.
#[derive(Debug, Serialize)]
struct Captions {
    lang: String,
    count: usize,
    hit_rate: f64,
    seconds_each: f64,
}

/// What the commands of one run share.
struct Bench<'a> {
    model: &'a Model,
    codec: PictureCodec<Cpu<f32>>,
    first_code: u32,
    files: HashMap<String, Vec<u8>>,
    catalogue: Catalogue,
    arguments: &'a SpansArguments,
}

pub(crate) fn run(arguments: &SpansArguments, printer: &Printer) -> Result<(), Failure> {
    let (valid, known) = (rows(&arguments.data)?, rows(&arguments.catalogue)?);
    let checkpoint = model::open(Some(&arguments.model), printer)?;
    let described = checkpoint.codecs.iter().find(|codec| codec.name == MediaKind::Picture.name()).cloned();
    let described = described.ok_or_else(|| {
        Failure::new(format!("`{}` has no pictures; allowed: a model with a codec of pictures", arguments.model))
    })?;
    let runtime = arguments.device.runtime(printer)?;
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    let device = Cpu::new(CpuPath::best(), 1).map_err(CodecError::from)?;
    let codec = PictureCodec::open(&described.folder, device)?;
    let wanted: HashSet<&str> = valid.iter().chain(&known).filter_map(|row| Some(row.parts()?.file)).collect();
    let mut files = HashMap::new();
    Entries { path: &arguments.media }.each(&|name| wanted.contains(name), &mut |name, bytes| {
        files.insert(name, bytes.to_vec());
        if interrupt::pressed() { Err(CodecError::Stopped) } else { Ok(()) }
    })?;
    let places = described.domain.axes.positions().unwrap_or_default();
    let size = places * codec.autoencoder().spec().levels.columns();
    let first_code = described.domain.ids.start;
    let mut bench = Bench { model: &model, codec, first_code, files, catalogue: Catalogue::new(size), arguments };
    bench.fill_catalogue(&known)?;
    printer.note(format_args!("{} pictures that a made one is compared with", bench.catalogue.len()));

    let mut pictures = Vec::new();
    for &steps in &arguments.steps {
        for &guidance_scale in &arguments.guidance_scale {
            let options = SamplingOptions {
                seed: Some(arguments.seed),
                media: MediaOptions { steps: Some(steps), guidance_scale: Some(guidance_scale), temperature: None },
                ..SamplingOptions::default()
            };
            for kind in ["passage", "caption"] {
                if let Some(measured) = bench.pictures(&valid, kind, &options)? {
                    printer.note(format_args!(
                        "{kind}, {steps} steps, guidance {guidance_scale}: {:.1} % of {} show it",
                        100.0 * measured.hit_rate,
                        measured.count
                    ));
                    pictures.push(Pictures { steps, guidance_scale, ..measured });
                }
            }
        }
    }
    let captions = bench.captions(&valid)?;
    let report = Report {
        model: model.checkpoint().origin.to_string(),
        catalogue: bench.catalogue.len(),
        seed: arguments.seed,
        pictures,
        captions,
    };
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report)?),
        ReportFormat::Human => printer.data(human(&report)),
    }
}

/// The rows of all files that have what is measured.
fn rows(paths: &[std::path::PathBuf]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::of_file("read", path, &error))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row = serde_json::from_str(line).map_err(|error| {
                let allowed = "an object with `text`, `concept` and `kind`, as recipes/canvas/prepare.py writes them";
                Failure::new(format!("`{}` has in row {}: {error}; allowed: {allowed}", path.display(), number + 1))
            })?;
            rows.push(row);
        }
    }
    Ok(rows)
}

/// At most so many, spread evenly.
fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let (count, most) = (all.len(), most.max(1));
    let chosen = |index: &usize| count <= most || index * most / count != (index + 1) * most / count;
    all.into_iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, row)| row).collect()
}

impl Bench<'_> {
    /// The values of all columns of all codes, each from −1 to 1.
    fn point(&self, codes: &[u32]) -> Vec<f32> {
        let levels = &self.codec.autoencoder().spec().levels;
        codes.iter().flat_map(|code| levels.values(*code)).map(|value| value as f32).collect()
    }

    fn codes_of(&self, file: &str) -> Result<Option<Vec<u32>>, Failure> {
        let Some(bytes) = self.files.get(file) else { return Ok(None) };
        Ok(Some(self.codec.encode(&aquatint::codec::Picture::decode(file, bytes)?)?))
    }

    /// All pictures that were trained on, once each.
    fn fill_catalogue(&mut self, known: &[Row]) -> Result<(), Failure> {
        let mut taken = HashSet::new();
        for row in known {
            let Some(Illustrated { file, .. }) = row.parts() else { continue };
            if !taken.insert(file) {
                continue;
            }
            if let Some(codes) = self.codes_of(file)? {
                let point = self.point(&codes);
                self.catalogue.add(&row.concept, &point);
            }
        }
        if self.catalogue.is_empty() {
            return Err(Failure::new("no picture of `--catalogue` is in `--media`"));
        }
        Ok(())
    }

    /// Positions of a canvas that the model cannot read.
    fn excess(&self, prepared: &Prepared) -> usize {
        let context = self.model.checkpoint().spec.context_length;
        prepared.template_canvas.canvas().len().saturating_sub(context)
    }

    /// Fills all templates.
    fn fill(&self, prepared: &[Prepared]) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = Vec::with_capacity(prepared.len());
        for together in prepared.chunks(TOGETHER) {
            let requests: Vec<_> = together.iter().map(|prepared| self.model.request_of(prepared)).collect();
            let go_on = || if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            outcomes.extend(self.model.serve(&requests, &mut |_, _| go_on())?);
            if interrupt::pressed() {
                return Err(Failure::interrupted("stopped before all was measured"));
            }
        }
        Ok(outcomes)
    }

    /// Texts of a kind that have their picture behind them, whose concept some picture of the catalogue shows, and that the
    /// model can read with a picture.
    fn pictures(&self, rows: &[Row], kind: &str, options: &SamplingOptions) -> Result<Option<Pictures>, Failure> {
        let usable = |row: &&Row| {
            let parts = row.parts().filter(|parts| !parts.before.is_empty() && parts.behind.is_empty());
            row.kind == kind && parts.is_some() && self.catalogue.shows(&row.concept)
        };
        let rows: Vec<&Row> = spread(rows.iter().filter(usable).collect(), self.arguments.count);
        if rows.is_empty() {
            return Ok(None);
        }
        let prepare = |row: &Row| {
            let before = row.parts().map_or("", |parts| parts.before);
            self.model.prepare(&format!("{before}[[picture]]"), options)
        };
        let (mut fitting, mut prepared) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let ready = prepare(row)?;
            if self.excess(&ready) == 0 {
                fitting.push(*row);
                prepared.push(ready);
            }
        }
        let rows = fitting;
        if rows.is_empty() {
            return Ok(None);
        }
        let begun = Instant::now();
        let outcomes = self.fill(&prepared)?;
        let seconds_each = begun.elapsed().as_secs_f64() / rows.len() as f64;
        let (mut hits, mut chance, mut distance) = (0, 0.0, 0.0);
        let (mut reconstructed, mut true_distance, mut true_count) = (0, 0.0, 0);
        for ((row, prepared), outcome) in rows.iter().zip(&prepared).zip(&outcomes) {
            let vocabulary = &self.model.checkpoint().vocabulary;
            let pieces = prepared.template_canvas.read(vocabulary, &outcome.canvas).pieces;
            let codes = pieces.into_iter().find_map(|piece| match piece {
                CanvasPiece::Media { codes, .. } => codes.into_iter().collect::<Option<Vec<u32>>>(),
                CanvasPiece::Text(_) => None,
            });
            let codes: Vec<u32> = codes.unwrap_or_default().iter().map(|token| token - self.first_code).collect();
            if let Some(nearest) = self.catalogue.nearest(&self.point(&codes)) {
                hits += usize::from(nearest.concept == row.concept);
                distance += nearest.distance;
            }
            chance += self.catalogue.chance(&row.concept);
            let file = row.parts().map_or("", |parts| parts.file);
            if let Some(codes) = self.codes_of(file)? {
                let again = self.codec.encode(&self.codec.decode(&codes)?)?;
                let nearest = |codes: &[u32]| self.catalogue.nearest(&self.point(codes));
                reconstructed += usize::from(nearest(&again).is_some_and(|nearest| nearest.concept == row.concept));
                true_distance += nearest(&codes).map_or(0.0, |nearest| nearest.distance);
                true_count += 1;
            }
        }
        let count = rows.len() as f64;
        Ok(Some(Pictures {
            kind: kind.to_owned(),
            steps: 0,
            guidance_scale: 0.0,
            count: rows.len(),
            concepts: rows.iter().map(|row| row.concept.as_str()).collect::<HashSet<_>>().len(),
            hit_rate: f64::from(hits as u32) / count,
            chance: chance / count,
            reconstruction_hit_rate: f64::from(reconstructed as u32) / f64::from(true_count.max(1)),
            distance: distance / count,
            true_distance: true_distance / f64::from(true_count.max(1)),
            seconds_each,
        }))
    }

    /// Pictures that have their caption behind them, by language; that of another language than English stands behind its
    /// name (`de: Fuchs`), which is given.
    fn captions(&self, rows: &[Row]) -> Result<Vec<Captions>, Failure> {
        let mut by_language: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == "caption") {
            if row.parts().is_some_and(|parts| parts.before.is_empty() && !parts.behind.trim().is_empty()) {
                by_language.entry(&row.lang).or_default().push(row);
            }
        }
        let options = SamplingOptions { seed: Some(self.arguments.seed), ..SamplingOptions::default() };
        let mut measured = Vec::new();
        for (lang, rows) in by_language {
            let rows: Vec<&Row> = spread(rows, self.arguments.count);
            let mut prepared = Vec::with_capacity(rows.len());
            let mut names = Vec::with_capacity(rows.len());
            for row in &rows {
                let Some(Illustrated { file, behind, .. }) = row.parts() else { continue };
                let Some(bytes) = self.files.get(file) else { continue };
                let (lead, name) = match behind.split_once(": ").filter(|(name, _)| name.trim() == lang) {
                    Some((lead, name)) => (format!("{lead}:"), name),
                    None => (String::new(), behind),
                };
                let files = MediaFiles::from([(file.to_owned(), bytes.clone())]);
                let prepare = |open: usize| {
                    let template = Template::parse(&format!("[[picture:{file}]]{lead}[[~{open}]]"))?;
                    self.model.prepare_media(template, &files, &options)
                };
                let mut ready = prepare(OPEN)?;
                let excess = self.excess(&ready);
                if excess >= OPEN {
                    continue;
                }
                if excess > 0 {
                    ready = prepare(OPEN - excess)?;
                }
                prepared.push(ready);
                names.push((lead, name));
            }
            if prepared.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let outcomes = self.fill(&prepared)?;
            let seconds_each = begun.elapsed().as_secs_f64() / prepared.len() as f64;
            let hits = prepared.iter().zip(&outcomes).zip(&names).filter(|((prepared, outcome), (lead, name))| {
                let read = prepared.template_canvas.read(&self.model.checkpoint().vocabulary, &outcome.canvas);
                let text: String = read
                    .pieces
                    .into_iter()
                    .filter_map(|piece| match piece {
                        CanvasPiece::Text(text) => Some(text),
                        CanvasPiece::Media { .. } => None,
                    })
                    .collect();
                says(text.strip_prefix(lead.as_str()).unwrap_or(&text), name, WORDS)
            });
            let hit_rate = hits.count() as f64 / prepared.len() as f64;
            measured.push(Captions { lang: lang.to_owned(), count: prepared.len(), hit_rate, seconds_each });
        }
        measured.sort_by(|a, b| b.count.cmp(&a.count).then(a.lang.cmp(&b.lang)));
        Ok(measured)
    }
}

fn human(report: &Report) -> String {
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
    use insta::assert_snapshot;

    #[test]
    fn a_row_has_one_picture() {
        let row =
            |text: &str| Row { text: text.to_owned(), concept: "fox".into(), kind: "caption".into(), lang: english() };
        let fox = row("a fox [[picture:a/fox.png]] in snow");
        assert_eq!(fox.parts(), Some(Illustrated { before: "a fox ", file: "a/fox.png", behind: " in snow" }));
        assert_eq!(row("no picture").parts(), None);
        assert_eq!(row("[[picture:a]] and [[picture:b]]").parts(), None);
    }

    #[test]
    fn rows_are_spread_evenly() {
        assert_eq!(spread((0..10).collect(), 2), [4, 9]);
        assert_eq!(spread(vec![1, 2], 5), [1, 2]);
    }

    #[test]
    fn a_report_is_two_tables() {
        let pictures = Pictures {
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
        let captions = |lang: &str, hit_rate| Captions { lang: lang.into(), count: 40, hit_rate, seconds_each: 0.5 };
        let report = Report {
            model: "runs/canvas".into(),
            catalogue: 6000,
            seed: 0,
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
