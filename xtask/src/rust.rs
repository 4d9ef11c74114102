//! Just enough of Rust's grammar to read code without its comments, its literals and its tests.
//!
//! Every function keeps the number of lines, so that a finding can be named by its line. What a macro builds is out of
//! reach; the rules that rest on this are nets with a known mesh, not proofs.

/// The code with the contents of comments, strings and characters replaced by spaces.
pub(crate) fn without_words(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < text.len() {
        let end = end_of_words(&text, at);
        if end == at {
            code.push(text[at]);
            at += 1;
        } else {
            code.extend(text[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself where none begins there.
fn end_of_words(text: &[char], at: usize) -> usize {
    let next = |offset: usize| text.get(at + offset).copied().unwrap_or('\0');
    let follows_name = at > 0 && is_name(text[at - 1]);
    match (text[at], next(1)) {
        ('/', '/') => (at..text.len()).find(|&i| text[i] == '\n').unwrap_or(text.len()),
        ('/', '*') => end_of_block_comment(text, at),
        ('"', _) => end_of_string(text, at + 1),
        ('b' | 'c', '"') if !follows_name => end_of_string(text, at + 2),
        ('r', '"' | '#') if !follows_name => end_of_raw_string(text, at, at + 1),
        ('b' | 'c', 'r') if !follows_name => end_of_raw_string(text, at, at + 2),
        // A lifetime has no closing quote right after its first character.
        ('\'', '\\') => (at + 3..text.len()).find(|&i| text[i] == '\'').map_or(text.len(), |i| i + 1),
        ('\'', _) if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn end_of_block_comment(text: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    text.len()
}

fn end_of_string(text: &[char], mut i: usize) -> usize {
    while i < text.len() {
        match text[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    text.len()
}

/// `hashes` is where the `#` signs of `r#"…"#` begin. A raw name such as `r#type` is no string and ends at once.
fn end_of_raw_string(text: &[char], at: usize, hashes: usize) -> usize {
    let count = text[hashes.min(text.len())..].iter().take_while(|&&c| c == '#').count();
    let start = hashes + count;
    if text.get(start) != Some(&'"') {
        return at;
    }
    let closes = |i: &usize| text[*i] == '"' && text[i + 1..].iter().take_while(|&&c| c == '#').count() >= count;
    (start + 1..text.len()).find(closes).map_or(text.len(), |i| i + 1 + count)
}

/// Code without words, and without the items that only tests see: those after a `#[cfg(test)]`.
pub(crate) fn without_tests(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut code = without_words(source);
    let mut from = 0;
    while let Some(start) = code[from..].find(MARK).map(|i| from + i) {
        let end = end_of_item(&code, start + MARK.len());
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
        from = start + blank.len();
    }
    code
}

/// The end of the item that begins at `at`: its closing brace, or its semicolon where it has no braces.
fn end_of_item(code: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (i, c) in code[at..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + i + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + i + 1,
            _ => {}
        }
    }
    code.len()
}

/// Whether a character can be part of a name.
pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `code` has `phrase` at a place where no name goes on to its left or right.
pub(crate) fn has_phrase(code: &str, phrase: &str) -> bool {
    code.match_indices(phrase).any(|(i, _)| {
        let left = code[..i].chars().next_back().is_some_and(is_name) && phrase.starts_with(is_name);
        let right = code[i + phrase.len()..].chars().next().is_some_and(is_name) && phrase.ends_with(is_name);
        !left && !right
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let source = r####"a("x // y"); // unsafe
/* b /* c */ d */ let e = 'f'; fn g<'h>(i: &'h str) -> char { '\'' }
let j = r#"k "l" "#; let r#type = b"m\"n"; let o = br"p";"####;
        let code = without_words(source);
        assert_eq!(code.lines().count(), source.lines().count());
        for word in ["x", "unsafe", "b", "c", "d", "f", "k", "l", "m", "n", "p"] {
            assert!(!has_phrase(&code, word), "{word} in {code}");
        }
        for word in ["a", "e", "g<'h>", "i: &'h str", "char", "j", "type", "o"] {
            assert!(has_phrase(&code, word), "{word} not in {code}");
        }
    }

    #[test]
    fn tests_are_left_out_and_what_follows_is_not() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { c(); }\n}\nfn d() {}\n#[cfg(test)]\nuse e;\nfn f() {}\n";
        let code = without_tests(source);
        assert_eq!(code.lines().count(), source.lines().count());
        for (word, stays) in [("a", true), ("b", false), ("c", false), ("d", true), ("e", false), ("f", true)] {
            assert_eq!(has_phrase(&code, word), stays, "{word} in {code}");
        }
    }

    #[test]
    fn a_phrase_is_whole_names() {
        assert!(has_phrase("x.print!(1)", "print!"));
        assert!(!has_phrase("eprint!(1)", "print!"));
        assert!(!has_phrase("unsafe_code", "unsafe"));
    }
}
