//! The figures of bias as tables and as a page.

use super::choices::Figure;
use super::{BiasFigures, ChoiceFigures, Continuations, OpenPart, PairFigures, ToxicityFigures};
use crate::{Axis, Curve, Interval, Page};
use std::fmt::Write as _;

const PAIR_HEADS: [&str; 8] =
    ["set", "open", "pairs", "stereotype %", "difference, nats", "noise, nats", "undecided", "sense %, ICAT"];
const CHOICE_HEADS: [&str; 7] =
    ["set", "text", "rows", "accuracy %", "unknown %", "bias score, % of ±100", "same in 3 rotations %"];
const TOXICITY_HEADS: [&str; 8] = [
    "set",
    "prompts are",
    "prompts",
    "continuations of each",
    "largest score, deviation",
    "at least one toxic %",
    "toxic %",
    "score",
];

/// The figures as tables in Markdown.
pub fn bias_tables(figures: &BiasFigures) -> String {
    let mut tables = Vec::new();
    if !figures.pairs.is_empty() {
        tables.push(table(&PAIR_HEADS, figures.pairs.iter().map(pair_cells)));
    }
    if !figures.choices.is_empty() {
        tables.push(table(&CHOICE_HEADS, figures.choices.iter().map(choice_cells)));
    }
    if let Some(continuations) = figures.continuations.as_ref().filter(|found| !found.groups.is_empty()) {
        tables.push(table(&TOXICITY_HEADS, toxicity_rows(continuations).into_iter()));
    }
    tables.join("\n")
}

/// The figures as a page about a model.
pub fn bias_page(model: &str, figures: &BiasFigures) -> Page {
    let mut page = Page::new(&format!("Bias of {model}"));
    let has_costs = !(figures.pairs.is_empty() && figures.choices.is_empty());
    page.text(&match figures.versions {
        _ if !has_costs => "Intervals hold 95 %.".to_owned(),
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
    if let Some(continuations) = &figures.continuations {
        toxicity_section(&mut page, continuations);
    }
    page
}

fn toxicity_section(page: &mut Page, continuations: &Continuations) {
    let Continuations { count, length, judges, groups, empty, too_long } = continuations;
    page.heading("Continuations of prompts");
    page.text(&format!(
        "The model writes {count} continuations of each prompt, of {length} tokens at most, and each is judged without its \
         prompt from 0 to 1, by {}. Toxic is a score of 0.5 or more. A classifier over words and a list of words do not know \
         what words mean together: a score says which words were written.",
        judges.join(" and ")
    ));
    for (number, what) in [
        (too_long, "prompts are longer than the model can read with a continuation and were left out"),
        (empty, "continuations have no letter and no digit"),
    ] {
        if *number > 0 {
            page.text(&format!("{number} {what}."));
        }
    }
    if groups.is_empty() {
        return;
    }
    let intervals: Vec<Interval> = groups
        .iter()
        .map(|group| Interval {
            name: toxicity_name(group),
            value: group.any_toxic.rate(),
            ends: group.any_toxic.interval(),
            ink: ink_of_prompts(group.toxic_prompts),
        })
        .collect();
    page.intervals(&Axis::of_shares("share of prompts with at least one toxic continuation"), None, &intervals);
    page.table(&TOXICITY_HEADS, &toxicity_rows(continuations));
    page.text(
        "largest score: mean over prompts of the largest score of their continuations, with its standard error, and the \
         standard deviation over prompts. toxic: share of all continuations, and score their mean, with standard errors over \
         prompts.",
    );
    if *count > 1 {
        page.text("The expected largest score of fewer continuations, over all choices of so many:");
        let curves: Vec<Curve> = groups
            .iter()
            .map(|group| Curve {
                name: toxicity_name(group),
                points: group.by_count.iter().map(|at| (at.count as f64, at.expected_maximum)).collect(),
            })
            .collect();
        let across = Axis { name: "continuations".to_owned(), range: 1.0..*count as f64 };
        page.curves((&across, &Axis::of_shares("expected largest score")), &curves, false);
    }
}

fn toxicity_name(group: &ToxicityFigures) -> String {
    format!("{}, {}", group.set, kind_of_prompts(group.toxic_prompts))
}

fn kind_of_prompts(toxic: Option<bool>) -> &'static str {
    match toxic {
        Some(true) => "toxic",
        Some(false) => "not toxic",
        None => "without a score",
    }
}

fn ink_of_prompts(toxic: Option<bool>) -> usize {
    match toxic {
        Some(true) => 0,
        Some(false) => 1,
        None => 2,
    }
}

fn toxicity_rows(continuations: &Continuations) -> Vec<Vec<String>> {
    let row = |group: &ToxicityFigures| {
        let Figure { value, standard_error } = group.expected_maximum;
        let deviation = group.deviation.map(|deviation| format!(", {deviation:.3}")).unwrap_or_default();
        vec![
            group.set.clone(),
            kind_of_prompts(group.toxic_prompts).to_owned(),
            group.prompts.to_string(),
            continuations.count.to_string(),
            with_error(value, standard_error, 3) + &deviation,
            group.any_toxic.percent(),
            percent(group.toxic),
            with_error(group.score.value, group.score.standard_error, 3),
        ]
    };
    continuations.groups.iter().map(row).collect()
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

fn percent(figure: Figure) -> String {
    with_error(100.0 * figure.value, figure.standard_error.map(|error| 100.0 * error), 1)
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
