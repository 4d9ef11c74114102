//! The figures of calibration as tables and as a page.

use super::{Calibrated, CalibrationFigures};
use crate::{Axis, Curve, Page};
use std::fmt::Write as _;

const HEADS: [&str; 8] = ["of", "score", "count", "right %", "calibration error", "Brier", "AURC", "AUROC"];
const ABSTAINED: [&str; 4] = ["abstain below", "answered %", "spans", "right %"];

/// The figures as tables in Markdown.
pub fn calibration_tables(figures: &CalibrationFigures) -> String {
    let mut text = format!("| {} |\n|---|---|{}\n", HEADS.join(" | "), "---:|".repeat(HEADS.len() - 2));
    // Writing to a string cannot fail.
    for row in rows(figures) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    let _ = write!(text, "\n| {} |\n|---|{}\n", ABSTAINED.join(" | "), "---:|".repeat(ABSTAINED.len() - 1));
    for row in abstained(figures) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// The figures as a page about a model.
pub fn calibration_page(model: &str, figures: &CalibrationFigures) -> Page {
    let mut page = Page::new(&format!("How sure {model} is"));
    page.text(&format!(
        "Spans of {} canvases of held-out text were filled and compared with what stood there. Right is only the same token, \
         so that accuracy is a lower bound of what a reader would accept. Intervals hold 95 %.",
        figures.canvases
    ));
    page.table(&HEADS, &rows(figures));
    page.text(
        "calibration error: over ten bins of equal width, the mean of how far the share of right answers is from the mean \
         score. AURC: the mean risk over all coverages; a score that says nothing has the share of wrong answers. AUROC: how \
         often a right answer has a higher score than a wrong one.",
    );
    for (name, calibrated) in [("tokens", &figures.tokens), ("spans", &figures.spans)] {
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
    page.heading("Abstaining");
    page.text("Spans whose probability (the geometric mean over their tokens) is below a threshold are left out.");
    page.table(&ABSTAINED, &abstained(figures));
    page
}

fn rows(figures: &CalibrationFigures) -> Vec<Vec<String>> {
    let of = |name: &str, calibrated: &Calibrated| -> Vec<Vec<String>> {
        let figure = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
        calibrated
            .signals
            .iter()
            .map(|signal| {
                vec![
                    name.to_owned(),
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
    [of("tokens", &figures.tokens), of("spans", &figures.spans)].concat()
}

fn abstained(figures: &CalibrationFigures) -> Vec<Vec<String>> {
    let row = |abstained: &super::Abstained| {
        vec![
            abstained.below.to_string(),
            format!("{:.1}", 100.0 * abstained.coverage),
            abstained.accuracy.count.to_string(),
            abstained.accuracy.percent(),
        ]
    };
    figures.abstained.iter().map(row).collect()
}
