//! What a document is, in 64 bits, by its text: XXH64, as the fingerprints of files.

use std::hash::Hasher;
use twox_hash::XxHash64;

/// The content of a document: its text without blanks and line breaks at either end, which differ between files of
/// different formats. How the text comes in pieces does not matter.
#[derive(Default)]
pub(crate) struct DocumentHash {
    hash: XxHash64,
    /// White space that belongs to the text only if something follows.
    waiting: String,
    begun: bool,
}

impl DocumentHash {
    pub(crate) fn text(&mut self, text: &str) {
        let text = if self.begun { text } else { text.trim_start() };
        let whole = text.trim_end();
        if !whole.is_empty() {
            self.begun = true;
            self.hash.write(self.waiting.as_bytes());
            self.waiting.clear();
            self.hash.write(whole.as_bytes());
        }
        if self.begun {
            self.waiting.push_str(&text[whole.len()..]);
        }
    }

    /// The hash of what was written, which is 0 for a blank text; the next document begins.
    pub(crate) fn take(&mut self) -> u64 {
        let Self { hash, begun, .. } = std::mem::take(self);
        // One value is kept for blank texts.
        if begun { hash.finish().max(1) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(pieces: &[&str]) -> u64 {
        let mut hash = DocumentHash::default();
        pieces.iter().for_each(|piece| hash.text(piece));
        hash.take()
    }

    #[test]
    fn blank_ends_of_a_document_do_not_count_and_blank_documents_are_zero() {
        assert_eq!(of(&["A tale.\n\nOf two.\n"]), of(&["", "  A tale.\n", "\nOf two."]));
        assert_ne!(of(&["A tale."]), of(&["A  tale."]));
        assert_eq!((of(&[]), of(&[" \n", "\n"])), (0, 0));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab \n]{0,40}", at in 0usize..40) {
            let (left, right) = text.split_at(at.min(text.len()));
            prop_assert_eq!(of(&[left, right]), of(&[text.trim()]));
        }
    }
}
