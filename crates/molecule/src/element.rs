//! Elements: symbols, and how many bonds an atom of each may have.

/// An element by its atomic number; 0 is an atom of any kind, `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element(pub(crate) u8);

const SYMBOLS: [&str; 119] = [
    "*", "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc",
    "Lv", "Ts", "Og",
];

/// Symbols of aromatic atoms in brackets, and their elements.
const AROMATIC: [(&str, Element); 9] = [
    ("b", Element::B),
    ("c", Element::C),
    ("n", Element::N),
    ("o", Element::O),
    ("p", Element::P),
    ("s", Element::S),
    ("se", Element(34)),
    ("as", Element(33)),
    ("te", Element(52)),
];

/// What [`BY_SYMBOL`] has where there is no such symbol.
const UNKNOWN: u8 = u8::MAX;
/// Stands in [`BY_SYMBOL`] beside the numbers of aromatic atoms; no element has a number as large.
const IS_AROMATIC: u8 = 1 << 7;
/// Second letters of a symbol, and none.
const SECONDS: usize = 27;
/// First characters: `*` to `z`.
const FIRSTS: usize = (b'z' - b'*') as usize + 1;

/// Numbers of elements by [`place`], since a symbol is looked up for each atom that is read.
const BY_SYMBOL: [u8; FIRSTS * SECONDS] = {
    let mut numbers = [UNKNOWN; FIRSTS * SECONDS];
    let mut number = 0;
    while number < SYMBOLS.len() {
        if let Some(place) = place(SYMBOLS[number].as_bytes()) {
            numbers[place] = number as u8;
        }
        number += 1;
    }
    let mut next = 0;
    while next < AROMATIC.len() {
        if let Some(place) = place(AROMATIC[next].0.as_bytes()) {
            numbers[place] = AROMATIC[next].1.0 | IS_AROMATIC;
        }
        next += 1;
    }
    numbers
};

/// Where a symbol stands in [`BY_SYMBOL`]; `None` where it cannot be one.
const fn place(symbol: &[u8]) -> Option<usize> {
    let (first, second) = match *symbol {
        [first] => (first, 0),
        [first, second @ b'a'..=b'z'] => (first, (second - b'a') as usize + 1),
        _ => return None,
    };
    match first {
        b'*'..=b'z' => Some((first - b'*') as usize * SECONDS + second),
        _ => None,
    }
}

impl Element {
    pub(crate) const ANY: Self = Self(0);
    pub(crate) const B: Self = Self(5);
    pub(crate) const C: Self = Self(6);
    pub(crate) const N: Self = Self(7);
    pub(crate) const O: Self = Self(8);
    pub(crate) const P: Self = Self(15);
    pub(crate) const S: Self = Self(16);

    pub(crate) fn symbol(self) -> &'static str {
        SYMBOLS[usize::from(self.0)]
    }

    /// The element of a symbol, and whether it is aromatic.
    pub(crate) fn of(symbol: &str) -> Option<(Self, bool)> {
        let found = *BY_SYMBOL.get(place(symbol.as_bytes())?)?;
        (found != UNKNOWN).then_some((Self(found & !IS_AROMATIC), found & IS_AROMATIC != 0))
    }

    /// Whether a symbol begins so.
    pub(crate) fn begins(symbol: &str) -> bool {
        SYMBOLS.iter().chain(AROMATIC.iter().map(|(known, _)| known)).any(|known| known.starts_with(symbol))
    }

    /// The numbers of bonds that an atom of a charge may have, in rising order; `None` for an element that may have any.
    /// A charged atom has those of the neutral atom with as many electrons: N⁺ those of carbon, O⁻ those of fluorine.
    pub(crate) fn valences(self, charge: i8) -> Option<&'static [u8]> {
        if self == Self::ANY || NO_LIMIT.contains(&self.0) {
            return None;
        }
        let like = i16::from(self.0) - i16::from(charge);
        let Ok(like) = u8::try_from(like) else { return Some(&[0]) };
        if NO_LIMIT.contains(&like) {
            return None;
        }
        Some(match like {
            0 | 2 | 10 | 18 | 36 | 86 => &[0],
            1 | 9 | 17 | 35 | 55 | 87 => &[1],
            4 => &[2],
            5 | 13 | 31 | 49 => &[3],
            6 | 14 | 32 => &[4],
            7 => &[3],
            8 => &[2],
            15 | 33 | 51 | 83 => &[3, 5],
            16 | 34 | 52 | 84 => &[2, 4, 6],
            50 | 82 => &[2, 4],
            53 | 85 => &[1, 3, 5],
            54 => &[0, 2, 4, 6],
            _ => return None,
        })
    }
}

/// Alkali and alkaline earth metals from lithium and sodium on: they may have any number.
const NO_LIMIT: [u8; 9] = [3, 11, 12, 19, 20, 37, 38, 56, 88];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_found_and_nothing_else_is() {
        for (number, symbol) in (0u8..).zip(SYMBOLS) {
            assert_eq!(Element::of(symbol), Some((Element(number), false)), "{symbol}");
        }
        for (symbol, element) in AROMATIC {
            assert_eq!(Element::of(symbol), Some((element, true)), "{symbol}");
        }
        let letters = || (0..=u8::MAX).map(char::from);
        let texts = letters()
            .map(String::from)
            .chain(letters().flat_map(|one| letters().map(move |two| format!("{one}{two}"))));
        let found = texts.filter(|text| Element::of(text).is_some()).count();
        assert_eq!(found, SYMBOLS.len() + AROMATIC.len());
        for none in ["", "CL", "cl", "C ", "**", "Cll", "Q", "{", ")", "é"] {
            assert_eq!(Element::of(none), None, "{none}");
        }
    }
}
