//! What a source of texts gave and what it did not, for people.

use crate::frame::harmless;
use crate::printer::Printer;
use aquatint_corpus::{SourceReport, UnreadFile};
use std::fmt::Display;
use std::path::Path;

/// So many files or rows are listed; the rest is a number.
const LISTED: usize = 10;

/// Reports a source that was packed, but for its unread files; `what` is the key or the flag that names it.
pub(crate) fn tell(what: &str, report: &SourceReport, printer: &Printer) {
    printer.note(documents(what, report));
    for warning in warnings(report) {
        printer.warn(warning);
    }
}

/// Reports the files of a source that are not read.
pub(crate) fn tell_unread(path: &Path, files: &[UnreadFile], printer: &Printer) {
    if !files.is_empty() {
        printer.warn(unread(path, files));
    }
}

fn documents(what: &str, report: &SourceReport) -> String {
    let documents = counted(report.documents, "document");
    let mut line = format!("{what}: {documents} in {}", name(&report.path));
    if report.counts.left_out > 0 {
        line.push_str(&format!("; {} left out by the filter", counted(report.counts.left_out, "row")));
    }
    line
}

fn warnings(report: &SourceReport) -> Vec<String> {
    let (counts, path) = (&report.counts, name(&report.path));
    let mut warnings = Vec::new();
    if counts.bad_rows > 0 {
        let title = format!(
            "{} of {} in {path} {} passed over",
            counted(counts.bad_rows, "bad row"),
            counts.rows,
            if counts.bad_rows == 1 { "was" } else { "were" }
        );
        warnings.push(listed(title, &counts.first_bad_rows, counts.bad_rows));
    }
    warnings.extend(match counts.replaced {
        0 => None,
        1 => Some(format!("1 sequence of bytes in {path} is no text in its encoding and was replaced by U+FFFD")),
        count => Some(format!(
            "{count} sequences of bytes in {path} are no text in their encoding and were replaced by U+FFFD"
        )),
    });
    warnings.extend(match counts.surrogates {
        0 => None,
        1 => Some(format!("1 half of a surrogate pair in {path} was replaced by U+FFFD")),
        count => Some(format!("{count} halves of surrogate pairs in {path} were replaced by U+FFFD")),
    });
    warnings
}

fn unread(path: &Path, files: &[UnreadFile]) -> String {
    let are = if files.len() == 1 { "is" } else { "are" };
    let title = format!("{} in {} {are} not read", counted(files.len() as u64, "file"), name(path));
    listed(title, files, files.len() as u64)
}

/// A title with the first of `count` things under it.
fn listed(title: String, first: &[impl Display], count: u64) -> String {
    let first = first.iter().take(LISTED);
    let rest = count - first.len() as u64;
    let mut lines = vec![format!("{title}:")];
    lines.extend(first.map(|one| format!("  {}", harmless(&one.to_string()).replace('\n', "␊"))));
    if rest > 0 {
        lines.push(format!("  and {rest} more"));
    }
    lines.join("\n")
}

fn name(path: &Path) -> String {
    format!("`{}`", harmless(&path.display().to_string()))
}

/// So many things: `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_corpus::{BadRow, ReadCounts, UnreadReason};
    use std::path::PathBuf;

    fn report() -> SourceReport {
        let path = PathBuf::from("texts");
        SourceReport { path, documents: 1, counts: ReadCounts::default(), unread: Vec::new() }
    }

    #[test]
    fn a_source_without_trouble_has_no_warning() {
        assert_eq!(documents("data.train", &report()), "data.train: 1 document in `texts`");
        assert!(warnings(&report()).is_empty());
    }

    #[test]
    fn everything_that_is_passed_over_is_reported() {
        let mut full = report();
        (full.documents, full.counts.left_out) = (12_345, 2);
        full.unread = (0..12)
            .map(|index| UnreadFile {
                path: format!("texts/page-{index:02}.md").into(),
                reason: if index == 0 { UnreadReason::Hidden } else { UnreadReason::UnknownEnding },
            })
            .collect();
        (full.counts.rows, full.counts.bad_rows, full.counts.replaced, full.counts.surrogates) = (5000, 2, 3, 1);
        full.counts.first_bad_rows = ["`text` is null", "not JSON: end\u{1B}[2J\nof it"]
            .map(|reason| BadRow { file: "texts/a.jsonl".into(), row: 7, reason: reason.to_owned() })
            .to_vec();
        let mut all = vec![unread(&full.path, &full.unread), documents("data.train", &full)];
        all.extend(warnings(&full));
        insta::assert_snapshot!(all.join("\n"));
    }
}
