//! Atoms and bonds, and what makes a molecule of them.

use crate::aromatic;
use crate::element::Element;
use crate::error::{SmilesError, SmilesErrorKind};
use crate::reader::SmilesReader;
use petgraph::unionfind::UnionFind;

/// An atom as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Atom {
    pub(crate) element: Element,
    pub(crate) aromatic: bool,
    /// Written in brackets: it has the hydrogens that it says and no others.
    pub(crate) bracket: bool,
    pub(crate) hydrogens: u8,
    pub(crate) charge: i8,
}

impl Atom {
    /// The most bonds that it can have, hydrogens counted; `None` where there is no limit.
    pub(crate) fn most_bonds(&self) -> Option<u8> {
        self.element.valences(self.charge).and_then(|all| all.last().copied())
    }

    /// The error of an atom that has more.
    pub(crate) fn overfull(&self) -> SmilesErrorKind {
        SmilesErrorKind::Valence { element: self.element.symbol(), most: self.most_bonds().unwrap_or(u8::MAX) }
    }

    /// A neutral nitrogen, which may be written with five bonds: nitro groups are.
    fn is_neutral_nitrogen(&self) -> bool {
        self.element == Element::N && self.charge == 0
    }

    /// The most bonds that it may be written with.
    pub(crate) fn most_written(&self) -> Option<u8> {
        if self.is_neutral_nitrogen() { Some(5) } else { self.most_bonds() }
    }
}

/// The order of a bond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Single,
    Double,
    Triple,
    Quadruple,
    /// Aromatic if both atoms are and the bond is part of a ring, else single.
    Unwritten,
    /// The same, but written, `:`, which only aromatic atoms may have.
    Aromatic,
}

impl Order {
    /// The bonds that it counts for at least.
    pub(crate) fn at_least(self) -> u8 {
        match self {
            Self::Single | Self::Unwritten | Self::Aromatic => 1,
            Self::Double => 2,
            Self::Triple => 3,
            Self::Quadruple => 4,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bond {
    pub(crate) ends: [usize; 2],
    pub(crate) order: Order,
}

/// Atoms and bonds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) atoms: Vec<Atom>,
    pub(crate) bonds: Vec<Bond>,
    /// Bonds of each atom, each counted as its order says at least, and its hydrogens.
    bonded: Vec<u8>,
}

impl Graph {
    /// Adds an atom and returns its number.
    pub(crate) fn add(&mut self, atom: Atom) -> Result<usize, SmilesErrorKind> {
        self.atoms.push(atom);
        self.bonded.push(atom.hydrogens);
        self.require_room(self.atoms.len() - 1)?;
        Ok(self.atoms.len() - 1)
    }

    /// Bonds two atoms that are not bonded yet.
    pub(crate) fn bond(&mut self, ends: [usize; 2], order: Order) -> Result<(), SmilesErrorKind> {
        if order == Order::Aromatic && !ends.iter().all(|end| self.atoms[*end].aromatic) {
            return Err(SmilesErrorKind::Unexpected(b':'));
        }
        self.bonds.push(Bond { ends, order });
        for end in ends {
            self.bonded[end] = self.bonded[end].saturating_add(order.at_least());
            self.require_room(end)?;
        }
        Ok(())
    }

    /// Which atoms are joined by bonds.
    pub(crate) fn parts(&self) -> UnionFind<usize> {
        let mut parts = UnionFind::new(self.atoms.len());
        self.bonds.iter().for_each(|bond| _ = parts.union(bond.ends[0], bond.ends[1]));
        parts
    }

    pub(crate) fn are_bonded(&self, [one, other]: [usize; 2]) -> bool {
        self.bonds.iter().any(|bond| bond.ends == [one, other] || bond.ends == [other, one])
    }

    /// Bonds that an atom has so far, with its hydrogens.
    pub(crate) fn bonded(&self, atom: usize) -> u8 {
        self.bonded[atom]
    }

    fn require_room(&self, atom: usize) -> Result<(), SmilesErrorKind> {
        self.require_room_for(atom, 0)
    }

    /// Whether an atom can have so many more bonds.
    pub(crate) fn require_room_for(&self, atom: usize, more: u8) -> Result<(), SmilesErrorKind> {
        let written = self.atoms[atom];
        match written.most_written() {
            Some(most) if self.bonded[atom].saturating_add(more) > most => Err(written.overfull()),
            _ => Ok(()),
        }
    }

    /// Whether atoms and bonds are a molecule.
    pub(crate) fn check(&self) -> Result<(), SmilesErrorKind> {
        let mut charged = self.clone();
        charged.separate_charges();
        let aromatic = aromatic::bonds(&charged)?;
        for (number, atom) in charged.atoms.iter().enumerate() {
            if atom.most_bonds().is_some_and(|most| charged.bonded[number] > most) {
                return Err(atom.overfull());
            }
        }
        aromatic::require_kekule(&charged, &aromatic)
    }

    /// Writes nitrogen of five bonds with charges, as RDKit reads it: N(=O)=O as [N+](=O)[O-], N=N#N as N=[N+]=[N-].
    fn separate_charges(&mut self) {
        for number in 0..self.atoms.len() {
            // An aromatic nitrogen has one more bond in its ring than is written.
            let most = 5 - u8::from(self.atoms[number].aromatic);
            if !self.atoms[number].is_neutral_nitrogen() || self.bonded[number] != most {
                continue;
            }
            let neighbour = |bond: &Bond| match bond.ends {
                [one, other] if one == number => Some(other),
                [one, other] if other == number => Some(one),
                _ => None,
            };
            let gives = |bond: &Bond| {
                neighbour(bond).is_some_and(|other| {
                    let atom = self.atoms[other];
                    let element = atom.element;
                    atom.charge == 0
                        && self.bonded[other] == bond.order.at_least()
                        && (element == Element::O && bond.order == Order::Double
                            || element == Element::N && bond.order == Order::Triple)
                })
            };
            let Some(place) = self.bonds.iter().position(gives) else { continue };
            let other = neighbour(&self.bonds[place]).unwrap_or(number);
            let bond = &mut self.bonds[place];
            bond.order = if bond.order == Order::Triple { Order::Double } else { Order::Single };
            for (end, charge) in [(number, 1), (other, -1)] {
                self.atoms[end].charge = charge;
                self.bonded[end] -= 1;
            }
        }
    }
}

/// A molecule.
#[derive(Debug, Clone)]
pub struct Molecule {
    atoms: usize,
    rings: usize,
    parts: usize,
}

impl Molecule {
    /// Reads a SMILES text.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(text: &str) -> Result<Self, SmilesError> {
        let mut reader = SmilesReader::new();
        for (at, byte) in text.bytes().enumerate() {
            reader.push(byte).map_err(|kind| SmilesError { at, kind })?;
        }
        reader.molecule().map_err(|kind| SmilesError { at: text.len(), kind })
    }

    pub(crate) fn of(graph: &Graph) -> Self {
        let (atoms, bonds, joined) = (graph.atoms.len(), graph.bonds.len(), graph.parts());
        let parts = (0..atoms).filter(|atom| joined.find(*atom) == *atom).count();
        Self { atoms, rings: bonds + parts - atoms, parts }
    }

    /// The atoms that are written, hydrogens in brackets not counted with the atom that they are written at.
    pub fn atoms(&self) -> usize {
        self.atoms
    }

    /// Rings: bonds beyond those of a tree.
    pub fn rings(&self) -> usize {
        self.rings
    }

    /// Parts that no bond joins: 2 in `[Na+].[Cl-]`, and 1 in `C1.C1`, whose ring number joins what stands around the dot.
    pub fn parts(&self) -> usize {
        self.parts
    }
}
