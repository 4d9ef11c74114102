//! The byte-level alphabet: each of the 256 bytes written as one printable character.
//!
//! Byte-level BPE keeps its tokens in `tokenizer.json` as text, so bytes that are blank, invisible or not text at all
//! need a visible stand-in. The convention is GPT-2's: the 188 printable Latin-1 bytes stand for themselves, and the
//! other 68 take the characters from U+0100 on, in the order of the bytes. A space is therefore `Ġ`, a line feed `Ċ`.

/// Whether a byte stands for itself.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The byte that a character of the alphabet stands for; `None` for a character outside it.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printable(byte).then_some(byte);
    }
    let index = usize::try_from(code - 0x100).ok()?;
    (0..=u8::MAX).filter(|&byte| !is_printable(byte)).nth(index)
}

/// The bytes that a whole token stands for; `None` where any of its characters is outside the alphabet.
pub(crate) fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_the_one_that_the_tokenizers_crate_writes() {
        let alphabet = ByteLevel::alphabet();
        let bytes: BTreeSet<u8> = alphabet.iter().filter_map(|&character| byte_of(character)).collect();
        assert_eq!((alphabet.len(), bytes.len()), (256, 256));
    }

    #[test]
    fn known_stand_ins() {
        for (character, byte) in [('Ġ', b' '), ('Ċ', b'\n'), ('Ā', 0), ('a', b'a'), ('ÿ', 0xFF), ('Ń', 0xAD)] {
            assert_eq!(byte_of(character), Some(byte), "{character}");
        }
        for outside in [' ', '\n', '\u{AD}', 'ń', '→', '😀'] {
            assert_eq!(byte_of(outside), None, "{outside:?}");
        }
        assert_eq!(bytes_of("Ġfox"), Some(b" fox".to_vec()));
    }
}
