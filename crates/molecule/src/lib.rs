//! Molecules as SMILES, a line notation for chemical structures (Weininger 1988, doi 10.1021/ci00057a005; the rules are
//! those of [OpenSMILES](http://opensmiles.org/opensmiles.html)).
//!
//! [`SmilesReader`] reads a text byte by byte, and says at each byte whether a molecule can still follow as far as syntax,
//! numbers of rings and valences go. [`SmilesReader::molecule`] says whether the text so far is one: with its branches and
//! rings closed, no atom above its valence, and aromatic rings that have a Kekulé structure. The model of valences is that
//! of RDKit, whose verdict on the texts of MOSES and on broken ones is compared in `benches/science/smiles.py`.
//!
//! ```
//! use aquatint_molecule::{Molecule, SmilesError, SmilesErrorKind};
//!
//! let caffeine = Molecule::parse("Cn1cnc2c1c(=O)n(C)c(=O)n2C")?;
//! assert_eq!((caffeine.atoms(), caffeine.rings()), (14, 2));
//! let error = Molecule::parse("C(C)(C)(C)(C)C").unwrap_err();
//! assert_eq!(error.kind, SmilesErrorKind::Valence { element: "C", most: 4 });
//! # Ok::<(), SmilesError>(())
//! ```
#![forbid(unsafe_code)]

mod aromatic;
mod bracket;
mod element;
mod error;
mod graph;
mod reader;

pub use error::{SmilesError, SmilesErrorKind};
pub use graph::Molecule;
pub use reader::SmilesReader;
