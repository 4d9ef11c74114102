//! A report as one HTML file without scripts or anything to load: text, tables and plots as SVG inside it. Colours follow the
//! reader's, light or dark.

mod plots;

pub use plots::{Axis, Curve, Interval};

use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f1f1f;--soft:#6a6a6a;--line:#d8d8d8;--back:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--soft:#a0a0a0;--line:#444;--back:#161616}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:60rem;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\
th,td{border-bottom:1px solid var(--line);padding:.25rem .7rem;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto;display:block}\
svg text{fill:var(--ink);font:13px system-ui,sans-serif}svg .soft{fill:var(--soft)}\
svg .axis{stroke:var(--line)}svg .mark{stroke-width:2;fill:none}\
pre{white-space:pre-wrap;border-left:3px solid var(--line);padding-left:1rem}mark{background:#e69f0055;color:inherit}";

/// A page that grows from top to bottom.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: escaped(title), body: String::new() }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.push(format_args!("<h2>{}</h2>", escaped(text)));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>", escaped(text)));
    }

    /// A text in its own lines, with the ranges of bytes that are marked in it, ascending; a range that tears a character
    /// is left out.
    pub fn marked(&mut self, text: &str, ranges: &[std::ops::Range<usize>]) {
        let (mut body, mut end) = (String::new(), 0);
        for range in ranges {
            if let (Some(before), Some(inside)) = (text.get(end..range.start), text.get(range.clone())) {
                let _ = write!(body, "{}<mark>{}</mark>", escaped(before), escaped(inside));
                end = range.end;
            }
        }
        self.push(format_args!("<pre>{body}{}</pre>", escaped(text.get(end..).unwrap_or(""))));
    }

    /// A table with heads; the first column is of names, the others are of figures.
    pub fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
            cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
        };
        let body: String =
            rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", &mut row.iter().map(String::as_str)))).collect();
        self.push(format_args!(
            "<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{body}</tbody></table></div>",
            cells("th", &mut heads.iter().copied())
        ));
    }

    /// Figures with their intervals, one line each, beside the value at which there is nothing to find.
    pub fn intervals(&mut self, axis: &Axis, neutral: Option<f64>, intervals: &[Interval]) {
        let svg = plots::intervals(axis, neutral, intervals);
        self.push(format_args!("{svg}"));
    }

    /// Curves over a common axis; with `diagonal` the line on which both axes are equal is drawn.
    pub fn curves(&mut self, axes: (&Axis, &Axis), curves: &[Curve], diagonal: bool) {
        let svg = plots::curves(axes, curves, diagonal);
        self.push(format_args!("{svg}"));
    }

    /// The file.
    pub fn html(&self) -> String {
        let Self { title, body } = self;
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\
             <h1>{title}</h1>\n{body}</body></html>\n"
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_text_and_never_markup() {
        let mut page = Page::new("a <b> & c");
        page.heading("<h>");
        page.table(&["name", "\"x\""], &[vec!["<td>".to_owned(), "1".to_owned()]]);
        page.marked("one <two> three", &[4..9, 9..9]);
        // Half of a character is not marked.
        page.marked("é", &[0..1, 1..2]);
        let html = page.html();
        assert!(html.contains("<title>a &lt;b&gt; &amp; c</title>") && html.contains("<h2>&lt;h&gt;</h2>"), "{html}");
        assert!(html.contains("<th>&quot;x&quot;</th>") && html.contains("<td>&lt;td&gt;</td>"), "{html}");
        assert!(
            html.contains("<pre>one <mark>&lt;two&gt;</mark><mark></mark> three</pre>")
                && html.contains("<pre>é</pre>"),
            "{html}"
        );
    }
}
