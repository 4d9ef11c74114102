//! Aromatic rings: which bonds are aromatic, and whether single and double bonds can alternate in them.
//!
//! Each aromatic atom that lacks one bond has to have a double bond within the rings. Such bonds are a perfect matching of
//! these atoms, which Edmonds' algorithm finds (Gabow 1976).

use crate::element::Element;
use crate::error::SmilesErrorKind;
use crate::graph::{Bond, Graph, Order};
use petgraph::graph::{NodeIndex, UnGraph};

/// For each bond whether it is aromatic: between aromatic atoms, of no written order, and in a ring.
pub(crate) fn bonds(graph: &Graph) -> Result<Vec<bool>, SmilesErrorKind> {
    if graph.atoms.iter().all(|atom| !atom.aromatic) {
        return Ok(vec![false; graph.bonds.len()]);
    }
    let in_ring = in_rings(graph);
    let mut ringed = vec![false; graph.atoms.len()];
    for (bond, _) in graph.bonds.iter().zip(&in_ring).filter(|(_, in_ring)| **in_ring) {
        bond.ends.into_iter().for_each(|end| ringed[end] = true);
    }
    if graph.atoms.iter().zip(ringed).any(|(atom, ringed)| atom.aromatic && !ringed) {
        return Err(SmilesErrorKind::AromaticOutsideRing);
    }
    let both = |ends: [usize; 2]| ends.into_iter().all(|end| graph.atoms[end].aromatic);
    let aromatic = graph.bonds.iter().zip(in_ring);
    Ok(aromatic
        .map(|(bond, in_ring)| in_ring && matches!(bond.order, Order::Unwritten | Order::Aromatic) && both(bond.ends))
        .collect())
}

/// For each bond whether it is part of a ring: whether its atoms stay joined without it. One walk in depth finds the
/// bridges, which are not (Tarjan 1974).
fn in_rings(graph: &Graph) -> Vec<bool> {
    let count = graph.atoms.len();
    let mut at = vec![Vec::new(); count];
    for (number, bond) in graph.bonds.iter().enumerate() {
        let [one, other] = bond.ends;
        at[one].push((other, number));
        at[other].push((one, number));
    }
    let (mut met, mut low, mut clock) = (vec![0usize; count], vec![0usize; count], 0);
    let mut in_ring = vec![true; graph.bonds.len()];
    for root in 0..count {
        if met[root] > 0 {
            continue;
        }
        // Each entry is an atom, the bond that led to it, and how many of its bonds were followed.
        let mut walk = vec![(root, usize::MAX, 0)];
        while let Some((atom, came, followed)) = walk.pop() {
            if followed == 0 {
                clock += 1;
                (met[atom], low[atom]) = (clock, clock);
            }
            let Some(&(next, bond)) = at[atom].get(followed) else {
                if let Some(&(parent, ..)) = walk.last() {
                    low[parent] = low[parent].min(low[atom]);
                    in_ring[came] = low[atom] <= met[parent];
                }
                continue;
            };
            walk.push((atom, came, followed + 1));
            if bond == came {
                continue;
            }
            match met[next] {
                0 => walk.push((next, bond, 0)),
                met => low[atom] = low[atom].min(met),
            }
        }
    }
    in_ring
}

/// Aromatic bonds that an atom can have: three rings may share it.
const MOST_AROMATIC: usize = 3;

/// Whether the aromatic atoms that lack a bond can be joined in pairs.
pub(crate) fn require_kekule(graph: &Graph, aromatic: &[bool]) -> Result<(), SmilesErrorKind> {
    let mut aromatic_bonds = vec![0; graph.atoms.len()];
    for (bond, _) in graph.bonds.iter().zip(aromatic).filter(|(_, aromatic)| **aromatic) {
        bond.ends.into_iter().for_each(|end| aromatic_bonds[end] += 1);
    }
    if graph
        .atoms
        .iter()
        .enumerate()
        .any(|(number, atom)| atom.aromatic && aromatic_bonds[number] == 0 && !stands_alone(graph, number))
    {
        return Err(SmilesErrorKind::Kekule);
    }
    if let Some(atom) = aromatic_bonds.iter().position(|count| *count > MOST_AROMATIC) {
        return Err(graph.atoms[atom].overfull());
    }
    let mut pairs = UnGraph::<(), ()>::default();
    let lacks = |atom: usize| aromatic_bonds[atom] > 0 && lacks_a_bond(graph, (atom, aromatic_bonds[atom]));
    let mut node = |atom: usize| lacks(atom).then(|| pairs.add_node(()));
    let nodes: Vec<Option<NodeIndex>> = (0..graph.atoms.len()).map(&mut node).collect();
    for (bond, _) in graph.bonds.iter().zip(aromatic).filter(|(_, aromatic)| **aromatic) {
        if let [Some(one), Some(other)] = bond.ends.map(|end| nodes[end]) {
            pairs.add_edge(one, other, ());
        }
    }
    match petgraph::algo::maximum_matching(&pairs).is_perfect() {
        true => Ok(()),
        false => Err(SmilesErrorKind::Kekule),
    }
}

/// Whether an aromatic atom without aromatic bonds is read as any other: in no brackets, beside no aromatic atom. This is
/// how RDKit reads `C1CCcCC1`.
fn stands_alone(graph: &Graph, number: usize) -> bool {
    let beside = |bond: &&Bond| bond.ends.contains(&number) && bond.ends.iter().all(|end| graph.atoms[*end].aromatic);
    !graph.atoms[number].bracket && !graph.bonds.iter().filter(beside).any(|bond| bond.order == Order::Unwritten)
}

/// Whether an aromatic atom, with its count of aromatic bonds, has one bond less than its valence, with each bond of its ring
/// counted once.
fn lacks_a_bond(graph: &Graph, (number, aromatic_bonds): (usize, usize)) -> bool {
    let atom = graph.atoms[number];
    let Some(valences) = atom.element.valences(atom.charge).filter(|_| atom.aromatic) else { return false };
    let bonded = graph.bonded(number);
    // Only carbon has hydrogens in a ring without saying so.
    let bonded = if atom.element == Element::C && !atom.bracket { bonded.max(3) } else { bonded };
    // Sulfur, selenium and tellurium with a double bond that is written take no other.
    let is_double = |bond: &Bond| bond.ends.contains(&number) && bond.order == Order::Double;
    if matches!(atom.element.0, 16 | 34 | 52) && graph.bonds.iter().any(is_double) {
        return false;
    }
    // Nor do they take one where they have three bonds, of which only one is aromatic: RDKit reads `C1ncs1C`, not `C1ns1C`.
    if matches!(atom.element.0, 16 | 34 | 52) && bonded > 2 && aromatic_bonds < 2 {
        return false;
    }
    // Of several valences it has the smallest that holds its bonds. In brackets it may have a single electron instead of a
    // hydrogen.
    let valence = valences.iter().find(|valence| **valence >= bonded);
    valence.is_some_and(|valence| *valence == bonded + 1 || (atom.bracket && *valence == bonded + 2))
}
