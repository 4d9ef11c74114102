//! Why a text is no molecule.

/// Where and why a text is no molecule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {kind}")]
pub struct SmilesError {
    /// The byte behind which no molecule can follow, counted from 0; the length of the text where it ends too early.
    pub at: usize,
    /// What is wrong there.
    pub kind: SmilesErrorKind,
}

/// What is wrong with a text as a molecule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmilesErrorKind {
    /// A byte that no SMILES has, or not here.
    #[error("{} has no place here", byte_name(*.0))]
    Unexpected(u8),
    /// The text ends inside an atom, a number of a ring or behind a bond.
    #[error("the text ends in the middle of an atom, a ring number or a bond")]
    Unfinished,
    /// There is no atom.
    #[error("there is no atom")]
    Empty,
    /// A branch is not closed.
    #[error("a branch is open: `)` is missing")]
    OpenBranch,
    /// A ring is not closed.
    #[error("ring {0} is open: its number stands once only")]
    OpenRing(u8),
    /// The two ends of a ring bond say different orders.
    #[error("the ends of ring {0} have different bonds")]
    RingBond(u8),
    /// A ring bond joins atoms that are bonded already, or an atom with itself.
    #[error("ring {0} joins atoms that are bonded already")]
    RingTwice(u8),
    /// A dot behind which nothing can be bonded to what stands before it.
    #[error("`.` leaves a part that nothing can be bonded to: it has no open ring number, or stands in a branch")]
    Apart,
    /// An atom has more bonds than it can.
    #[error("{element} has more than {most} bonds")]
    Valence {
        /// Its element.
        element: &'static str,
        /// The most that it can have, with its charge.
        most: u8,
    },
    /// An aromatic atom is in no ring.
    #[error("an aromatic atom is in no ring")]
    AromaticOutsideRing,
    /// No alternation of single and double bonds fits the aromatic atoms.
    #[error("the aromatic rings have no Kekulé structure")]
    Kekule,
}

fn byte_name(byte: u8) -> String {
    match byte {
        b'!'..=b'~' => format!("`{}`", char::from(byte)),
        _ => format!("the byte 0x{byte:02x}"),
    }
}
