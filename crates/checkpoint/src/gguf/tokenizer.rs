//! The tokenizer in the metadata of a GGUF file, as a `tokenizer.json`.
//!
//! The file has the tokens, the merges of byte-level BPE, and the name of a rule by which a text is split before; the rules
//! themselves are known here by name, as the `tokenizer.json` of each model has them.

use super::header::Header;
use serde_json::{Map, Value, json};

/// `tokenizer.ggml.token_type` of special tokens, of words that are added whole, and of rows without a token.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// Contractions, words, digits, marks and blanks.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// The rules by the names that `tokenizer.ggml.pre` has for them, and whether characters are composed (NFC) first.
const RULES: [(&[&str], &str, bool); 4] = [
    (&["gpt-2", "gpt2", "default"], GPT2, false),
    (&["qwen2", "deepseek-r1-qwen"], QWEN2, true),
    (&["llama-bpe", "llama3", "llama-v3"], LLAMA3, false),
    (&["llada-moe", "bailingmoe", "bailingmoe2"], LING, false),
];

/// The keys of ids by role: the last part of the file's, that of a `config.json`, and that of a `tokenizer_config.json`.
const ROLES: [(&str, &str, &str); 4] = [
    ("mask_token_id", "mask_token_id", "mask_token"),
    ("eos_token_id", "eos_token_id", "eos_token"),
    ("padding_token_id", "pad_token_id", "pad_token"),
    ("bos_token_id", "bos_token_id", "bos_token"),
];

/// The tokenizer of a file.
pub(super) struct Tokenizer<'a> {
    header: &'a Header,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(header: &'a Header) -> Self {
        Self { header }
    }

    /// Ids of tokens with a role, by the keys of a `config.json`.
    pub(super) fn ids(&self) -> Vec<(String, Value)> {
        let id = |key: &str| self.header.metadata.get(&format!("tokenizer.ggml.{key}")).cloned();
        ROLES.iter().filter_map(|(file, config, _)| Some(((*config).to_owned(), id(file)?))).collect()
    }

    /// What a `tokenizer_config.json` would say: special tokens by role, and the chat template.
    pub(super) fn config(&self) -> Value {
        let ids = self.ids();
        let mut config = Map::new();
        for (_, key, role) in ROLES {
            let id = ids.iter().find(|(name, _)| name == key).and_then(|(_, id)| id.as_u64());
            if let Some(token) = id.and_then(|id| self.header.tokens.get(usize::try_from(id).ok()?)) {
                config.insert(role.to_owned(), token.clone().into());
            }
        }
        // Not `tokenizer.ggml.add_bos_token`: llama.cpp's converter sets it for LLaDA, whose own files do not say so.
        if let Some(template) = self.header.metadata.get("tokenizer.chat_template") {
            config.insert("chat_template".to_owned(), template.clone());
        }
        Value::Object(config)
    }

    /// The `tokenizer.json`.
    pub(super) fn json(&self) -> Result<Vec<u8>, String> {
        let Header { metadata, tokens, merges, token_types, .. } = self.header;
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let model = text("tokenizer.ggml.model");
        if model != "gpt2" || tokens.is_empty() {
            return Err(format!(
                "its tokenizer is of kind `{model}` with {} tokens; allowed: gpt2 (byte-level BPE), or a tokenizer.json \
                 beside the file",
                tokens.len()
            ));
        }
        let pre = text("tokenizer.ggml.pre");
        let (_, rule, composed) = RULES.iter().find(|(names, _, _)| names.contains(&pre)).ok_or_else(|| {
            let names: Vec<&str> = RULES.iter().flat_map(|(names, _, _)| names.iter().copied()).collect();
            format!("`tokenizer.ggml.pre` is {pre}; allowed: {}, or a tokenizer.json beside the file", names.join(", "))
        })?;
        let kind = |id: usize| token_types.get(id).copied().unwrap_or(1);
        let mut vocabulary = Map::new();
        let mut added = Vec::new();
        for (id, token) in tokens.iter().enumerate().filter(|(id, _)| kind(*id) != UNUSED) {
            if vocabulary.insert(token.clone(), id.into()).is_some() {
                return Err(format!("token `{token}` is there twice"));
            }
            if matches!(kind(id), CONTROL | USER_DEFINED) {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": kind(id) == CONTROL,
                }));
            }
        }
        let split = json!({"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated", "invert": false});
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": if *composed { json!({"type": "NFC"}) } else { Value::Null },
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes.clone()]},
            "post_processor": null,
            "decoder": bytes,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
        });
        Ok(tokenizer.to_string().into_bytes())
    }
}
