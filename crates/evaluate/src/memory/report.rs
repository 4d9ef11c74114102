//! What a model repeats, as tables and as a page.

use super::{CommonRun, Exposure, TextMemory};
use crate::{Page, Share};
use std::fmt::Write as _;

/// Runs that are listed, the longest ones.
const LISTED: usize = 10;
/// Texts that a page shows, those with the longest runs.
const SHOWN: usize = 20;
const HEADS: [&str; 6] =
    ["texts", "words", "8-grams in the corpus %", "longest run, words", "median of texts", "90th percentile"];
const RUNS: [&str; 4] = ["text", "words", "run", "source"];
const EXPOSURES: [&str; 5] = ["canary", "planted", "given", "rank", "exposure, bits"];

/// Texts beside what they have in common with a corpus, and the exposure of canaries, as tables in Markdown.
pub fn memory_tables(texts: &[(String, TextMemory)], exposures: &[Exposure]) -> String {
    let mut tables = Vec::new();
    if !texts.is_empty() {
        tables.push(table(&HEADS, &[summary(texts)]));
        let runs = longest_runs(texts);
        if !runs.is_empty() {
            tables.push(table(&RUNS, &runs));
        }
    }
    if !exposures.is_empty() {
        tables.push(table(&EXPOSURES, &exposure_rows(exposures)));
    }
    tables.join("\n")
}

/// The same as a page about a model, with the texts themselves.
pub fn memory_page(what: &str, texts: &[(String, TextMemory)], exposures: &[Exposure]) -> Page {
    let mut page = Page::new(&format!("What {what} repeats"));
    if !texts.is_empty() {
        page.table(&HEADS, &[summary(texts)]);
        page.text(
            "Words are letters and digits in lower case. A run is words that stand one behind the other in a text and in a \
             document of the corpus. Texts of people repeat set phrases, too: read these figures beside those of held-out \
             text.",
        );
        page.heading("Texts by their longest run");
        let mut sorted: Vec<(usize, &(String, TextMemory))> = (1..).zip(texts).collect();
        sorted.sort_by_key(|(number, (_, memory))| (std::cmp::Reverse(memory.longest), *number));
        for (number, (text, memory)) in sorted.into_iter().take(SHOWN) {
            let sources: Vec<String> =
                memory.runs.iter().map(|run| format!("{} words in {}", run.words, run.source)).collect();
            page.text(&format!(
                "Text {number}: {} of {} 8-grams, longest run {} words. {}",
                memory.common_grams,
                memory.grams,
                memory.longest,
                sources.join("; ")
            ));
            page.marked(text, &apart(&memory.runs));
        }
    }
    if !exposures.is_empty() {
        page.heading("Planted secrets");
        page.text(
            "Exposure is log2 of the number of candidates over the rank of the secret among them: 1.4 bits on average for one that \
             the model has not met, among many candidates.",
        );
        page.table(&EXPOSURES, &exposure_rows(exposures));
    }
    page
}

/// The bytes of runs, none of them twice.
fn apart(runs: &[CommonRun]) -> Vec<std::ops::Range<usize>> {
    let mut end = 0;
    let mut ranges = Vec::new();
    for run in runs {
        let start = run.bytes.start.max(end);
        if start < run.bytes.end {
            ranges.push(start..run.bytes.end);
            end = run.bytes.end;
        }
    }
    ranges
}

fn summary(texts: &[(String, TextMemory)]) -> Vec<String> {
    let sum = |of: fn(&TextMemory) -> usize| texts.iter().map(|(_, memory)| of(memory)).sum::<usize>();
    let grams = Share { hits: sum(|memory| memory.common_grams) as u64, count: sum(|memory| memory.grams) as u64 };
    let mut longest: Vec<usize> = texts.iter().map(|(_, memory)| memory.longest).collect();
    longest.sort_unstable();
    let at = |share: f64| longest.get((share * (longest.len().saturating_sub(1)) as f64).round() as usize);
    let figure = |value: Option<&usize>| value.map(ToString::to_string).unwrap_or_default();
    vec![
        texts.len().to_string(),
        sum(|memory| memory.words).to_string(),
        format!("{:.2}", 100.0 * grams.rate()),
        figure(longest.last()),
        figure(at(0.5)),
        figure(at(0.9)),
    ]
}

fn longest_runs(texts: &[(String, TextMemory)]) -> Vec<Vec<String>> {
    let runs = (1usize..).zip(texts).flat_map(|(number, (text, memory))| {
        memory.runs.iter().map(move |run| (run.words, number, text.as_str(), run))
    });
    let mut runs: Vec<(usize, usize, &str, &CommonRun)> = runs.collect();
    runs.sort_by_key(|(words, number, ..)| (std::cmp::Reverse(*words), *number));
    let row = |(words, number, text, run): (usize, usize, &str, &CommonRun)| {
        let run_text = text.get(run.bytes.clone()).unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ");
        vec![number.to_string(), words.to_string(), run_text.replace('|', "\\|"), run.source.clone()]
    };
    runs.into_iter().take(LISTED).map(row).collect()
}

fn exposure_rows(exposures: &[Exposure]) -> Vec<Vec<String>> {
    exposures
        .iter()
        .map(|one| {
            vec![
                one.canary.to_string(),
                one.planted.map(|count| count.to_string()).unwrap_or_default(),
                one.given.name().to_owned(),
                format!("{} of {}", one.rank, one.candidates),
                format!("{:.2}", one.exposure),
            ]
        })
        .collect()
}

/// A table in Markdown.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_overlap_are_marked_once() {
        let run = |bytes| CommonRun { words: 1, bytes, source: String::new() };
        assert_eq!(apart(&[run(0..5), run(3..9), run(4..8), run(12..14)]), [0..5, 5..9, 12..14]);
    }

    #[test]
    fn a_summary_has_the_share_of_grams_over_all_texts() {
        let text = |longest, grams, common_grams| {
            (String::new(), TextMemory { words: 10, grams, common_grams, longest, runs: Vec::new() })
        };
        let cells = summary(&[text(3, 3, 0), text(9, 1, 1), text(5, 4, 1)]);
        assert_eq!(cells, ["3", "30", "25.00", "9", "5", "9"]);
    }
}
