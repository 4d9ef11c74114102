//! How sure models are of their answers, as tables and as a page.

use super::{DraftFigures, RightAnswers};
use crate::Page;
use crate::calibration::{
    ABSTAINED_HEADS, SIGNAL_HEADS, SIGNAL_TEXT, abstained_rows, markdown, signal_curves, signal_rows,
};

/// The figures of a model as tables in Markdown.
pub fn draft_tables(model: &str, figures: &DraftFigures) -> String {
    format!(
        "How sure {model} is, by {} of each answer:\n\n{}\n{}",
        further(figures),
        markdown(&SIGNAL_HEADS, 2, &rows(figures)),
        markdown(&abstained_heads(), 1, &abstained(figures))
    )
}

/// The figures of models with their names as a page.
pub fn draft_page(all: &[(&str, DraftFigures)]) -> Page {
    let mut page = Page::new("How sure models are of their answers");
    page.text(
        "Answers are compared with references: right is an exact match, or, as the second measure, a token F1 of 0.5 or more. \
         A reader may accept other words, so that both are lower bounds. Intervals hold 95 %.",
    );
    page.text(SIGNAL_TEXT);
    for (model, figures) in all {
        page.heading(model);
        page.text(&format!(
            "Beside each answer {} at temperature 1 were written. Drafts are near whose words have an F1 of {} or more, and a \
             cluster holds what is near one after another. Words are compared and no meanings.",
            further(figures),
            figures.near
        ));
        page.table(&SIGNAL_HEADS, &rows(figures));
        for (name, right) in of(figures) {
            signal_curves(&mut page, name, &right.calibrated);
        }
        page.heading("Abstaining");
        page.text("Answers are left out whose share of further drafts in their cluster is below a threshold.");
        page.table(&abstained_heads(), &abstained(figures));
    }
    page
}

/// How many drafts there are, in words.
fn further(figures: &DraftFigures) -> String {
    format!("{} further draft{}", figures.drafts, if figures.drafts == 1 { "" } else { "s" })
}

fn of(figures: &DraftFigures) -> [(&str, &RightAnswers); 2] {
    [("answers (exact match)", &figures.exact_match), ("answers (F1 of 0.5 or more)", &figures.token_f1)]
}

fn rows(figures: &DraftFigures) -> Vec<Vec<String>> {
    signal_rows(&of(figures).map(|(name, right)| (name, &right.calibrated)))
}

fn abstained_heads() -> Vec<&'static str> {
    [&ABSTAINED_HEADS[..], &["answers", "exact match %", "F1 of 0.5 or more %"]].concat()
}

fn abstained(figures: &DraftFigures) -> Vec<Vec<String>> {
    abstained_rows(&of(figures).map(|(_, right)| &right.abstained[..]))
}
