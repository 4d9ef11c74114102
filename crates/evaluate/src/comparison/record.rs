//! The figures of a comparison, kept in a folder from run to run.

use super::plot;
use crate::EvaluateError;
use aquatint_files::write_atomically;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Everything that was measured, in the order in which it was; the form of `compare.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// What held-out text costs.
    pub likelihoods: Vec<Measured>,
    /// What texts are worth.
    pub texts: Vec<Written>,
}

/// What held-out text costs under a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What the model is called.
    pub model: String,
    /// Where it is.
    pub folder: String,
    /// What it undoes.
    pub process: String,
    /// Numbers in its weights.
    pub parameters: usize,
    /// The text.
    pub data: String,
    /// Canvases of it that were requested.
    pub canvases: usize,
    /// Noisy versions drawn of each canvas.
    pub times: usize,
    /// Nats per token.
    pub nats_per_token: f64,
    /// Standard error of `nats_per_token`; none of a single canvas.
    pub standard_error: Option<f64>,
    /// Bits per byte of text.
    pub bits_per_byte: f64,
    /// `exact`, `bound` or `cross-entropy`, which is neither.
    pub estimate: String,
}

/// How texts were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// What the model is called.
    pub model: String,
    /// Where it is.
    pub folder: String,
    /// Steps of denoising; none for text that no model wrote.
    pub steps: Option<usize>,
    /// How many.
    pub texts: usize,
    /// Tokens of each at most.
    pub length: usize,
    /// The commit policy.
    pub policy: String,
    /// Temperature of the draws.
    pub temperature: f64,
    /// The first text's seed.
    pub seed: u64,
    /// The judge.
    pub judge: String,
}

/// What the texts are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// How they were written.
    #[serde(flatten)]
    pub setting: Setting,
    /// Perplexity under the judge.
    pub judge_perplexity: f64,
    /// Tokens of the judge's.
    pub judged_tokens: u64,
    /// Nats, within one text, on average.
    pub unigram_entropy: f64,
    /// Share of the pairs of neighbours that are different from each other.
    pub distinct_bigrams: f64,
    /// Tokens of the writer's, on average.
    pub tokens_per_text: f64,
    /// Forward passes, on average.
    pub forward_passes_per_text: f64,
    /// Seconds, on average.
    pub seconds_per_text: f64,
}

impl Comparison {
    /// What a folder has already; nothing where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is no comparison.
    pub fn load(folder: &Path) -> Result<Self, EvaluateError> {
        let path = folder.join("compare.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| EvaluateError::Json { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(EvaluateError::Io { action: "read", path, source }),
        }
    }

    /// What was written so, if it was.
    pub fn written(&self, setting: &Setting) -> Option<&Written> {
        self.texts.iter().find(|written| written.setting == *setting)
    }

    /// What held-out text cost, if it was measured so.
    pub fn measured(&self, folder: &str, data: &str, canvases: usize, times: usize) -> Option<&Measured> {
        self.likelihoods
            .iter()
            .find(|m| (m.folder.as_str(), m.data.as_str(), m.canvases, m.times) == (folder, data, canvases, times))
    }

    /// Writes `compare.json`, `compare.md`, `perplexity.svg` and `entropy.svg`.
    ///
    /// # Errors
    /// When the folder cannot be written or a plot not be drawn.
    pub fn save(&self, folder: &Path) -> Result<(), EvaluateError> {
        create(folder)?;
        let json = serde_json::to_string_pretty(self)
            .map_err(|source| EvaluateError::Json { path: folder.join("compare.json"), source })?;
        let curves = |value: fn(&Written) -> f64| {
            self.models().into_iter().map(|name| (name.to_owned(), self.curve(name, value))).collect::<Vec<_>>()
        };
        let draw = |curves: &[plot::Curve], named: &str, logarithmic: bool| {
            plot::lines(curves, named, logarithmic).map_err(|reason| EvaluateError::Plot { reason })
        };
        let perplexity = draw(&curves(|w| w.judge_perplexity), "perplexity under the judge", true)?;
        let entropy = draw(&curves(|w| w.unigram_entropy), "unigram entropy in nats", false)?;
        let files = [
            ("compare.json", json + "\n"),
            ("compare.md", self.tables()),
            ("perplexity.svg", perplexity),
            ("entropy.svg", entropy),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(|source| EvaluateError::Io {
                action: "write",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// The models, in the order in which they came.
    pub(super) fn models(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for written in &self.texts {
            if !names.contains(&written.setting.model.as_str()) {
                names.push(&written.setting.model);
            }
        }
        names
    }

    /// A value of one model against its steps, ascending.
    fn curve(&self, name: &str, value: fn(&Written) -> f64) -> Vec<(f64, f64)> {
        let own = self.texts.iter().filter(|written| written.setting.model == name);
        let mut points: Vec<(f64, f64)> =
            own.filter_map(|written| Some((written.setting.steps? as f64, value(written)))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }
}

/// Keeps some texts to be read, in `samples/MODEL-STEPS.txt`.
pub(super) fn save_samples(texts: &[String], setting: &Setting, folder: &Path) -> Result<(), EvaluateError> {
    let folder = folder.join("samples");
    create(&folder)?;
    let path = folder.join(format!("{}-{}.txt", setting.model, setting.steps.unwrap_or(0)));
    std::fs::write(&path, texts.join("\n\n---\n\n") + "\n").map_err(|source| EvaluateError::Io {
        action: "write",
        path,
        source,
    })
}

fn create(folder: &Path) -> Result<(), EvaluateError> {
    let failed = |source| EvaluateError::Io { action: "create", path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(failed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::comparison) fn written(model: &str, steps: Option<usize>, perplexity: f64) -> Written {
        Written {
            setting: Setting {
                model: model.to_owned(),
                folder: format!("runs/{model}"),
                steps,
                texts: 4,
                length: 16,
                policy: "auto".to_owned(),
                temperature: 1.0,
                seed: 0,
                judge: "runs/judge".to_owned(),
            },
            judge_perplexity: perplexity,
            judged_tokens: 64,
            unigram_entropy: 2.5,
            distinct_bigrams: 0.9,
            tokens_per_text: 16.0,
            forward_passes_per_text: steps.unwrap_or(0) as f64,
            seconds_per_text: 0.125,
        }
    }

    #[test]
    fn what_was_measured_is_found_again_under_the_same_settings_only() {
        let folder = std::env::temp_dir().join(format!("aquatint-comparison-{}", std::process::id()));
        let comparison = Comparison { likelihoods: Vec::new(), texts: vec![written("a", Some(4), 300.0)] };
        comparison.save(&folder).unwrap();
        let again = Comparison::load(&folder).unwrap();
        assert_eq!(again, comparison);
        let setting = written("a", Some(4), 0.0).setting;
        assert!(again.written(&setting).is_some());
        assert!(again.written(&Setting { seed: 1, ..setting }).is_none());
        let svg = std::fs::read_to_string(folder.join("perplexity.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("perplexity under the judge"));
        std::fs::write(folder.join("compare.json"), "{").unwrap();
        let error = Comparison::load(&folder).unwrap_err();
        assert!(error.to_string().ends_with("compare.json` cannot be understood"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
