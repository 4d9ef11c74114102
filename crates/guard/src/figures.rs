//! How often guards refuse what they should, and what they should not.

use crate::{GuardRow, Guards};
use aquatint_evaluate::Share;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The figures of the rows of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardFigures {
    /// The set; none of all rows.
    pub set: Option<String>,
    /// Of rows that are to be refused, those that are.
    pub caught: Share,
    /// Of rows that are to pass, those that are refused.
    pub false_refusals: Share,
}

/// The figures of all rows, and of each set where there are several, as given text.
pub fn guard_figures(guards: &Guards, rows: &[GuardRow]) -> Vec<GuardFigures> {
    let mut sets: BTreeMap<Option<&str>, GuardFigures> = BTreeMap::new();
    for row in rows {
        let is_refused = guards.judge_given(&row.passage).is_err();
        for set in [None, Some(row.set.as_str())] {
            let (caught, false_refusals) = (Share::default(), Share::default());
            let own = GuardFigures { set: set.map(str::to_owned), caught, false_refusals };
            let figures = sets.entry(set).or_insert(own);
            let share = if row.refuse { &mut figures.caught } else { &mut figures.false_refusals };
            share.add(is_refused);
        }
    }
    // One set is all of them.
    let several = sets.len() > 2;
    sets.into_values().filter(|figures| several || figures.set.is_none()).collect()
}

/// The figures as a table in Markdown.
pub fn guard_table(figures: &[GuardFigures]) -> String {
    let mut text =
        "| set | to be refused | caught % | to pass | refused all the same % |\n|---|---:|---:|---:|---:|\n".to_owned();
    for GuardFigures { set, caught, false_refusals } in figures {
        let name = set.as_deref().unwrap_or("all");
        let (refused, passed) = (caught.percent(), false_refusals.percent());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {} | {refused} | {} | {passed} |", caught.count, false_refusals.count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Passage, WordList};
    use aquatint_vocabulary::Template;
    use std::sync::Arc;

    #[test]
    fn refusals_are_counted_by_set_and_by_what_they_should_be() {
        let guards = Guards::new(vec![Arc::new(WordList::parse("w", "vork").unwrap())], 0);
        let row = |text: &str, refuse: bool, set: &str| {
            let passage = Passage::of_template(&Template::parse(text).unwrap());
            GuardRow { passage, refuse, set: set.to_owned() }
        };
        let rows = [
            row("the vork", true, "a"),
            row("vo[[1]]rk", true, "a"),
            row("the v o r k", true, "a"),
            row("a vork of mine", false, "b"),
            row("a garden", false, "b"),
        ];
        let figures = guard_figures(&guards, &rows);
        let counts = |index: usize| {
            let GuardFigures { caught, false_refusals, .. } = &figures[index];
            [caught.hits, caught.count, false_refusals.hits, false_refusals.count]
        };
        assert_eq!(figures.iter().map(|of| of.set.as_deref()).collect::<Vec<_>>(), [None, Some("a"), Some("b")]);
        assert_eq!([counts(0), counts(1), counts(2)], [[2, 3, 1, 2], [2, 3, 0, 0], [0, 0, 1, 2]]);
        assert!(guard_table(&figures).contains("| a | 3 | 66.7 (20.8–93.9) | 0 |  |\n"), "{}", guard_table(&figures));
        assert_eq!(guard_figures(&guards, &rows[..3]).len(), 1);
    }
}
