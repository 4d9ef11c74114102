//! The figures of calibration as tables and as a page, and the parts of both that other measures of certainty share.

use super::{Abstained, Calibrated, CalibrationFigures};
use crate::{Axis, Curve, Page};
use std::fmt::Write as _;

/// The heads of [`signal_rows`].
pub(crate) const SIGNAL_HEADS: [&str; 8] =
    ["of", "score", "count", "right %", "calibration error", "Brier", "AURC", "AUROC"];
/// What is said beneath them.
pub(crate) const SIGNAL_TEXT: &str = "calibration error: over ten bins of equal width, the mean of how far the share of right answers is from the mean score. \
     AURC: the mean risk over all coverages; a score that says nothing has the share of wrong answers. AUROC: how often a \
     right answer has a higher score than a wrong one.";
/// The heads of [`abstained_rows`] before what is counted and how many are right.
pub(crate) const ABSTAINED_HEADS: [&str; 2] = ["abstain below", "answered %"];

/// The figures as tables in Markdown.
pub fn calibration_tables(figures: &CalibrationFigures) -> String {
    let (signals, abstained) = (signal_rows(&of(figures)), abstained_rows(&[&figures.abstained]));
    format!("{}\n{}", markdown(&SIGNAL_HEADS, 2, &signals), markdown(&abstained_heads(), 1, &abstained))
}

/// The figures as a page about a model.
pub fn calibration_page(model: &str, figures: &CalibrationFigures) -> Page {
    let mut page = Page::new(&format!("How sure {model} is"));
    page.text(&format!(
        "Spans of {} canvases of held-out text were filled and compared with what stood there. Right is only the same token, \
         so that accuracy is a lower bound of what a reader would accept. Intervals hold 95 %.",
        figures.canvases
    ));
    page.table(&SIGNAL_HEADS, &signal_rows(&of(figures)));
    page.text(SIGNAL_TEXT);
    for (name, calibrated) in of(figures) {
        signal_curves(&mut page, name, calibrated);
    }
    page.heading("Abstaining");
    page.text("Spans whose probability (the geometric mean over their tokens) is below a threshold are left out.");
    page.table(&abstained_heads(), &abstained_rows(&[&figures.abstained]));
    page
}

fn of(figures: &CalibrationFigures) -> [(&str, &Calibrated); 2] {
    [("tokens", &figures.tokens), ("spans", &figures.spans)]
}

fn abstained_heads() -> Vec<&'static str> {
    [&ABSTAINED_HEADS[..], &["spans", "right %"]].concat()
}

/// A table in Markdown, whose first columns are names.
pub(crate) fn markdown(heads: &[&str], names: usize, rows: &[Vec<String>]) -> String {
    let aligned = "---|".repeat(names) + &"---:|".repeat(heads.len() - names);
    let mut text = format!("| {} |\n|{aligned}\n", heads.join(" | "));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// A row for each signal of each of some answers with their names.
pub(crate) fn signal_rows(all: &[(&str, &Calibrated)]) -> Vec<Vec<String>> {
    let of = |(name, calibrated): &(&str, &Calibrated)| -> Vec<Vec<String>> {
        let figure = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
        calibrated
            .signals
            .iter()
            .map(|signal| {
                vec![
                    (*name).to_owned(),
                    signal.name.clone(),
                    calibrated.accuracy.count.to_string(),
                    calibrated.accuracy.percent(),
                    figure(signal.calibration_error),
                    figure(signal.brier),
                    figure(Some(signal.aurc)),
                    figure(signal.auroc),
                ]
            })
            .collect()
    };
    all.iter().flat_map(of).collect()
}

/// Draws the reliability and the risk by coverage of some answers with their name.
pub(crate) fn signal_curves(page: &mut Page, name: &str, calibrated: &Calibrated) {
    page.heading(&format!("Calibration of {name}"));
    let curves: Vec<Curve> = calibrated
        .signals
        .iter()
        .filter(|signal| !signal.bins.is_empty())
        .map(|signal| Curve {
            name: signal.name.clone(),
            points: signal.bins.iter().map(|bin| (bin.score, bin.accuracy)).collect(),
        })
        .collect();
    page.curves((&Axis::of_shares("mean score of a bin"), &Axis::of_shares("share of right ones")), &curves, true);
    page.heading(&format!("Risk of {name} by coverage"));
    let curves: Vec<Curve> = calibrated
        .signals
        .iter()
        .map(|signal| Curve { name: signal.name.clone(), points: signal.risk.clone() })
        .collect();
    page.curves((&Axis::of_shares("coverage"), &Axis::of_shares("share of wrong ones")), &curves, false);
}

/// A row for each threshold: the share that is answered, how many these are, and how many are right, in a column for each
/// measure of being right.
pub(crate) fn abstained_rows(measures: &[&[Abstained]]) -> Vec<Vec<String>> {
    let Some(first) = measures.first() else { return Vec::new() };
    let row = |(index, abstained): (usize, &Abstained)| {
        let mut cells = vec![
            format!("{}", (1000.0 * abstained.below).round() / 1000.0),
            format!("{:.1}", 100.0 * abstained.coverage),
            abstained.accuracy.count.to_string(),
        ];
        cells.extend(measures.iter().map(|measure| measure[index].accuracy.percent()));
        cells
    };
    first.iter().enumerate().map(row).collect()
}
