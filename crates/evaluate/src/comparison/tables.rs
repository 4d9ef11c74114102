//! The figures of a comparison as tables.

use super::{Comparison, Written};
use std::collections::BTreeSet;
use std::fmt::Write as _;

impl Comparison {
    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if !self.likelihoods.is_empty() {
            text += "Held-out text:\n\n| model | process | parameters | nats/token | bits/byte | what it is |\n|---|---|---:|---:|---:|---|\n";
            for m in &self.likelihoods {
                let _ = writeln!(
                    text,
                    "| {} | {} | {:.2} M | {:.3}{} | {:.3} | {} |",
                    m.model,
                    m.process,
                    m.parameters as f64 / 1e6,
                    m.nats_per_token,
                    m.standard_error.map(|error| format!(" ± {error:.3}")).unwrap_or_default(),
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
            for name in self.models() {
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
    use super::super::Measured;
    use super::super::record::tests::written;
    use super::*;

    const TABLES: &str = "Held-out text:

| model | process | parameters | nats/token | bits/byte | what it is |
|---|---|---:|---:|---:|---|
| a | masked | 1.50 M | 4.250 ± 0.050 | 2.000 | bound |

Perplexity under the judge (unigram entropy within a text, nats), by steps:

| model | 4 | 8 |
|---|---:|---:|
| data | 30.0 (2.50) | |
| a | 300.0 (2.50) | 100.0 (2.50) |

Seconds for a text, by steps:

| model | 4 | 8 |
|---|---:|---:|
| data | – | |
| a | 0.125 | 0.125 |";

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
            standard_error: Some(0.05),
            bits_per_byte: 2.0,
            estimate: "bound".to_owned(),
        };
        let comparison = Comparison {
            likelihoods: vec![measured],
            texts: vec![written("data", None, 30.0), written("a", Some(8), 100.0), written("a", Some(4), 300.0)],
        };
        assert_eq!(comparison.tables().trim_end(), TABLES);
    }
}
