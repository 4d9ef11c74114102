//! Reading a text byte by byte.

use crate::bracket::{self, Bracket};
use crate::element::Element;
use crate::error::SmilesErrorKind;
use crate::graph::{Atom, Graph, Molecule, Order};
use std::borrow::Cow;

/// A text as far as it was read.
///
/// Every byte that it takes leaves a text that more bytes may make a molecule, as far as syntax, numbers of rings and
/// valences say; whether aromatic rings can be completed shows in [`SmilesReader::molecule`].
#[derive(Debug, Clone, Default)]
pub struct SmilesReader {
    graph: Graph,
    /// The atom that the next one is bonded to.
    current: Option<usize>,
    /// Atoms at which branches began that are open.
    branches: Vec<usize>,
    rings: Vec<OpenRing>,
    /// The bond that is written behind the last atom.
    bond: Option<Order>,
    /// A branch was opened, and no atom stands in it yet.
    opened: bool,
    /// Bytes of an atom or a number that may go on.
    begun: Vec<u8>,
    is_one_part: bool,
}

#[derive(Debug, Clone, Copy)]
struct OpenRing {
    number: u8,
    atom: usize,
    bond: Option<Order>,
}

impl SmilesReader {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the first byte of a molecule whose atoms are all joined by bonds. A dot is taken only where an open ring number
    /// of the part before it is still to join it to what follows, as in fragment sequences (SAFE, arXiv:2310.10773):
    /// `C%10CC.O%10`. None is taken in a branch.
    pub fn of_one_part() -> Self {
        Self { is_one_part: true, ..Self::default() }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// When no molecule can begin so. The reader is of no use then.
    pub fn push(&mut self, byte: u8) -> Result<(), SmilesErrorKind> {
        match self.begun.first() {
            Some(b'[') => return self.push_in_bracket(byte),
            Some(b'%') => return self.push_in_number(byte),
            Some(_) => {
                let two = [self.begun[0], byte];
                self.begun.clear();
                match &two {
                    b"Cl" => return self.organic("Cl"),
                    b"Br" => return self.organic("Br"),
                    [one, _] => self.organic(if *one == b'C' { "C" } else { "B" })?,
                }
            }
            None => {}
        }
        match byte {
            b'C' | b'B' | b'[' => {
                self.require_room()?;
                self.begun.push(byte);
                Ok(())
            }
            b'%' => {
                self.require_atom(byte)?;
                self.begun.push(byte);
                Ok(())
            }
            b'N' | b'O' | b'P' | b'S' | b'F' | b'I' | b'b' | b'c' | b'n' | b'o' | b'p' | b's' | b'*' => {
                self.organic(char::from(byte).encode_utf8(&mut [0; 4]))
            }
            b'0'..=b'9' => {
                self.require_atom(byte)?;
                self.ring(byte - b'0')
            }
            b'-' | b'/' | b'\\' => self.bond(byte, Order::Single),
            b'=' => self.bond(byte, Order::Double),
            b'#' => self.bond(byte, Order::Triple),
            b'$' => self.bond(byte, Order::Quadruple),
            b':' => self.bond(byte, Order::Aromatic),
            b'(' => {
                let atom = self.require_atom(byte).ok().filter(|_| self.bond.is_none());
                self.branches.push(atom.ok_or(SmilesErrorKind::Unexpected(byte))?);
                self.require_room()?;
                self.opened = true;
                Ok(())
            }
            b')' if self.bond.is_none() && !self.opened && self.current.is_some() => {
                self.current = Some(self.branches.pop().ok_or(SmilesErrorKind::Unexpected(byte))?);
                Ok(())
            }
            b'.' if self.bond.is_none() && !self.opened && self.current.is_some() => {
                if self.is_one_part && !self.can_be_joined() {
                    return Err(SmilesErrorKind::Apart);
                }
                self.current = None;
                Ok(())
            }
            _ => Err(SmilesErrorKind::Unexpected(byte)),
        }
    }

    /// Whether a byte is one that may follow the text so far, as far as that shows without reading it: what is denied here,
    /// [`SmilesReader::push`] refuses.
    pub fn may_follow(&self, byte: u8) -> bool {
        match self.begun.first() {
            Some(b'[') => byte.is_ascii_alphanumeric() || b"]@+-:*".contains(&byte),
            Some(b'%') => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || b"CB[%NOPSFIbcnops*-/\\=#$:().lr".contains(&byte),
        }
    }

    /// The molecule of the text so far.
    ///
    /// # Errors
    /// Why the text is none as it stands; more bytes may make it one.
    pub fn molecule(&self) -> Result<Molecule, SmilesErrorKind> {
        let last = match self.begun.as_slice() {
            [] if self.graph.atoms.is_empty() => return Err(SmilesErrorKind::Empty),
            [] if self.bond.is_none() && self.current.is_some() => None,
            [b'C'] => Some("C"),
            [b'B'] => Some("B"),
            _ => return Err(SmilesErrorKind::Unfinished),
        };
        if !self.branches.is_empty() {
            return Err(SmilesErrorKind::OpenBranch);
        }
        if let Some(ring) = self.rings.first() {
            return Err(SmilesErrorKind::OpenRing(ring.number));
        }
        let graph = match last {
            Some(symbol) => {
                let mut ended = self.clone();
                ended.organic(symbol)?;
                Cow::Owned(ended.graph)
            }
            None => Cow::Borrowed(&self.graph),
        };
        graph.check()?;
        Ok(Molecule::of(&graph))
    }

    /// What stands of an atom or a ring number that more bytes may go on with: `[nH`, `%1`, also a `C` that may become `Cl`.
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// Whether the atom that the next one is bonded to is aromatic, and no ring has it or can close around it: a ring number
    /// has to be opened, best here.
    pub fn lacks_ring(&self) -> bool {
        self.current.is_some_and(|current| {
            let bonds = self.graph.bonds.iter().filter(|bond| bond.ends.contains(&current));
            self.begun.is_empty() && self.graph.atoms[current].aromatic && bonds.count() < 2 && !self.has_open_ring()
        })
    }

    /// Whether the atom that the next one is bonded to is aromatic and has three bonds, those of open ring numbers included:
    /// hardly any holds a fourth.
    pub fn is_full(&self) -> bool {
        self.current.is_some_and(|current| {
            let bonds = self.graph.bonds.iter().filter(|bond| bond.ends.contains(&current)).count();
            let rings = self.rings.iter().filter(|ring| ring.atom == current).count();
            self.begun.is_empty() && self.graph.atoms[current].aromatic && bonds + rings > 2
        })
    }

    /// Numbers of rings that are open.
    pub fn open_rings(&self) -> impl Iterator<Item = u8> {
        self.rings.iter().map(|ring| ring.number)
    }

    /// Branches that are open.
    pub fn open_branches(&self) -> usize {
        self.branches.len()
    }

    fn push_in_bracket(&mut self, byte: u8) -> Result<(), SmilesErrorKind> {
        if byte == b']' {
            let Bracket::Whole(atom) = bracket::read(&self.begun[1..]) else {
                return Err(SmilesErrorKind::Unexpected(byte));
            };
            self.begun.clear();
            let bracket::BracketAtom { element, aromatic, hydrogens, charge } = atom;
            return self.atom(Atom { element, aromatic, bracket: true, hydrogens, charge });
        }
        self.begun.push(byte);
        match bracket::read(&self.begun[1..]) {
            Bracket::Broken => Err(SmilesErrorKind::Unexpected(byte)),
            Bracket::Begun | Bracket::Whole(_) => Ok(()),
        }
    }

    fn push_in_number(&mut self, byte: u8) -> Result<(), SmilesErrorKind> {
        if !byte.is_ascii_digit() {
            return Err(SmilesErrorKind::Unexpected(byte));
        }
        match self.begun[..] {
            [_, ten] => {
                self.begun.clear();
                self.ring((ten - b'0') * 10 + byte - b'0')
            }
            _ => {
                self.begun.push(byte);
                Ok(())
            }
        }
    }

    /// An atom that stands without brackets.
    fn organic(&mut self, symbol: &str) -> Result<(), SmilesErrorKind> {
        let (element, aromatic) = Element::of(symbol).unwrap_or((Element::ANY, false));
        self.atom(Atom { element, aromatic, bracket: false, hydrogens: 0, charge: 0 })
    }

    fn atom(&mut self, atom: Atom) -> Result<(), SmilesErrorKind> {
        let number = self.graph.add(atom)?;
        let order = self.bond.take().unwrap_or(Order::Unwritten);
        if let Some(before) = self.current {
            self.graph.bond([before, number], order)?;
        }
        self.current = Some(number);
        self.opened = false;
        Ok(())
    }

    fn bond(&mut self, byte: u8, order: Order) -> Result<(), SmilesErrorKind> {
        if self.current.is_none() || self.bond.is_some() {
            return Err(SmilesErrorKind::Unexpected(byte));
        }
        self.bond = Some(order);
        self.require_room()
    }

    /// Whether the atom that the next one is bonded to has room for the bond, beside those of the rings that it opened.
    fn require_room(&self) -> Result<(), SmilesErrorKind> {
        let Some(current) = self.current else { return Ok(()) };
        let order = |bond: Option<Order>| bond.unwrap_or(Order::Unwritten).at_least();
        let of_rings = self
            .rings
            .iter()
            .filter(|ring| ring.atom == current)
            .map(|ring| order(ring.bond))
            .fold(0, u8::saturating_add);
        self.graph.require_room_for(current, of_rings.saturating_add(order(self.bond)))
    }

    /// Whether what follows a dot can be bonded to the part of the last atom: outside of branches, by an open ring number.
    fn can_be_joined(&self) -> bool {
        self.branches.is_empty() && self.has_open_ring()
    }

    /// Whether a ring number is open in the part of the last atom.
    fn has_open_ring(&self) -> bool {
        let parts = self.graph.parts();
        let last = self.graph.atoms.len().saturating_sub(1);
        self.rings.iter().any(|ring| parts.equiv(ring.atom, last))
    }

    /// The atom that a number of a ring or a branch belongs to.
    fn require_atom(&self, byte: u8) -> Result<usize, SmilesErrorKind> {
        self.current.filter(|_| !self.opened).ok_or(SmilesErrorKind::Unexpected(byte))
    }

    fn ring(&mut self, number: u8) -> Result<(), SmilesErrorKind> {
        let (Some(atom), bond) = (self.current, self.bond.take()) else { return Ok(()) };
        let Some(place) = self.rings.iter().position(|ring| ring.number == number) else {
            self.bond = bond;
            self.require_room()?;
            self.bond = None;
            self.rings.push(OpenRing { number, atom, bond });
            return Ok(());
        };
        let open = self.rings.remove(place);
        let order = match (open.bond, bond) {
            (Some(one), Some(other)) if one != other => return Err(SmilesErrorKind::RingBond(number)),
            (one, other) => one.or(other).unwrap_or(Order::Unwritten),
        };
        let ends = [open.atom, atom];
        if open.atom == atom || self.graph.are_bonded(ends) {
            return Err(SmilesErrorKind::RingTwice(number));
        }
        self.graph.bond(ends, order)
    }
}
