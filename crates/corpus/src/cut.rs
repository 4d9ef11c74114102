//! Where a text may be cut without changing its tokens.
//!
//! A vocabulary trained by this project makes a run of line breaks a piece of its own, so the place after such a run is
//! a boundary of tokens whatever stands around it. Other vocabularies may merge differently there; cutting a megabyte
//! of text at a paragraph costs them a token now and then and nothing else. The same holds in front of the last blank
//! before a word, which belongs to the word; a text is cut there only where its lines have no end.

/// A line longer than so many times the size of a part is cut within.
const LONG_LINE: usize = 4;

/// Whether a byte is one of a line break.
pub(crate) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The last place in `text` behind a whole run of line breaks and before something else; never 0 or the end.
pub(crate) fn last_break(text: &[u8]) -> Option<usize> {
    text.windows(2).rposition(|pair| is_break(pair[0]) && !is_break(pair[1])).map(|index| index + 1)
}

/// The last place in `text` in front of a blank with a word behind it, or of a whole character where there is no such
/// blank; never 0 where the text has two characters.
pub(crate) fn last_blank(text: &[u8]) -> usize {
    let blank = text.windows(2).rposition(|pair| pair[0] == b' ' && !pair[1].is_ascii_whitespace());
    let blank = blank.filter(|&index| index > 0);
    blank.unwrap_or_else(|| {
        let continuation = text.iter().rev().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
        text.len().saturating_sub(continuation + 1)
    })
}

/// Cuts `text` into parts of at most `size` bytes where it has line breaks to cut at, longer ones where it has none,
/// but never more than four times as long: where a line is longer than that, it is cut in front of blanks.
pub(crate) fn parts(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let end = if bytes.len() <= size {
            bytes.len()
        } else {
            let long = bytes.len().min(LONG_LINE * size);
            let at_break = last_break(&bytes[..=size]).or_else(|| first_break(&bytes[..long], size));
            let at_end = || (long == bytes.len()).then_some(long);
            // Eight bytes have two characters at least, of which the first is whole.
            at_break.or_else(at_end).unwrap_or_else(|| last_blank(&bytes[..size.max(8).min(bytes.len())]))
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

/// The first place at or after `from` that [`last_break`] would accept.
fn first_break(text: &[u8], from: usize) -> Option<usize> {
    let index = text[from..].windows(2).position(|pair| is_break(pair[0]) && !is_break(pair[1]))?;
    Some(from + index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_stand_behind_whole_runs_of_breaks() {
        assert_eq!(parts("a\n\nb\ncd", 3).collect::<Vec<_>>(), ["a\n\n", "b\n", "cd"]);
        assert_eq!(parts("abcdef\ng", 3).collect::<Vec<_>>(), ["abcdef\n", "g"]);
        assert_eq!(parts("\n\n\n\n", 2).collect::<Vec<_>>(), ["\n\n\n\n"]);
        assert_eq!(last_break(b"\n"), None);
    }

    #[test]
    fn endless_lines_are_cut_in_front_of_words() {
        let text = "one two  three four five six seven eight nine ten";
        assert_eq!(parts(text, 12).collect::<Vec<_>>(), ["one two ", " three four five six seven eight nine ten"]);
        assert_eq!(last_blank("ab  é".as_bytes()), 3);
        assert_eq!(last_blank("aé".as_bytes()), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_cut_is_a_boundary(text in "(é|a|\n|\r){0,60}", size in 30usize..40) {
            let cut: Vec<&str> = parts(&text, size).collect();
            prop_assert_eq!(cut.concat(), text.as_str());
            for pair in cut.windows(2) {
                prop_assert!(pair[0].ends_with(['\n', '\r']) && !pair[1].starts_with(['\n', '\r']));
            }
        }

        #[test]
        fn no_part_is_long_and_all_together_are_the_text(text in "(é|猫| |a|\n|\u{1F600}){0,300}", size in 8usize..20) {
            let cut: Vec<&str> = parts(&text, size).collect();
            prop_assert_eq!(cut.concat(), text.as_str());
            prop_assert!(cut.iter().all(|part| !part.is_empty() && part.len() <= LONG_LINE * size));
        }
    }
}
