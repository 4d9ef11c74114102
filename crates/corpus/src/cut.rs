//! Where a text may be cut without changing its tokens.
//!
//! A vocabulary trained by this project makes a run of line breaks a piece of its own, so the place after such a run is
//! a boundary of tokens whatever stands around it. Other vocabularies may merge differently there; cutting a megabyte
//! of text at a paragraph costs them a token now and then and nothing else.

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The last place in `text` behind a whole run of line breaks and before something else; never 0 or the end.
pub(crate) fn last_break(text: &[u8]) -> Option<usize> {
    text.windows(2).rposition(|pair| is_break(pair[0]) && !is_break(pair[1])).map(|index| index + 1)
}

/// Cuts `text` into parts of at most `size` bytes where it has line breaks to cut at, longer ones where it has none.
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
            last_break(&bytes[..=size]).or_else(|| first_break(bytes, size)).unwrap_or(bytes.len())
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

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_cut_is_a_boundary(text in "(é|a|\n|\r){0,60}", size in 1usize..20) {
            let cut: Vec<&str> = parts(&text, size).collect();
            prop_assert_eq!(cut.concat(), text.as_str());
            for pair in cut.windows(2) {
                prop_assert!(pair[0].ends_with(['\n', '\r']) && !pair[1].starts_with(['\n', '\r']));
            }
        }
    }
}
