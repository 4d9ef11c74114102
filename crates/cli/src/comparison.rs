//! Figures of several models beside each other: kept from run to run, as tables and as plots.

mod plot;

use crate::failure::Failure;
use aquatint_files::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// Everything that was measured, in the order in which it was.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) likelihoods: Vec<Measured>,
    pub(crate) texts: Vec<Written>,
}

/// What held-out text costs under a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) model: String,
    pub(crate) folder: String,
    pub(crate) process: String,
    pub(crate) parameters: usize,
    pub(crate) data: String,
    pub(crate) canvases: usize,
    pub(crate) times: usize,
    pub(crate) nats_per_token: f64,
    pub(crate) standard_error: f64,
    pub(crate) bits_per_byte: f64,
    /// `exact`, `bound` or `cross-entropy`, which is neither.
    pub(crate) estimate: String,
}

/// How texts were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) model: String,
    pub(crate) folder: String,
    /// Steps of denoising; none for text that no model wrote.
    pub(crate) steps: Option<usize>,
    pub(crate) texts: usize,
    pub(crate) length: usize,
    pub(crate) policy: String,
    pub(crate) temperature: f64,
    pub(crate) seed: u64,
    pub(crate) judge: String,
}

/// What the texts are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Written {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    pub(crate) judge_perplexity: f64,
    pub(crate) judged_tokens: u64,
    /// Nats, within one text, on average.
    pub(crate) unigram_entropy: f64,
    pub(crate) distinct_bigrams: f64,
    pub(crate) tokens_per_text: f64,
    pub(crate) forward_passes_per_text: f64,
    pub(crate) seconds_per_text: f64,
}

impl Comparison {
    /// What a folder has already; nothing where there is none.
    pub(crate) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("compare.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Failure::of(&error).context(format!("`{}` cannot be understood", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::of_file("read", &path, &error)),
        }
    }

    /// What was written so, if it was.
    pub(crate) fn written(&self, setting: &Setting) -> Option<&Written> {
        self.texts.iter().find(|written| written.setting == *setting)
    }

    /// What held-out text cost, if it was measured so.
    pub(crate) fn measured(&self, folder: &str, data: &str, canvases: usize, times: usize) -> Option<&Measured> {
        self.likelihoods
            .iter()
            .find(|m| (m.folder.as_str(), m.data.as_str(), m.canvases, m.times) == (folder, data, canvases, times))
    }

    /// Writes figures, tables and plots.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(folder).map_err(|error| Failure::of_file("create", folder, &error))?;
        let json = serde_json::to_string_pretty(self).map_err(|error| Failure::of(&error))?;
        let mut files = vec![("compare.json", json + "\n"), ("compare.md", self.tables())];
        let curves = |value: fn(&Written) -> f64| {
            self.names().into_iter().map(|name| (name.to_owned(), self.curve(name, value))).collect::<Vec<_>>()
        };
        let draw = |curves: &[(String, Vec<(f64, f64)>)], named: &str, logarithmic: bool| {
            plot::lines(curves, named, logarithmic)
                .map_err(|reason| Failure::new(format!("no plot was drawn: {reason}")))
        };
        files.push(("perplexity.svg", draw(&curves(|w| w.judge_perplexity), "perplexity under the judge", true)?));
        files.push(("entropy.svg", draw(&curves(|w| w.unigram_entropy), "unigram entropy in nats", false)?));
        for (name, text) in files {
            let path = folder.join(name);
            write_atomically(&path, |out| out.write_all(text.as_bytes()))
                .map_err(|error| Failure::of_file("write", &path, &error))?;
        }
        Ok(())
    }

    /// The models, in the order in which they came.
    fn names(&self) -> Vec<&str> {
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

    /// The tables, in Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if !self.likelihoods.is_empty() {
            text += "Held-out text:\n\n| model | process | parameters | nats/token | bits/byte | what it is |\n|---|---|---:|---:|---:|---|\n";
            for m in &self.likelihoods {
                let _ = writeln!(
                    text,
                    "| {} | {} | {:.2} M | {:.3} ± {:.3} | {:.3} | {} |",
                    m.model,
                    m.process,
                    m.parameters as f64 / 1e6,
                    m.nats_per_token,
                    m.standard_error,
                    m.bits_per_byte,
                    m.estimate
                );
            }
            text.push('\n');
        }
        let steps: BTreeSet<usize> = self.texts.iter().filter_map(|written| written.setting.steps).collect();
        let table = |text: &mut String, title: &str, cell: &dyn Fn(&Written) -> String| {
            let heads: Vec<String> = steps.iter().map(|steps| format!(" {steps} |")).collect();
            let _ = write!(text, "{title}\n\n| model |{}\n|---|{}\n", heads.concat(), "---:|".repeat(steps.len()));
            for name in self.names() {
                let of = |steps: Option<usize>| {
                    self.texts.iter().rev().find(|w| w.setting.model == name && w.setting.steps == steps)
                };
                let cells: Vec<String> = match of(None) {
                    // What no model wrote has no steps.
                    Some(written) => vec![format!(" {} |", cell(written)), " |".repeat(steps.len().saturating_sub(1))],
                    None => steps
                        .iter()
                        .map(|steps| of(Some(*steps)).map_or(" |".to_owned(), |w| format!(" {} |", cell(w))))
                        .collect(),
                };
                let _ = writeln!(text, "| {name} |{}", cells.concat());
            }
            text.push('\n');
        };
        table(&mut text, "Perplexity under the judge (unigram entropy within a text, nats), by steps:", &|w| {
            format!("{:.1} ({:.2})", w.judge_perplexity, w.unigram_entropy)
        });
        table(&mut text, "Seconds for a text, by steps:", &|w| match w.setting.steps {
            Some(_) => format!("{:.3}", w.seconds_per_text),
            None => "–".to_owned(),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(model: &str, steps: Option<usize>, perplexity: f64) -> Written {
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
    fn tables_have_a_row_for_each_model_and_a_column_for_each_number_of_steps() {
        let measured = Measured {
            model: "a".to_owned(),
            folder: "runs/a".to_owned(),
            process: "masked".to_owned(),
            parameters: 1_500_000,
            data: "held-out".to_owned(),
            canvases: 8,
            times: 2,
            nats_per_token: 4.25,
            standard_error: 0.05,
            bits_per_byte: 2.0,
            estimate: "bound".to_owned(),
        };
        let comparison = Comparison {
            likelihoods: vec![measured],
            texts: vec![written("data", None, 30.0), written("a", Some(8), 100.0), written("a", Some(4), 300.0)],
        };
        insta::assert_snapshot!(comparison.tables());
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
        std::fs::remove_dir_all(folder).unwrap();
    }
}
