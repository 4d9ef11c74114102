//! Identifiers use the field's terms: words that GLOSSARY.md replaced do not come back.
//!
//! A name is cut into its parts (`belief_rows`, `BeliefRows` and `BELIEF_ROWS` are "belief" and "rows"), and no part may
//! be one of [`REPLACED`]. Names of tests count too; comments and strings do not.

use super::{Findings, place};
use crate::repository::Repository;
use crate::rust::{is_name, without_words};

/// Where the list itself stands.
const LIST: &str = "xtask/src/tidy/words.rs";

/// Words and what to say instead.
const REPLACED: [(&str, &str); 30] = [
    ("asked", "requested, rows, targets"),
    ("attending", "attention"),
    ("belief", "logits, prediction, probabilities, self_conditioning"),
    ("beliefs", "logits, predictions, probabilities"),
    ("believe", "predict"),
    ("believed", "predicted"),
    ("believes", "predicts"),
    ("believing", "predicting"),
    ("form", "template_canvas, format, kind"),
    ("forms", "formats, kinds"),
    ("frozen", "inference, trainable"),
    ("inventory", "tensor_list"),
    ("kept", "saved, stored, cached, retained"),
    ("look", "read, process, query"),
    ("looked", "read, processed"),
    ("looks", "reads, processes"),
    ("losing", "cross_entropy"),
    ("material", "data"),
    ("norming", "rms_norm"),
    ("pace", "schedule, settings"),
    ("paced", "scheduled"),
    ("question", "batch, query"),
    ("remembered", "cached"),
    ("remembers", "caches, is_cached"),
    ("seen", "visible, read, observed"),
    ("told", "reported, message, time"),
    ("turning", "rope"),
    ("way", "plan, algorithm, path"),
    ("ways", "plans, algorithms, paths"),
    ("wiring", "weight_index"),
];

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    for file in repository.ending(".rs") {
        for (number, line) in without_words(&file.text).lines().enumerate() {
            for name in line.split(|c| !is_name(c)).filter(|name| !name.is_empty()) {
                for part in parts(name) {
                    if let Some((word, instead)) = REPLACED.iter().find(|(word, _)| *word == part) {
                        findings.push(format!(
                            "{}: `{name}` has the word `{word}`; say what it is ({instead}), or see {LIST}",
                            place(&file.path, number)
                        ));
                    }
                }
            }
        }
    }
    findings
}

/// The words of a name, in lower case.
fn parts(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut parts = vec![String::new()];
    for (i, &letter) in letters.iter().enumerate() {
        let after_lower = i > 0 && (letters[i - 1].is_lowercase() || letters[i - 1].is_ascii_digit());
        let before_lower = letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        let after_upper = i > 0 && letters[i - 1].is_uppercase();
        if letter == '_' || letter.is_uppercase() && (after_lower || after_upper && before_lower) {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    fn found(text: &str) -> Findings {
        check(&files(&[("crates/a/src/a.rs", text)]))
    }

    #[test]
    fn names_are_cut_at_underscores_and_capitals() {
        assert_eq!(parts("KvCacheRows"), ["kv", "cache", "rows"]);
        assert_eq!(parts("_self_conditioning2"), ["self", "conditioning2"]);
        assert_eq!(parts("RMS_NORM"), ["rms", "norm"]);
        assert_eq!(parts("GPUError"), ["gpu", "error"]);
    }

    #[test]
    fn replaced_words_are_found_in_names_of_every_style() {
        for name in ["belief", "row_beliefs", "RowBelief", "BELIEF_ROWS", "a_way_out", "KeptForms"] {
            assert!(!found(&format!("fn f() {{ let {name} = 1; }}")).is_empty(), "{name}");
        }
        assert_eq!(found("//! A.\nfn asked_rows() {}\n").len(), 1);
        assert!(found("//! A.\nfn asked_rows() {}\n")[0].starts_with("crates/a/src/a.rs:2: `asked_rows`"));
    }

    #[test]
    fn other_names_comments_and_strings_are_left_alone() {
        assert_eq!(
            found("//! A belief.\nlet format = transform(\"told\"); // kept\nlet sway = Platform::new();\n"),
            Findings::new()
        );
    }
}
