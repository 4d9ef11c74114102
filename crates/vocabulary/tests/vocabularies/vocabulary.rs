//! Training, round trips, roles and files of a vocabulary.

use aquatint_vocabulary::{Role, UnknownText, Vocabulary, VocabularyError};
use proptest::prelude::*;
use std::sync::OnceLock;

const TALE: &str = include_str!("../../../../data/sample/train/grimm-clever-grethel.txt");

fn trained() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| Vocabulary::train(std::iter::once(TALE.to_owned()), 512).unwrap())
}

proptest! {
    #[test]
    fn any_text_survives(text in any::<String>()) {
        let vocabulary = trained();
        prop_assert_eq!(vocabulary.decode(&vocabulary.encode(&text).unwrap()), text);
    }

    #[test]
    fn the_bytes_of_the_tokens_are_the_bytes_of_the_text(text in "(\\PC|[ \n\t\r<|>']|<\\|end\\|>){0,40}") {
        let vocabulary = trained();
        let tokens = vocabulary.encode(&text).unwrap();
        let bytes: Vec<u8> = tokens.iter().flat_map(|&id| vocabulary.token_bytes(id).unwrap()).copied().collect();
        prop_assert_eq!(bytes, text.clone().into_bytes());
        prop_assert!(tokens.iter().all(|&id| !vocabulary.is_special(id)), "{:?}", tokens);
    }

    #[test]
    fn a_text_can_be_cut_after_any_line_breaks(head in "(\\PC|[ \t]){0,12}", breaks in "[\r\n]{1,3}", tail in "(\\PC|[ \t])(\\PC|\\s){0,12}") {
        let vocabulary = trained();
        let head = format!("{head}{breaks}");
        let mut parts = vocabulary.encode(&head).unwrap();
        parts.extend(vocabulary.encode(&tail).unwrap());
        prop_assert_eq!(parts, vocabulary.encode(&format!("{head}{tail}")).unwrap());
    }
}

#[test]
fn merges_make_text_shorter_and_words_carry_their_blank() {
    let vocabulary = trained();
    assert_eq!(vocabulary.len(), 512);
    let tokens = vocabulary.encode(TALE).unwrap();
    assert!(tokens.len() * 2 < TALE.len(), "{} tokens for {} bytes", tokens.len(), TALE.len());
    let pieces: Vec<String> =
        vocabulary.encode("and Grethel said\n\n").unwrap().iter().map(|&id| vocabulary.token_text(id)).collect();
    assert_eq!(pieces, ["and", " Grethel", " said", "\n\n"]);
}

#[test]
fn a_quotation_keeps_its_first_letter() {
    let vocabulary = Vocabulary::train(std::iter::once("'she 'she it's it's".repeat(9)), 300).unwrap();
    let pieces = |text| -> Vec<String> {
        vocabulary.encode(text).unwrap().iter().map(|&id| vocabulary.token_text(id)).collect()
    };
    assert_eq!(pieces("'she"), ["'", "she"]);
    assert_eq!(pieces("it's"), ["it", "'s"]);
}

#[test]
fn special_tokens_have_roles_and_stand_for_no_text() {
    let vocabulary = trained();
    let roles: Vec<_> = [Role::Mask, Role::End, Role::Pad, Role::Begin].map(|role| vocabulary.role(role)).into();
    assert_eq!(roles, [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(vocabulary.role(Role::Picture), None);
    assert!(matches!(vocabulary.required(Role::Sound), Err(VocabularyError::MissingRole { role: Role::Sound })));
    assert_eq!(vocabulary.decode(&[0, 1, 2, 3]), "");
    assert_eq!(vocabulary.token_text(0), "<|mask|>");
    assert_eq!(vocabulary.token_text(99_999), "<|?99999|>");
    assert_eq!(vocabulary.decode(&[99_999]), "");
}

#[test]
fn names_of_special_tokens_are_text_unless_a_template_wrote_them() {
    let vocabulary = trained();
    let text = "a<|end|>b";
    assert_eq!(vocabulary.decode(&vocabulary.encode(text).unwrap()), text);
    let end = vocabulary.role(Role::End).unwrap();
    assert!(!vocabulary.encode(text).unwrap().contains(&end));
    assert!(vocabulary.encode_marked(text).unwrap().contains(&end));
}

#[test]
fn a_vocabulary_survives_its_file_and_does_not_depend_on_the_order_of_the_texts() {
    let vocabulary = trained();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, vocabulary.to_json().unwrap()).unwrap();
    let loaded = Vocabulary::from_file(&path).unwrap();
    assert_eq!(loaded.encode(TALE).unwrap(), vocabulary.encode(TALE).unwrap());
    assert_eq!(loaded.to_json().unwrap(), vocabulary.to_json().unwrap());
    let halves = TALE.split_inclusive("\n\n").map(str::to_owned);
    let backwards: Vec<String> = halves.collect::<Vec<_>>().into_iter().rev().collect();
    let other = Vocabulary::train(backwards.into_iter(), 512).unwrap();
    assert_eq!(other.to_json().unwrap(), vocabulary.to_json().unwrap());
}

#[test]
fn many_texts_are_encoded_as_each_alone() {
    let vocabulary = trained();
    let texts: Vec<&str> = TALE.split_inclusive('\n').collect();
    let alone: Vec<_> = texts.iter().map(|text| vocabulary.encode_text(text).unwrap()).collect();
    assert_eq!(vocabulary.encode_many(&texts).unwrap(), alone);
    for (text, encoded) in texts.iter().zip(alone) {
        assert_eq!(encoded.tokens, vocabulary.encode(text).unwrap());
        let bytes = encoded.tokens.iter().map(|&id| vocabulary.token_bytes(id).unwrap().len() as u32);
        assert_eq!((encoded.text_bytes, encoded.unknown), (bytes.collect(), UnknownText::default()));
    }
}

#[test]
fn bad_input_is_refused_with_a_hint() {
    let train = |text: &str, size| {
        let error = Vocabulary::train(std::iter::once(text.to_owned()), size).unwrap_err();
        format!("{error}; {}", error.hint().unwrap())
    };
    assert_eq!(
        train(TALE, 259),
        "`vocabulary_size` is 259; it must be between 260 (256 bytes and the special tokens) and 4194304; 4096 suits a \
         few megabytes of text, 32768 a few gigabytes"
    );
    assert_eq!(train("", 300), "there is no text to train a vocabulary on; check the sources and their filters");
    assert!(matches!(Vocabulary::from_json(b"{\"model\": 1"), Err(VocabularyError::Malformed { .. })));
    assert!(matches!(Vocabulary::from_file("no/such/file".as_ref()), Err(VocabularyError::Io { .. })));
}

#[test]
fn a_tokenizer_of_another_kind_works_without_bytes() {
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "[MASK]", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"[MASK]": 0, "[UNK]": 1, "a": 2, "fox": 3}, "unk_token": "[UNK]"},
    });
    let vocabulary = Vocabulary::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!((vocabulary.len(), vocabulary.role(Role::Mask), vocabulary.role(Role::End)), (4, Some(0), None));
    // Its own truncation to two tokens is not ours.
    let tokens = vocabulary.encode("a fox a wolf").unwrap();
    assert_eq!(tokens, [2, 3, 2, 1]);
    assert_eq!(vocabulary.decode(&[2, 0, 3]), "a fox");
    assert_eq!((vocabulary.token_bytes(2), vocabulary.role(Role::Unknown)), (None, Some(1)));
    // The bytes are those of the text: a blank counts with the word behind it.
    let encoded = vocabulary.encode_text("a fox\na wölf ").unwrap();
    assert_eq!((encoded.tokens, encoded.text_bytes), (vec![2, 3, 2, 1], vec![1, 4, 2, 7]));
    assert_eq!(encoded.unknown, UnknownText { characters: 4, bytes: 5 });
    assert_eq!(vocabulary.token_text(3), "fox");
}
