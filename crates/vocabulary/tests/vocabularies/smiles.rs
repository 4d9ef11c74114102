//! The vocabulary of molecules: a token is what a chemist reads as one thing, and nothing is lost.

use aquatint_vocabulary::{PreTokenizer, Role, Vocabulary, VocabularyError};
use proptest::prelude::*;
use std::sync::OnceLock;

/// Molecules, of which every symbol stands here twice or more.
const MOLECULES: [&str; 6] = [
    "Cc1c(Cl)cccc1Nc1ccc(Br)cc1C(=O)O",
    "CC[C@@H]1CN(c2nc[nH]c2C#N)C[C@@H]1Cl",
    "O=C1c2cc%10c3c(c2CC1)[nH]cc3C%10Br",
    "C%10CC[N+](C)(C)CC%10CC/C=C\\C",
    "O=S(=O)(c1ccsc1)[N+]1(C)CCOCC1",
    "C/C=C\\c1coc(F)n1",
];

fn trained() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    let texts = || MOLECULES.into_iter().map(str::to_owned);
    VOCABULARY.get_or_init(|| Vocabulary::train_cut_by(PreTokenizer::Smiles, texts(), 400).unwrap())
}

fn pieces(vocabulary: &Vocabulary, text: &str) -> Vec<String> {
    vocabulary.encode(text).unwrap().iter().map(|&id| vocabulary.token_text(id)).collect()
}

#[test]
fn atoms_bonds_rings_and_branches_are_a_token_each() {
    let of = |text| pieces(trained(), text);
    assert_eq!(of("C1Cc2ccccc2[nH]1").join(" "), "C 1 C c 2 c c c c c 2 [nH] 1");
    assert_eq!(of("CC[C@@H](Cl)C(Br)=C#N").join(" "), "C C [C@@H] ( Cl ) C ( Br ) = C # N");
    assert_eq!(of("C%10CC%10[N+]").join(" "), "C %10 C C %10 [N+]");
    assert_eq!(of("F/C=C\\F").join(" "), "F / C = C \\ F");
    // A sequence of fragments, the first with a ring of its own behind the number of the bond.
    assert_eq!(of("C1CCN%101.C=%10").join(" "), "C 1 C C N %10 1 . C = %10");
    // Two atoms never make one token, however often they stand together, and no blank belongs to an atom.
    let again = Vocabulary::train_cut_by(PreTokenizer::Smiles, std::iter::once("CCOc Sn cn".repeat(50)), 400).unwrap();
    assert_eq!(pieces(&again, "CCOc Sn").join("|"), "C|C|O|c| |S|n");
    // An atom in brackets that is not in the texts stays in more than one token.
    let rare = of("[13CH3]");
    assert!(rare.len() > 1 && rare.concat() == "[13CH3]", "{rare:?}");
    let prose = Vocabulary::train(MOLECULES.into_iter().map(str::to_owned), 400).unwrap();
    assert!(pieces(&prose, "c1ccccc1").len() < 8, "prose joins atoms");
}

#[test]
fn a_file_of_it_is_read_as_it_was_trained() {
    let read = Vocabulary::from_json(&trained().to_json().unwrap()).unwrap();
    for text in MOLECULES {
        assert_eq!(read.encode(text).unwrap(), trained().encode(text).unwrap(), "{text}");
    }
    assert_eq!((read.role(Role::Mask), read.role(Role::End)), (Some(0), Some(1)));
    let file: serde_json::Value = serde_json::from_slice(&trained().to_json().unwrap()).unwrap();
    assert_eq!(file["model"]["type"], "BPE");
    assert_eq!(file["pre_tokenizer"]["pretokenizers"][0]["type"], "Split");
    assert_eq!(file["decoder"]["type"], "ByteLevel");
}

#[test]
fn rules_have_names() {
    for rule in PreTokenizer::ALL {
        assert_eq!(rule.to_string().parse::<PreTokenizer>().unwrap(), rule);
    }
    let error = "selfies".parse::<PreTokenizer>().unwrap_err();
    assert!(matches!(error, VocabularyError::PreTokenizer { .. }));
    assert_eq!(error.to_string(), "unknown pre-tokenizer `selfies`; allowed: prose, smiles");
}

proptest! {
    #[test]
    fn any_text_survives(text in any::<String>()) {
        prop_assert_eq!(trained().decode(&trained().encode(&text).unwrap()), text);
    }

    #[test]
    fn broken_molecules_survive_and_can_be_cut_after_line_breaks(
        head in "([CNOcn]|Cl|Br|\\[nH\\]?|\\[|\\]|%1?0?|[()=#1-9@+-]|é){0,20}",
        breaks in "[\r\n]{1,3}",
        tail in "([CNOcn]|Cl|Br|\\[nH\\]?|\\]|%10|[()=#1-9]){1,20}",
    ) {
        let head = format!("{head}{breaks}");
        let whole = format!("{head}{tail}");
        let mut parts = trained().encode(&head).unwrap();
        parts.extend(trained().encode(&tail).unwrap());
        prop_assert_eq!(&parts, &trained().encode(&whole).unwrap());
        let bytes: Vec<u8> = parts.iter().flat_map(|&id| trained().token_bytes(id).unwrap()).copied().collect();
        prop_assert_eq!(bytes, whole.into_bytes());
    }
}
