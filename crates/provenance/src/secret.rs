//! Secret numbers: a keyed pseudo-random function of a few words.
//!
//! SipHash-2-4 (Aumasson & Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012), whose key of 128 bits is secret:
//! who sees marked texts only cannot tell its values from random ones.

use std::fmt;

/// The bytes of a key; never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What numbers are for, so that no two uses share them.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Use {
    Draw = 1,
    Offset = 2,
    Green = 3,
}

impl Secret {
    /// 64 bits for these words.
    pub(crate) fn bits(&self, of: Use, words: [u64; 2]) -> u64 {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| self.0[at + byte]));
        hash([word(0), word(8)], &[of as u64, words[0], words[1]])
    }

    /// A number in the open interval (0, 1): one of 2⁵² equally spaced.
    pub(crate) fn uniform(&self, of: Use, words: [u64; 2]) -> f64 {
        ((self.bits(of, words) >> 12) as f64 + 0.5) * (0.5f64).powi(52)
    }
}

/// SipHash-2-4 of whole words, in the order of their little-endian bytes.
fn hash(key: [u64; 2], message: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let length = (message.len() as u64 * 8) << 56;
    for &word in message.iter().chain([&length]) {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the reference implementation (vectors.h, SipHash-2-4-64): the key 00 01 … 0f, and messages that
    /// count up from 00.
    #[test]
    fn the_hash_gives_the_known_answers() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(hash(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash(key, &[key[0]]), 0x93f5_f579_9a93_2462);
        assert_eq!(hash(key, &key), 0x3f2a_cc7f_57c2_9bdb);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret([7; 16])), "Secret(…)");
    }
}
