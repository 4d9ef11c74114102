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
        // Those of most molecules are found without a search.
        if let Some(found) = match symbol {
            "C" => Some((Self::C, false)),
            "N" => Some((Self::N, false)),
            "O" => Some((Self::O, false)),
            "S" => Some((Self::S, false)),
            "F" => Some((Self(9), false)),
            "Cl" => Some((Self(17), false)),
            "c" => Some((Self::C, true)),
            "n" => Some((Self::N, true)),
            "o" => Some((Self::O, true)),
            "s" => Some((Self::S, true)),
            _ => None,
        } {
            return Some(found);
        }
        let plain =
            || (0u8..).zip(SYMBOLS).find(|(_, known)| *known == symbol).map(|(number, _)| (Self(number), false));
        let aromatic = || AROMATIC.iter().find(|(known, _)| *known == symbol).map(|(_, element)| (*element, true));
        plain().or_else(aromatic)
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
