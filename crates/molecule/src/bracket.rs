//! Atoms in brackets: `[13C@@H2+:1]`.

use crate::element::Element;

/// What stands between two brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BracketAtom {
    pub(crate) element: Element,
    pub(crate) aromatic: bool,
    pub(crate) hydrogens: u8,
    pub(crate) charge: i8,
}

/// How far a text between brackets goes.
pub(crate) enum Bracket {
    /// It is an atom as it stands.
    Whole(BracketAtom),
    /// It is none yet; more may make it one.
    Begun,
    /// Nothing makes it one.
    Broken,
}

/// Digits of an isotope and of an atom class.
const MOST_DIGITS: usize = 4;
/// The largest charge either way.
const MOST_CHARGE: i8 = 15;

/// Reads what follows `[`, without the closing bracket.
pub(crate) fn read(text: &[u8]) -> Bracket {
    let Ok(text) = std::str::from_utf8(text) else { return Bracket::Broken };
    let isotope = text.bytes().take_while(u8::is_ascii_digit).count();
    if isotope > MOST_DIGITS {
        return Bracket::Broken;
    }
    let rest = &text[isotope..];
    // The longest symbol that there is: `[Sc]` is scandium, `[nH]` a nitrogen.
    let found = [2, 1].into_iter().find_map(|length| Some((rest.get(..length)?, Element::of(rest.get(..length)?)?)));
    let Some((symbol, (element, aromatic))) = found else {
        return if Element::begins(rest) { Bracket::Begun } else { Bracket::Broken };
    };
    let mut rest = &rest[symbol.len()..];
    if let Some(behind) = rest.strip_prefix('@') {
        rest = behind.strip_prefix('@').unwrap_or(behind);
    }
    let mut hydrogens = 0;
    if let Some(behind) = rest.strip_prefix('H') {
        let digit = behind.bytes().next().filter(u8::is_ascii_digit);
        hydrogens = digit.map_or(1, |digit| digit - b'0');
        rest = &behind[usize::from(digit.is_some())..];
    }
    let mut charge = 0i8;
    for (sign, one) in [('+', 1i8), ('-', -1)] {
        let Some(behind) = rest.strip_prefix(sign) else { continue };
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        (charge, rest) = match (digits, behind.strip_prefix(sign)) {
            (0, Some(behind)) => (2 * one, behind),
            (0, None) => (one, behind),
            (1 | 2, _) => (one * behind[..digits].parse::<i8>().unwrap_or(i8::MAX), &behind[digits..]),
            _ => return Bracket::Broken,
        };
        break;
    }
    if charge.abs() > MOST_CHARGE {
        return Bracket::Broken;
    }
    if let Some(class) = rest.strip_prefix(':') {
        let digits = class.bytes().take_while(u8::is_ascii_digit).count();
        if digits != class.len() || digits > MOST_DIGITS {
            return Bracket::Broken;
        }
        if class.is_empty() {
            return Bracket::Begun;
        }
        rest = "";
    }
    match rest {
        "" => Bracket::Whole(BracketAtom { element, aromatic, hydrogens, charge }),
        _ => Bracket::Broken,
    }
}
