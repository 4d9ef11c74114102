//! Regular expressions, as texts on their own or inside a JSON string.

use crate::expression::Expression;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;

/// Levels of groups in a regular expression.
const NESTING: u32 = 100;

/// How the characters of a text are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As they are.
    Plain,
    /// In a JSON string: quotes, backslashes and controls are escaped.
    Json,
}

/// The whole texts that match an expression.
pub(crate) fn whole(source: &str) -> Result<Expression, String> {
    Pattern::new(Writing::Plain)?.expression(&parse(source)?, true, true)
}

/// The contents of a JSON string in which a pattern of a schema is found: anywhere, but for its anchors.
pub(crate) fn found(source: &str) -> Result<Expression, String> {
    Pattern::new(Writing::Json)?.found(&parse(&without_dialect(source)?)?)
}

/// The contents of JSON strings that match an expression as a whole.
pub(crate) fn whole_in_json(source: &str) -> Result<Expression, String> {
    Pattern::new(Writing::Json)?.expression(&parse(source)?, true, true)
}

/// Any character of a JSON string, as it is written there.
pub(crate) fn character_in_json() -> Expression {
    let all = [ClassUnicodeRange::new('\0', char::MAX)];
    class(&ClassUnicode::new(all), Writing::Json)
}

fn parse(source: &str) -> Result<Hir, String> {
    let parser = ParserBuilder::new().nest_limit(NESTING).utf8(true).build();
    // The message shows the expression on several lines; its last one says what is wrong.
    parser.clone().parse(source).map_err(|error| {
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}

struct Pattern {
    writing: Writing,
    /// The anchors of the beginning and of the end, as they are parsed.
    begin: Hir,
    end: Hir,
}

impl Pattern {
    fn new(writing: Writing) -> Result<Self, String> {
        Ok(Self { writing, begin: parse("^")?, end: parse("$")? })
    }

    /// The texts of a part, which stands at the beginning or the end of the whole.
    fn expression(&self, hir: &Hir, is_first: bool, is_last: bool) -> Result<Expression, String> {
        Ok(match hir.kind() {
            HirKind::Empty => Expression::empty(),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).map_err(|_| "it has bytes that are no text".to_owned())?;
                Expression::All(text.chars().map(|character| self.range(character, character)).collect())
            }
            HirKind::Class(Class::Unicode(unicode)) => class(unicode, self.writing),
            HirKind::Class(Class::Bytes(bytes)) => {
                let ascii = |range: &regex_syntax::hir::ClassBytesRange| {
                    let (first, last) = (char::from(range.start()), char::from(range.end()));
                    last.is_ascii().then(|| ClassUnicodeRange::new(first, last))
                };
                let ranges: Option<Vec<_>> = bytes.iter().map(ascii).collect();
                let ranges = ranges.ok_or_else(|| "it has bytes that are no text".to_owned())?;
                class(&ClassUnicode::new(ranges), self.writing)
            }
            HirKind::Repetition(repetition) => {
                let of = self.expression(&repetition.sub, false, false)?;
                of.repeated(repetition.min as usize, repetition.max.map(|most| most as usize))
            }
            HirKind::Capture(capture) => self.expression(&capture.sub, is_first, is_last)?,
            HirKind::Concat(parts) => {
                let is_assertion = |part: &Hir| *part == self.begin || *part == self.end;
                let part = |(index, part): (usize, &Hir)| {
                    let is_first = is_first && parts[..index].iter().all(is_assertion);
                    let is_last = is_last && parts[index + 1..].iter().all(is_assertion);
                    self.expression(part, is_first, is_last)
                };
                Expression::All(parts.iter().enumerate().map(part).collect::<Result<_, _>>()?)
            }
            HirKind::Alternation(parts) => {
                let parts = parts.iter().map(|part| self.expression(part, is_first, is_last));
                Expression::Either(parts.collect::<Result<_, _>>()?)
            }
            _ if *hir == self.begin && is_first || *hir == self.end && is_last => Expression::empty(),
            _ if *hir == self.begin || *hir == self.end => return Err("it has an anchor in the middle".to_owned()),
            _ => return Err("it has a word boundary or an anchor of lines".to_owned()),
        })
    }

    /// The texts in which a part is found.
    fn found(&self, hir: &Hir) -> Result<Expression, String> {
        match hir.kind() {
            HirKind::Capture(capture) => return self.found(&capture.sub),
            HirKind::Alternation(parts) => {
                let parts = parts.iter().map(|part| self.found(part));
                return Ok(Expression::Either(parts.collect::<Result<_, _>>()?));
            }
            _ => {}
        }
        let parts = match hir.kind() {
            HirKind::Concat(parts) => parts.as_slice(),
            _ => std::slice::from_ref(hir),
        };
        let any = || character_in_json().repeated(0, None);
        let (begins, ends) = (parts.first() == Some(&self.begin), parts.last() == Some(&self.end));
        let around = |is_anchored: bool| if is_anchored { Expression::empty() } else { any() };
        // Where text may stand before it, an anchor within it is none of the whole text.
        Ok(Expression::All(vec![around(begins), self.expression(hir, begins, ends)?, around(ends)]))
    }

    fn range(&self, first: char, last: char) -> Expression {
        class(&ClassUnicode::new([ClassUnicodeRange::new(first, last)]), self.writing)
    }
}

/// The characters of a class as they are written.
fn class(unicode: &ClassUnicode, writing: Writing) -> Expression {
    let mut branches = Vec::new();
    let mut plain = unicode.clone();
    if writing == Writing::Json {
        let is_in = |character: char| unicode.iter().any(|range| (range.start()..=range.end()).contains(&character));
        let escapes = ESCAPES.iter().filter(|(character, _)| is_in(*character));
        branches.extend(escapes.map(|(_, escape)| Expression::text(escape)));
        let escaped = [('\0', '\u{1f}'), ('"', '"'), ('\\', '\\'), ('\u{7f}', '\u{7f}')];
        plain.difference(&ClassUnicode::new(escaped.map(|(first, last)| ClassUnicodeRange::new(first, last))));
    }
    let mut bytes = Vec::new();
    for range in plain.iter() {
        for sequence in Utf8Sequences::new(range.start(), range.end()) {
            match sequence.as_slice() {
                [one] => bytes.push((one.start, one.end)),
                more => branches.push(Expression::All(
                    more.iter().map(|range| Expression::Byte(vec![(range.start, range.end)])).collect(),
                )),
            }
        }
    }
    if !bytes.is_empty() {
        branches.push(Expression::Byte(bytes));
    }
    match (branches.pop(), branches.is_empty()) {
        (Some(branch), true) => branch,
        (branch, _) => Expression::Either(branches.into_iter().chain(branch).collect()),
    }
}

/// How a JSON string writes characters that it does not write as they are.
const ESCAPES: [(char, &str); 7] =
    [('"', "\\\""), ('\\', "\\\\"), ('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t"), ('\u{8}', "\\b"), ('\u{c}', "\\f")];

/// A pattern of a schema (ECMA-262) in the syntax of regex-syntax, so that what it matches is matched whether classes such
/// as `\d` are read as ASCII or as Unicode. `.` matches no end of a line, and what is an operator in classes of one
/// dialect only is a character.
fn without_dialect(source: &str) -> Result<String, String> {
    let mut rewritten = String::with_capacity(source.len());
    let mut characters = source.chars().peekable();
    // Whether the place is in a class, and whether that is negated.
    let (mut in_class, mut is_negated) = (false, false);
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                None => return Err("it ends in a backslash".to_owned()),
                Some(class @ ('d' | 'w' | 's' | 'D' | 'W' | 'S')) => {
                    let (ascii, unicode) = match class.to_ascii_lowercase() {
                        'd' => ("0-9", "\\d"),
                        'w' => ("A-Za-z0-9_", "\\w"),
                        _ => (" \\t\\n\\r\\f\\v", "\\s\\x{feff}"),
                    };
                    // The smaller reading where characters are let in, the larger one where they are kept out.
                    let is_outside = class.is_ascii_uppercase();
                    let set = if is_outside == (in_class && is_negated) { ascii } else { unicode };
                    rewritten.push_str(if is_outside { "[^" } else { "[" });
                    rewritten.push_str(set);
                    rewritten.push(']');
                }
                Some(escaped) => rewritten.extend(['\\', escaped]),
            },
            '[' if !in_class => {
                in_class = true;
                rewritten.push('[');
                is_negated = characters.next_if_eq(&'^').is_some();
                if is_negated {
                    rewritten.push('^');
                }
                if characters.peek() == Some(&']') {
                    return Err("it has a class without characters".to_owned());
                }
            }
            ']' if in_class => {
                in_class = false;
                rewritten.push(']');
            }
            '[' | '&' | '~' if in_class => rewritten.extend(['\\', character]),
            '-' if in_class && rewritten.ends_with('-') => rewritten.push_str("\\-"),
            '.' if !in_class => rewritten.push_str("[^\\n\\r\\x{2028}\\x{2029}]"),
            _ => rewritten.push(character),
        }
    }
    Ok(rewritten)
}
