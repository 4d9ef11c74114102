//! What data is, in 64 bits, by its content and not by where it lies: XXH64.
//!
//! Dates, names and places of files do not count: a copied, moved or freshly cloned corpus is the same corpus.
//! Reference: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>

use std::hash::Hasher;
use twox_hash::XxHash64;

/// A hash over parts, each with its length, so that no two lists of parts look alike.
#[derive(Default)]
pub(crate) struct Fingerprint(XxHash64);

impl Fingerprint {
    /// Bytes of the part that is being written.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The end of a part of so many bytes.
    pub(crate) fn end(&mut self, length: u64) {
        self.0.write(&length.to_le_bytes());
    }

    /// A whole part.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.end(bytes.len() as u64);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

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
    fn known_answers_of_the_hash() {
        // From the reference implementation's `xxhsum -H1`.
        for (text, expected) in
            [("", 0xEF46_DB37_51D8_E999), ("a", 0xD24E_C4F1_A98C_6E5B), ("foobar", 0xA2AA_05ED_9085_AAF9)]
        {
            let mut fingerprint = Fingerprint::default();
            fingerprint.bytes(text.as_bytes());
            assert_eq!(fingerprint.finish(), expected, "{text}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| {
            let mut fingerprint = Fingerprint::default();
            parts.iter().for_each(|part| fingerprint.part(part.as_bytes()));
            fingerprint.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", ""]), of(&["ab"]));
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
