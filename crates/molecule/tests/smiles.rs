//! Texts that are molecules and texts that are none; RDKit 2026.9.1 agrees with each of them unless it is said.

use aquatint_molecule::{Molecule, SmilesErrorKind as Kind, SmilesReader};
use proptest::prelude::*;

/// Molecules, with their atoms and rings.
const MOLECULES: [(&str, usize, usize); 43] = [
    ("C", 1, 0),
    ("[H]", 1, 0),
    ("[2H]C", 2, 0),
    ("[13CH4]", 1, 0),
    ("CC(=O)Oc1ccccc1C(=O)O", 13, 1),
    ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", 14, 2),
    ("C1CC1C1CC1", 6, 2),
    ("C123CC1CC2CC3", 7, 3),
    ("C%10CC%10", 3, 1),
    ("C=1CC1", 3, 1),
    ("C1CC=1", 3, 1),
    ("C(C)1CC1", 4, 1),
    ("[Na+].[Cl-]", 2, 0),
    ("C1.C1", 2, 0),
    ("[nH]1cccc1", 5, 1),
    ("o1cccc1", 5, 1),
    ("[o+]1ccccc1", 6, 1),
    ("[n-]1cccc1", 5, 1),
    ("[se]1cccc1", 5, 1),
    ("p1ccccc1", 6, 1),
    ("[cH]1ccccc1", 6, 1),
    ("[c]1ccccc1", 6, 1),
    ("c1ccc1", 4, 1),
    ("c1ccccc1c1ccccc1", 12, 2),
    ("c1cc(=O)cc1", 6, 1),
    ("c1ccn(=O)cc1", 7, 1),
    ("s1(=O)(=O)cccc1", 7, 1),
    ("c1-cc-cc-c1", 6, 1),
    ("C1ncs1C", 5, 1),
    ("c1cs(C)c1", 5, 1),
    ("Cs1ccccc1", 7, 1),
    ("C1CCcCC1", 6, 1),
    ("CN(=O)=O", 4, 0),
    ("CN=N#N", 4, 0),
    ("C[N+](C)(C)C", 5, 0),
    ("C[S+](C)C", 4, 0),
    ("[P-](F)(F)(F)(F)(F)F", 7, 0),
    ("P(C)(C)(C)(C)C", 6, 0),
    ("CS(C)(=O)=O", 5, 0),
    ("I(C)(C)C", 4, 0),
    ("N[C@@H](C)C(=O)O", 6, 0),
    ("F/C=C/F", 4, 0),
    ("[Fe+3]", 1, 0),
];

#[test]
fn molecules_are_read_with_their_atoms_and_rings() {
    for (text, atoms, rings) in MOLECULES {
        let molecule = Molecule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((molecule.atoms(), molecule.rings()), (atoms, rings), "{text}");
    }
}

#[test]
fn every_beginning_of_a_molecule_is_taken() {
    for (text, ..) in MOLECULES {
        let mut reader = SmilesReader::new();
        for (at, byte) in text.bytes().enumerate() {
            reader.push(byte).unwrap_or_else(|error| panic!("{}: {error}", &text[..=at]));
        }
    }
}

#[test]
fn what_is_said_without_reading_on_agrees_with_reading_on() {
    let mut whole = 0;
    for (text, ..) in MOLECULES {
        let mut reader = SmilesReader::new();
        for byte in text.bytes() {
            reader.push(byte).unwrap();
            whole += usize::from(reader.molecule().is_ok());
            let has_open = reader.open_branches() + reader.open_rings().count() > 0;
            assert!(reader.molecule().is_err() || !has_open, "{text}: {reader:?} has something open");
            for next in 0..=u8::MAX {
                let is_taken = reader.clone().push(next).is_ok();
                assert!(reader.may_follow(next) || !is_taken, "{text}: {} is taken at {reader:?}", char::from(next));
            }
        }
        assert!(SmilesReader::new().molecule().is_err() && !reader.may_follow(b'Q') && reader.molecule().is_ok());
    }
    assert!((100..300).contains(&whole), "{whole} beginnings are molecules");
}

#[test]
fn what_is_no_molecule_is_refused_where_it_goes_wrong() {
    let valence = |element, most| Kind::Valence { element, most };
    let cases = [
        // RDKit takes the empty text for a molecule of no atoms.
        ("", 0, Kind::Empty),
        ("(C)C", 0, Kind::Unexpected(b'(')),
        ("C()C", 2, Kind::Unexpected(b')')),
        ("C((C))C", 2, Kind::Unexpected(b'(')),
        ("CC)", 2, Kind::Unexpected(b')')),
        ("C==C", 2, Kind::Unexpected(b'=')),
        ("C(-)C", 3, Kind::Unexpected(b')')),
        ("C(1CC1)", 2, Kind::Unexpected(b'1')),
        ("C.", 2, Kind::Unfinished),
        ("C=", 2, Kind::Unfinished),
        ("C%1", 3, Kind::Unfinished),
        ("[C", 2, Kind::Unfinished),
        ("[Xx]", 2, Kind::Unexpected(b'x')),
        ("[C@@@H]", 4, Kind::Unexpected(b'@')),
        ("C(C", 3, Kind::OpenBranch),
        ("C1CC", 4, Kind::OpenRing(1)),
        ("C11", 2, Kind::RingTwice(1)),
        ("C12CCC12", 7, Kind::RingTwice(2)),
        // RDKit takes it.
        ("C=1CC#1", 6, Kind::RingBond(1)),
        ("CC(C)(C)(C)C", 11, valence("C", 4)),
        ("CN(C)(C)(C)(C)C", 14, valence("N", 3)),
        ("CN(C)(C)C", 9, valence("N", 3)),
        ("CO(C)C", 5, valence("O", 2)),
        ("F(C)C", 4, valence("F", 1)),
        ("[CH5]", 4, valence("C", 4)),
        ("C#C#C", 3, valence("C", 4)),
        ("c1cccc1", 7, Kind::Kekule),
        ("n1cccc1", 7, Kind::Kekule),
        ("c1cccccc1", 9, Kind::Kekule),
        ("c1cn2cccc2c1", 12, Kind::Kekule),
        ("C1ns1C", 6, Kind::Kekule),
        ("C1=Cs(C)n1", 10, Kind::Kekule),
        ("Cs1cccc1", 8, Kind::Kekule),
        ("cc", 2, Kind::AromaticOutsideRing),
        ("C l", 1, Kind::Unexpected(b' ')),
        ("Cé", 1, Kind::Unexpected(0xc3)),
    ];
    for (text, at, kind) in cases {
        let error = Molecule::parse(text).expect_err(text);
        assert_eq!((error.at, &error.kind), (at, &kind), "{text}: {error}");
    }
}

#[test]
fn errors_say_where_and_what() {
    let said = |text| Molecule::parse(text).unwrap_err().to_string();
    assert_eq!(said("CC)"), "at byte 2: `)` has no place here");
    assert_eq!(said("C1CC"), "at byte 4: ring 1 is open: its number stands once only");
    assert_eq!(said("C\u{1}"), "at byte 1: the byte 0x01 has no place here");
}

/// Whether a reader of molecules of one part takes a text, and it is one.
fn is_one_part(text: &str) -> bool {
    let mut reader = SmilesReader::of_one_part();
    text.bytes().all(|byte| reader.push(byte).is_ok()) && reader.molecule().is_ok()
}

#[test]
fn parts_that_ring_numbers_join_are_one() {
    let cases = [
        ("CCO", 1, true),
        ("[Na+].[Cl-]", 2, false),
        ("C1.C1", 1, true),
        ("C1.CC2.C1.C2", 2, false),
        ("C%10.CC%11.C%10%11", 1, true),
        ("CC%10=O.c1ccc%11cc1.N%10%11", 1, true),
        ("C=%10C.c1%11c%12cccc1.C%10%11.O%12", 1, true),
        // A number of the fragment's own, which it closes, joins nothing.
        ("C1CC1.C1CC1", 2, false),
        ("C1CC12.C1CC12", 1, true),
        // RDKit reads one part, too; fragments in branches are none of a sequence.
        ("C(C1.C1)C", 1, false),
    ];
    for (text, parts, is_one) in cases {
        assert_eq!((Molecule::parse(text).unwrap().parts(), is_one_part(text)), (parts, is_one), "{text}");
    }
    let mut reader = SmilesReader::of_one_part();
    "CC".bytes().for_each(|byte| reader.push(byte).unwrap());
    assert_eq!(reader.push(b'.'), Err(Kind::Apart));
}

/// Fragments with open ring numbers, one after another.
fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "C1",
        "C2",
        "C12",
        "N%10",
        "O%10C1",
        "C(C2)%10",
        "C(C2)C%11",
        "c3ccccc3",
        "c3ccc1cc3",
        "CC",
        "C%10%11",
        "C(C2)(C1)C%10",
    ]);
    prop::collection::vec(fragment, 1..7).prop_map(|parts| parts.join("."))
}

/// Atoms, bonds, branches and ring numbers in any order.
fn symbols() -> impl Strategy<Value = String> {
    let symbol = prop::sample::select(vec![
        "C", "N", "O", "c", "n", "o", "s", "[nH]", "Cl", "Br", "S", "(", ")", "1", "2", "=", "#", "-", ".", "[O-]",
        "%11", "F",
    ]);
    prop::collection::vec(symbol, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    /// Whatever the text: a molecule has nothing open and no more rings than bonds, and a refusal is within the text. What a
    /// reader refuses, no other end makes a molecule.
    #[test]
    fn any_text_is_a_molecule_or_refused_within_it(text in symbols(), end in symbols()) {
        match Molecule::parse(&text) {
            Ok(molecule) => {
                let mut reader = SmilesReader::new();
                text.bytes().for_each(|byte| reader.push(byte).unwrap());
                prop_assert_eq!((reader.open_branches(), reader.open_rings().count()), (0, 0));
                prop_assert!(molecule.atoms() > 0 && molecule.rings() < text.len());
            }
            Err(error) => {
                prop_assert!(error.at <= text.len());
                if error.at < text.len() {
                    let other = text[..=error.at].to_owned() + &end;
                    prop_assert!(Molecule::parse(&other).is_err(), "{}", other);
                }
            }
        }
    }

    /// A reader of molecules of one part takes those, and refuses where no end makes one of what stands there.
    #[test]
    fn fragments_are_refused_where_nothing_can_join_them(text in fragments(), end in fragments()) {
        let has_one = |text: &str| Molecule::parse(text).is_ok_and(|molecule| molecule.parts() == 1);
        prop_assert_eq!(is_one_part(&text), has_one(&text));
        let mut reader = SmilesReader::of_one_part();
        if let Some(at) = text.bytes().position(|byte| reader.push(byte).is_err()) {
            prop_assert!(!has_one(&format!("{}{end}", &text[..=at])), "{} {}", &text[..=at], end);
        }
    }

    /// Two molecules beside each other are a molecule, and a ring number may be used again.
    #[test]
    fn molecules_stand_beside_each_other(one in prop::sample::select(MOLECULES.to_vec()), other in prop::sample::select(MOLECULES.to_vec())) {
        let both = Molecule::parse(&format!("{}.{}", one.0, other.0)).unwrap();
        prop_assert_eq!((both.atoms(), both.rings()), (one.1 + other.1, one.2 + other.2));
        let parts = |text| Molecule::parse(text).unwrap().parts();
        prop_assert_eq!(both.parts(), parts(one.0) + parts(other.0));
    }
}
