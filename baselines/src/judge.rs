//! Generated texts under an n-gram model: how likely they are, and how varied.
//!
//! Likely texts may be repetitive ones, so likelihood is only read beside the entropy of the tokens within a text
//! (Zheng et al., 2409.02908), the share of different pairs, and the share of repeated 4-grams.

use crate::kneser_ney::KneserNey;
use crate::symbols::Unit;
use aquatint_evaluate::{distinct_bigrams, unigram_entropy};
use serde_json::Value;
use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

/// Tokens of an excerpt of held-out text.
const EXCERPT: usize = 128;

/// A row of the table: the texts of one file, which holds what `aquatint generate --format json` prints, a line each.
pub(crate) fn judge(model: &KneserNey, unit: &Unit, file: &Path) -> Result<String, Box<dyn Error>> {
    let (mut texts, mut passes, mut canvases, mut filled) = (Vec::new(), 0.0, 0.0, 0.0);
    for (line, row) in std::fs::read_to_string(file)?.lines().enumerate() {
        let row: Value = serde_json::from_str(row)?;
        let place = || format!("{}, line {}", file.display(), line + 1);
        let text = row["text"].as_str().ok_or_else(|| format!("{}: there is no `text`", place()))?;
        let number = |key: &str| row[key].as_f64().ok_or_else(|| format!("{}: there is no `{key}`", place()));
        passes += number("forward_passes")?;
        filled += number("tokens")?;
        // A pass with a cache reads some rows of the canvas only.
        canvases += number("rows_read")? / (number("given_tokens")? + number("tokens")?);
        texts.push(unit.encode(text)?);
    }
    let name = file.file_stem().unwrap_or_default().display().to_string();
    row(model, &name, &texts, &format!("{:.3} | {:.3}", passes / filled, canvases / filled))
}

/// The row of excerpts of held-out text, as many as there are, evenly spread.
pub(crate) fn held_out(model: &KneserNey, stream: &[u32], number: usize) -> Result<String, Box<dyn Error>> {
    let excerpts: Vec<&[u32]> = stream.chunks_exact(EXCERPT).collect();
    let every = (excerpts.len() / number.max(1)).max(1);
    let texts: Vec<Vec<u32>> = excerpts.iter().step_by(every).take(number).map(|text| text.to_vec()).collect();
    row(model, "held-out text", &texts, "– | –")
}

fn row(model: &KneserNey, name: &str, texts: &[Vec<u32>], work: &str) -> Result<String, Box<dyn Error>> {
    if texts.is_empty() {
        return Err(format!("{name}: there is no text").into());
    }
    let number = texts.len() as f64;
    // Each text is a document of its own; its end is not judged, since most texts are cut at a length.
    let costs = texts.iter().map(|text| model.cost(text));
    let (bits, tokens) = costs.fold((0.0, 0), |sum, cost| (sum.0 + cost.bits, sum.1 + cost.symbols));
    let entropy = texts.iter().map(|text| unigram_entropy(text)).sum::<f64>() / number;
    let repeated = texts.iter().map(|text| repeated(text)).sum::<f64>() / number;
    Ok(format!(
        "| {name} | {:.3} | {entropy:.3} | {:.3} | {repeated:.3} | {work} |",
        bits * std::f64::consts::LN_2 / tokens as f64,
        distinct_bigrams(texts),
    ))
}

/// Of the 4-grams of one text, the share that occurred before in it; 0 for a text without any.
fn repeated(text: &[u32]) -> f64 {
    let all = text.windows(4);
    let (number, distinct) = (all.len(), all.collect::<HashSet<_>>().len());
    if number == 0 { 0.0 } else { 1.0 - distinct as f64 / number as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn repeated_grams_are_those_that_occurred_before() {
        assert_eq!(repeated(&[1, 2, 3]), 0.0);
        assert_eq!(repeated(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repeated(&[7; 8]), 0.8);
    }

    #[test]
    fn a_likely_text_costs_less_and_a_row_without_text_is_named() {
        let unit = Unit::Bytes;
        let stream = unit.encode(&"the cat sat on the mat. ".repeat(20)).unwrap();
        let model = KneserNey::train(stream, 3, unit.count(), unit.end().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            let row = serde_json::json!({ "text": text, "forward_passes": 6, "tokens": 9, "given_tokens": 3, "rows_read": 36 });
            writeln!(std::fs::File::create(&path).unwrap(), "{row}").unwrap();
            path
        };
        let nats = |row: &str| row.split('|').nth(2).unwrap().trim().parse::<f64>().unwrap();
        let likely = judge(&model, &unit, &file("likely.jsonl", "the cat sat ")).unwrap();
        let unlikely = judge(&model, &unit, &file("unlikely.jsonl", "tac eht tas ")).unwrap();
        assert!(likely.starts_with("| likely | ") && likely.ends_with("| 0.667 | 0.333 |"), "{likely}");
        assert!(nats(&likely) < nats(&unlikely), "{likely} {unlikely}");
        let stream: Vec<u32> = unit.encode(&"the cat sat ".repeat(40)).unwrap();
        let held_out = held_out(&model, &stream, 2).unwrap();
        assert!(nats(&held_out) < nats(&unlikely) && held_out.ends_with("| – | – |"), "{held_out}");
        let broken = folder.path().join("broken.jsonl");
        std::fs::write(&broken, "{}").unwrap();
        let error = judge(&model, &unit, &broken).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("`text`"), "{error}");
    }
}
