//! `metrics.jsonl`: one line of figures for every report of steps and every validation.

use crate::event::StepFigures;
use crate::trainer::Measured;
use crate::{Ending, TrainError};
use aquatint_files::write_atomically;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The figures of a run, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
    /// (step, nats per token) of the training batches.
    pub(crate) training: Vec<(u64, f64)>,
    /// (step, nats per token) of the held-out text.
    pub(crate) validation: Vec<(u64, f64)>,
}

fn name(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Interrupted => "interrupted",
        Ending::TimeUp => "time-up",
    }
}

/// The step at which the run of a folder last ended with everything saved, and whether it came to its end there without an
/// interruption; `None` where it never ended, or went on since.
pub(crate) fn ended(folder: &Path) -> Option<(u64, bool)> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).ok()?;
    let last = text.lines().last()?;
    let value: Value = serde_json::from_str(last).ok()?;
    let step = value["step"].as_u64().filter(|_| value["kind"] == "ending")?;
    Some((step, value["ending"] != name(Ending::Interrupted)))
}

impl Metrics {
    /// Opens the run's figures. Lines after `step` belong to steps that will be taken again and are dropped.
    pub(crate) fn open(folder: &Path, step: u64) -> Result<Self, TrainError> {
        let path = folder.join("metrics.jsonl");
        let io = |action| {
            let path = path.clone();
            move |source| TrainError::Io { action, path, source }
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) if step > 0 => text,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("read")(error)),
            _ => String::new(),
        };
        let (mut training, mut validation, mut retained) = (Vec::new(), Vec::new(), String::new());
        for line in text.lines() {
            // A line cut short by a kill is no figure.
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            let Some(at) = value["step"].as_u64().filter(|at| *at <= step) else { continue };
            retained.push_str(line);
            retained.push('\n');
            if let Some(loss) = value["loss"].as_f64() {
                training.push((at, loss));
            }
            if let Some(nats) = value["nats_per_token"].as_f64().or(value["held_out_loss"].as_f64()) {
                validation.push((at, nats));
            }
        }
        write_atomically(&path, |out| out.write_all(retained.as_bytes())).map_err(io("write"))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(io("write"))?;
        Ok(Self { path, file, training, validation })
    }

    pub(crate) fn step(&mut self, figures: &StepFigures) -> Result<(), TrainError> {
        self.training.push((figures.step, figures.loss));
        let mut value = serde_json::to_value(figures).unwrap_or_default();
        // What is left is a guess of the moment, not a figure of the run.
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("seconds_left");
            map.extend(figures.own.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        }
        self.line("step", value)
    }

    pub(crate) fn validation(&mut self, step: u64, measured: &dyn Measured, seconds: f64) -> Result<(), TrainError> {
        self.validation.push((step, measured.cost()));
        let mut figures = serde_json::Map::from_iter([("step".to_owned(), step.into())]);
        figures.extend(measured.figures());
        figures.insert("seconds".to_owned(), seconds.into());
        self.line("validation", Value::Object(figures))
    }

    pub(crate) fn ending(&mut self, step: u64, ending: Ending, seconds: f64) -> Result<(), TrainError> {
        self.line("ending", json!({ "step": step, "ending": name(ending), "seconds": seconds }))
    }

    fn line(&mut self, kind: &str, mut value: Value) -> Result<(), TrainError> {
        if let Some(map) = value.as_object_mut() {
            map.shift_insert(0, "kind".to_owned(), kind.into());
        }
        writeln!(self.file, "{value}").map_err(|source| TrainError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
