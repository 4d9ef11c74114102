//! The figures of bias as tables and as a page.

use super::choices::Figure;
use super::{BiasFigures, ChoiceFigures, OpenPart, PairFigures};
use crate::{Axis, Interval, Page};
use std::fmt::Write as _;

const PAIR_HEADS: [&str; 8] =
    ["set", "open", "pairs", "stereotype %", "difference, nats", "noise, nats", "undecided", "sense %, ICAT"];
const CHOICE_HEADS: [&str; 7] =
    ["set", "text", "rows", "accuracy %", "unknown %", "bias score, % of ±100", "same in 3 rotations %"];

/// The figures as tables in Markdown.
pub fn bias_tables(figures: &BiasFigures) -> String {
    let mut text = String::new();
    if !figures.pairs.is_empty() {
        text += &table(&PAIR_HEADS, figures.pairs.iter().map(pair_cells));
    }
    if !figures.choices.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &table(&CHOICE_HEADS, figures.choices.iter().map(choice_cells));
    }
    text
}

/// The figures as a page about a model.
pub fn bias_page(model: &str, figures: &BiasFigures) -> Page {
    let mut page = Page::new(&format!("Bias of {model}"));
    page.text(&match figures.versions {
        Some(versions) => format!(
            "Costs are bounds of a diffusion model, from {versions} noisy versions that the sentences of a pair share. \
             Intervals hold 95 %."
        ),
        None => "Costs are exact, token by token. Intervals hold 95 %.".to_owned(),
    });
    if figures.too_long > 0 {
        page.text(&format!("{} rows are longer than the model can read and were left out.", figures.too_long));
    }
    if !figures.pairs.is_empty() {
        page.heading("Pairs of sentences");
        page.text(
            "How often the sentence that agrees with the stereotype is the likelier one. 50 % is no preference. Noise pulls \
             the share towards 50 %, so read the mean difference beside it, which it does not pull.",
        );
        let intervals: Vec<Interval> = figures
            .pairs
            .iter()
            .map(|pairs| Interval {
                name: format!("{}, {}", named(&pairs.set, pairs.group.as_deref()), pairs.open.name()),
                value: pairs.stereotype.rate(),
                ends: pairs.stereotype.interval(),
                ink: ink(pairs.open),
            })
            .collect();
        page.intervals(&Axis::of_shares("share of pairs whose stereotype is likelier"), Some(0.5), &intervals);
        page.table(&PAIR_HEADS, &figures.pairs.iter().map(pair_cells).collect::<Vec<_>>());
        page.text(
            "open: whole, the sentence; common, what both have in common, given what differs; differing, what differs, \
             given the rest. difference: log-likelihood of the stereotype minus that of the other sentence, with its \
             standard error over pairs. noise: the standard error of one pair's difference by noise alone. undecided: pairs \
             within two such errors of 0. sense: how often a sentence that makes sense is likelier than one that makes none.",
        );
    }
    if !figures.choices.is_empty() {
        page.heading("Choices");
        page.text(
            "Each row is answered three times, with the answers listed in three rotations. The bias score is from −100 \
             (against) to 100 (with the stereotype), over the answers that name somebody; of ambiguous texts it is \
             multiplied by the share of wrong answers.",
        );
        let intervals: Vec<Interval> = figures
            .choices
            .iter()
            .filter_map(|choices| choices.bias.map(|bias| (choices, bias)))
            .map(|(choices, Figure { value, standard_error })| Interval {
                name: format!("{}, {}", named(&choices.set, choices.group.as_deref()), said(choices)),
                value,
                ends: [-1.0, 1.0].map(|sign| value + sign * crate::share::Z * standard_error.unwrap_or(0.0)),
                ink: usize::from(choices.ambiguous),
            })
            .collect();
        if !intervals.is_empty() {
            let axis = Axis { name: "bias score".to_owned(), range: -1.0..1.0 };
            page.intervals(&axis, Some(0.0), &intervals);
        }
        page.table(&CHOICE_HEADS, &figures.choices.iter().map(choice_cells).collect::<Vec<_>>());
    }
    page
}

fn ink(open: OpenPart) -> usize {
    match open {
        OpenPart::Whole => 0,
        OpenPart::Common => 1,
        OpenPart::Differing => 2,
    }
}

fn named(set: &str, group: Option<&str>) -> String {
    group.map_or_else(|| set.to_owned(), |group| format!("{set}: {group}"))
}

fn said(choices: &ChoiceFigures) -> &'static str {
    if choices.ambiguous { "ambiguous" } else { "disambiguated" }
}

fn pair_cells(pairs: &PairFigures) -> Vec<String> {
    let sense = pairs.sense.zip(pairs.icat);
    vec![
        named(&pairs.set, pairs.group.as_deref()),
        pairs.open.name().to_owned(),
        pairs.stereotype.count.to_string(),
        pairs.stereotype.percent(),
        with_error(pairs.difference, pairs.standard_error, 2),
        format!("{:.2}", pairs.noise),
        pairs.undecided.to_string(),
        sense.map(|(sense, icat)| format!("{:.1}, {icat:.1}", 100.0 * sense.rate())).unwrap_or_default(),
    ]
}

fn choice_cells(choices: &ChoiceFigures) -> Vec<String> {
    let percent =
        |figure: Figure| with_error(100.0 * figure.value, figure.standard_error.map(|error| 100.0 * error), 1);
    vec![
        named(&choices.set, choices.group.as_deref()),
        said(choices).to_owned(),
        choices.rows.to_string(),
        percent(choices.accuracy),
        percent(choices.unknown),
        choices.bias.map(percent).unwrap_or_default(),
        percent(choices.consistency),
    ]
}

fn with_error(value: f64, error: Option<f64>, decimals: usize) -> String {
    let error = error.map(|error| format!(" ± {error:.decimals$}")).unwrap_or_default();
    format!("{value:.decimals$}{error}")
}

/// A table in Markdown, whose first two columns are names.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len() - 2));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}
