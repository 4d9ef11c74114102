//! Characters out of the bytes of tokens, of which one may hold a part of a character only.

/// Takes the whole characters out of some bytes; what can be none is dropped, and what may become one stays.
pub(crate) fn take_characters(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(pending) {
            Ok(whole) => {
                text.push_str(whole);
                pending.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&pending[..valid]));
                // Without a length the bytes may go on to be a character.
                let Some(broken) = error.error_len() else {
                    pending.drain(..valid);
                    return text;
                };
                pending.drain(..valid + broken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_taken_when_they_are_whole() {
        let mut pending = b"a\xc3".to_vec();
        assert_eq!(take_characters(&mut pending), "a");
        pending.extend(b"\xa4b\xff\xe2\x82");
        assert_eq!(take_characters(&mut pending), "\u{e4}b");
        assert_eq!(pending, b"\xe2\x82");
    }
}
