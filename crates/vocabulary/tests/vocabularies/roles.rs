//! Roles of tokens from a model's files, by name and by id.

use crate::kinds::{bytes_of, json_of};
use aquatint_vocabulary::{Role, RoleFile, Vocabulary, VocabularyError};
use serde_json::{Value, json};

fn vocabulary() -> Vocabulary {
    Vocabulary::from_json(&bytes_of("wordpiece")).unwrap()
}

/// The ids of mask, end, pad and begin by `config.json` and `tokenizer_config.json`, or the refusal.
fn assigned(config: &Value, names: &Value) -> Result<[Option<u32>; 4], String> {
    let mut vocabulary = vocabulary();
    let files = [
        RoleFile { name: "config.json", contents: config },
        RoleFile { name: "tokenizer_config.json", contents: names },
    ];
    let described = |error: VocabularyError| format!("{error}; {}", error.hint().unwrap());
    vocabulary.assign_roles(&files, 20).map_err(described)?;
    Ok([Role::Mask, Role::End, Role::Pad, Role::Begin].map(|role| vocabulary.role(role)))
}

#[test]
fn ids_and_names_give_roles_and_usual_names_do_where_no_file_does() {
    assert_eq!(assigned(&json!({}), &Value::Null), Ok([Some(1), Some(2), None, None]));
    let names = json!({"pad_token": {"content": "</s>"}, "bos_token": "the", "eos_token": null, "hidden_size": 5});
    assert_eq!(assigned(&json!({"mask_token_id": 5}), &names), Ok([Some(5), Some(2), Some(2), Some(3)]));
    // Some say so that there is none.
    assert_eq!(assigned(&json!({"pad_token_id": -1}), &json!({"pad_token": ""})), Ok([Some(1), Some(2), None, None]));
    // A mask that the tokenizer does not know but the network.
    assert_eq!(assigned(&json!({"mask_token_id": 19}), &Value::Null).unwrap()[0], Some(19));
    // Of several ends the one that both files name.
    let ends = json!({"eos_token_id": [7, 2]});
    assert_eq!(assigned(&ends, &json!({"eos_token": "</s>"})).unwrap()[1], Some(2));
    // Or the one with a usual name, or the first.
    assert_eq!(assigned(&ends, &Value::Null).unwrap()[1], Some(2));
    assert_eq!(assigned(&json!({"eos_token_id": [7, 5]}), &Value::Null).unwrap()[1], Some(7));
}

#[test]
fn all_tokens_that_end_a_text_are_known_and_stand_for_none() {
    let mut vocabulary = vocabulary();
    assert_eq!(vocabulary.ends(), [2]);
    // A turn ends otherwise than a text, and only one of the files knows it; an id without a token ends nothing.
    let (config, generation) = (json!({"eos_token_id": 7}), json!({"eos_token_id": [5, 7, 19]}));
    let files = [
        RoleFile { name: "config.json", contents: &config },
        RoleFile { name: "generation_config.json", contents: &generation },
    ];
    vocabulary.assign_roles(&files, 20).unwrap();
    assert_eq!((vocabulary.role(Role::End), vocabulary.ends()), (Some(7), vec![7, 5]));
    assert!(vocabulary.is_special(5) && vocabulary.is_special(7) && !vocabulary.is_special(6));
}

#[test]
fn files_that_disagree_are_refused_with_both_values() {
    assert_eq!(
        assigned(&json!({"mask_token_id": 4}), &json!({"mask_token": "<mask>"})).unwrap_err(),
        "the files of the model disagree on the mask token: `mask_token_id` in config.json is 4, and `mask_token` in \
         tokenizer_config.json is `<mask>`, which is token 1; let both name the same token"
    );
    assert_eq!(
        assigned(&json!({"eos_token_id": 20}), &Value::Null).unwrap_err(),
        "`eos_token_id` in config.json is 20, which the vocabulary does not have; tokenizer.json and its configuration \
         do not belong together"
    );
    let unknown = assigned(&json!({}), &json!({"mask_token": "<nope>"})).unwrap_err();
    assert!(unknown.starts_with("`mask_token` in tokenizer_config.json is \"<nope>\""), "{unknown}");
}

#[test]
fn a_mask_by_id_stands_for_no_text_and_no_text_is_a_mask() {
    let mut file = json_of("byte-level");
    let noise = json!({"id": 261, "content": "<|noise|>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    file["added_tokens"].as_array_mut().unwrap().push(noise);
    let mut vocabulary = Vocabulary::from_json(file.to_string().as_bytes()).unwrap();
    assert!(vocabulary.encode("the <|noise|>").unwrap().contains(&261));
    let config = json!({"mask_token_id": 261});
    vocabulary.assign_roles(&[RoleFile { name: "config.json", contents: &config }], 0).unwrap();
    assert_eq!((vocabulary.role(Role::Mask), vocabulary.decode(&[261])), (Some(261), String::new()));
    let tokens = vocabulary.encode("the <|noise|>").unwrap();
    assert!(!tokens.contains(&261), "{tokens:?}");
    assert_eq!(vocabulary.decode(&tokens), "the <|noise|>");
}

#[test]
fn a_role_that_is_missing_can_be_added() {
    let mut vocabulary = Vocabulary::from_json(&bytes_of("byte-level")).unwrap();
    let length = vocabulary.len();
    assert_eq!(vocabulary.role(Role::Begin), None);
    let begin = vocabulary.add_role(Role::Begin).unwrap();
    assert_eq!((begin as usize, vocabulary.len(), vocabulary.role(Role::Begin)), (length, length + 1, Some(begin)));
    assert!(vocabulary.is_special(begin) && vocabulary.non_text_tokens(length + 1).contains(&begin));
    assert_eq!((vocabulary.decode(&[begin]), vocabulary.token_bytes(begin)), (String::new(), Some(&[][..])));
    // It is in the file, and found there by its name.
    let again = Vocabulary::from_json(&vocabulary.to_json().unwrap()).unwrap();
    assert_eq!(again.role(Role::Begin), Some(begin));
    assert_eq!(again.encode("the <|begin|>").unwrap(), vocabulary.encode("the <|begin|>").unwrap());
    assert!(!again.encode("the <|begin|>").unwrap().contains(&begin));
}

#[test]
fn the_files_beside_a_tokenizer_name_its_roles() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &[u8]| std::fs::write(folder.path().join(name), contents).unwrap();
    write("tokenizer.json", &bytes_of("wordpiece"));
    write("other.json", &bytes_of("wordpiece"));
    write("special_tokens_map.json", br#"{"mask_token": "bird", "bos_token": "king"}"#);
    let open = |name: &str| Vocabulary::from_file(&folder.path().join(name));
    let roles = |vocabulary: &Vocabulary| [Role::Mask, Role::Begin].map(|role| vocabulary.role(role));
    assert_eq!(roles(&open("tokenizer.json").unwrap()), [Some(7), Some(4)]);
    assert_eq!(roles(&open("other.json").unwrap()), [Some(1), None]);
    write("tokenizer_config.json", br#"{"mask_token": "<mask>"}"#);
    assert!(matches!(open("tokenizer.json"), Err(VocabularyError::RoleConflict { role: Role::Mask, .. })));
    write("tokenizer_config.json", b"{");
    let error = open("tokenizer.json").unwrap_err().to_string();
    assert!(error.starts_with("`tokenizer_config.json` of the tokenizer cannot be read: "), "{error}");
}

#[test]
fn what_a_model_writes_for_unknown_text_is_never_proposed() {
    for kind in ["metaspace", "unigram", "wordpiece", "suffix"] {
        let mut file = json_of(kind);
        // Known by the model alone, not by the list of special tokens.
        file["added_tokens"].as_array_mut().unwrap().remove(0);
        let vocabulary = Vocabulary::from_json(file.to_string().as_bytes()).unwrap();
        assert_eq!((vocabulary.role(Role::Unknown), vocabulary.is_special(0)), (Some(0), false), "{kind}");
        assert!(vocabulary.non_text_tokens(vocabulary.len()).contains(&0), "{kind}");
    }
}

#[test]
fn a_begin_token_stands_in_front_of_texts_where_a_file_says_so_and_there_is_one() {
    let begins = |names: &Value| {
        let mut vocabulary = vocabulary();
        vocabulary.assign_roles(&[RoleFile { name: "tokenizer_config.json", contents: names }], 20).unwrap();
        vocabulary.text_begin()
    };
    assert_eq!(begins(&json!({"bos_token": "king", "add_bos_token": true})), Some(4));
    assert_eq!(begins(&json!({"bos_token": "king", "add_bos_token": false})), None);
    assert_eq!(begins(&json!({"bos_token": "king"})), None);
    // As the tokenizers of some families have it.
    assert_eq!(begins(&json!({"bos_token": null, "add_bos_token": true})), None);

    let mut vocabulary = vocabulary();
    let missing = vocabulary.set_adds_begin(true).unwrap_err();
    assert!(matches!(missing, VocabularyError::MissingRole { role: Role::Begin }), "{missing}");
    let begin = vocabulary.add_role(Role::Begin).unwrap();
    let without = vocabulary.encode_whole("the king").unwrap();
    assert_eq!(without, vocabulary.encode_text("the king").unwrap());
    vocabulary.set_adds_begin(true).unwrap();
    let with = vocabulary.encode_whole("the king").unwrap();
    assert_eq!(with.tokens, [&[begin][..], &without.tokens].concat());
    assert_eq!(with.text_bytes, [&[0][..], &without.text_bytes].concat());
    assert_eq!((vocabulary.decode(&with.tokens), with.unknown), (vocabulary.decode(&without.tokens), without.unknown));
}
