//! Roles of tokens by all files of a folder together, and tokenizers that do not fit their network.

use crate::folders::{fails, spec, vocabulary, write};
use aquatint_checkpoint::Checkpoint;
use aquatint_vocabulary::Role;
use serde_json::{Value, json};
use std::path::Path;

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Gives a special token another name.
fn rename(folder: &Path, from: &str, to: &str) {
    let path = folder.join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(from, to);
    std::fs::write(&path, text).unwrap();
}

fn refusal(folder: &Path) -> String {
    let error = fails(folder);
    format!("{error}; {}", error.hint().unwrap())
}

#[test]
fn a_mask_with_a_name_of_its_own_is_found_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&vocabulary());
    write(folder.path(), &spec, 1).unwrap();
    rename(folder.path(), "<|mask|>", "<|noise|>");
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    assert_eq!((checkpoint.vocabulary.role(Role::Mask), &checkpoint.spec), (spec.mask_token, &spec));
    // A file that names it agrees, and one that names another does not.
    let names = folder.path().join("special_tokens_map.json");
    std::fs::write(&names, r#"{"mask_token": {"content": "<|noise|>"}}"#).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().vocabulary.role(Role::Mask), spec.mask_token);
    std::fs::write(&names, r#"{"mask_token": "<|pad|>"}"#).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "the files of the model disagree on the mask token: `mask_token_id` in config.json is 0, and `mask_token` in \
         special_tokens_map.json is `<|pad|>`, which is token 2; let both name the same token"
    );
    std::fs::remove_file(&names).unwrap();
    // Without a mask in any file there is nothing that a masked network could read.
    edit(&folder.path().join("config.json"), |config| config["mask_token_id"] = Value::Null);
    assert!(refusal(folder.path()).contains("`masked` needs a mask token"));
}

#[test]
fn files_that_disagree_are_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &spec(&vocabulary()), 1).unwrap();
    edit(&folder.path().join("generation_config.json"), |advice| advice["mask_token_id"] = json!(2));
    assert_eq!(
        refusal(folder.path()),
        "the files of the model disagree on the mask token: `mask_token_id` in config.json is 0, and `mask_token_id` in \
         generation_config.json is 2; let both name the same token"
    );
}

#[test]
fn a_tokenizer_with_more_tokens_than_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &spec(&vocabulary()), 1).unwrap();
    edit(&folder.path().join("config.json"), |config| config["vocab_size"] = json!(vocabulary().len() - 1));
    let tokens = vocabulary().len();
    assert_eq!(
        refusal(folder.path()),
        format!(
            "tokenizer.json has {tokens} tokens, and config.json gives the network {}; the tokenizer is of another model: \
             copy the one that this model came with",
            tokens - 1
        )
    );
}
