//! One tokenizer behind a small interface: encode, decode, tokens by role.

use crate::{EncodedText, Role, TokenId, UnknownText, VocabularyError, bytes, learn};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::{DecoderWrapper, ModelWrapper, Tokenizer};

/// Text to tokens and back, and the tokens that have a role.
///
/// A vocabulary is read-only and can be shared between threads.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Reads the names of special tokens in a text as ordinary characters.
    plain: Tokenizer,
    /// Reads them as the special tokens; used for text that a chat template wrote.
    marked: Tokenizer,
    roles: BTreeMap<Role, TokenId>,
    /// Per id: the bytes it decodes to, empty for special tokens. `None` where the tokenizer is not byte-level.
    bytes: Option<Vec<Vec<u8>>>,
    /// Per id: whether it is a special token, which stands for no text.
    special: Vec<bool>,
}

impl Vocabulary {
    /// Trains a byte-level BPE of at most `size` tokens, the special ones included. Any text survives encoding and
    /// decoding, and the same texts in any order give the same vocabulary.
    ///
    /// Ids 0 to 3 are the special tokens `<|mask|>`, `<|end|>`, `<|pad|>` and `<|begin|>`; ask for them by
    /// [`Vocabulary::role`]. A small text may have too few repeated pairs for `size`: read the size from
    /// [`Vocabulary::len`].
    ///
    /// # Errors
    /// When `size` is below 260 or absurd, or when there is no text.
    pub fn train(texts: impl Iterator<Item = String> + Send, size: usize) -> Result<Self, VocabularyError> {
        let tokenizer = learn::learn(texts, size)?;
        // Reading back what was written makes a trained vocabulary and a loaded one the same thing.
        Self::from_json(to_json(&tokenizer)?.as_slice())
    }

    /// Reads a `tokenizer.json` in Hugging Face format. Roles are recognised by the usual names of special tokens;
    /// [`Vocabulary::assign_roles`] reads a model's own configuration.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn from_json(json: &[u8]) -> Result<Self, VocabularyError> {
        let read =
            || Tokenizer::from_bytes(json).map_err(|error| VocabularyError::Malformed { reason: error.to_string() });
        let (mut plain, mut marked) = (read()?, read()?);
        for tokenizer in [&mut plain, &mut marked] {
            // A canvas has its own ends: nothing may be cut off or added here.
            tokenizer.with_padding(None);
            tokenizer
                .with_truncation(None)
                .map_err(|error| VocabularyError::Malformed { reason: error.to_string() })?;
        }
        plain.set_encode_special_tokens(true);
        let length = plain.get_vocab(true).values().map(|&id| id as usize + 1).max().unwrap_or(0);
        let added = plain.get_added_tokens_decoder();
        let special: Vec<bool> =
            (0..length).map(|id| added.get(&(id as TokenId)).is_some_and(|token| token.special)).collect();
        let bytes = matches!(plain.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
            .then(|| {
                (0..length)
                    .map(|id| {
                        let id = id as TokenId;
                        // An added token is written as it is read; only the model's own are in the byte alphabet.
                        match added.get(&id) {
                            Some(token) if token.special => Some(Vec::new()),
                            Some(token) => Some(token.content.clone().into_bytes()),
                            None => plain.id_to_token(id).map_or(Some(Vec::new()), |token| bytes::bytes_of(&token)),
                        }
                    })
                    .collect()
            })
            .flatten();
        let by_name = |role: Role| {
            let known = |name: &&str| plain.token_to_id(name).filter(|&id| special[id as usize]);
            role.names().iter().find_map(known)
        };
        let of = |role| match role {
            // What the model itself writes for what it does not know, whatever else is called so.
            Role::Unknown => unknown_of(&plain, json),
            _ => by_name(role),
        };
        let roles = Role::ALL.into_iter().filter_map(|role| Some((role, of(role)?))).collect();
        Ok(Self { plain, marked, roles, bytes, special })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, VocabularyError> {
        let json = std::fs::read(path).map_err(|source| VocabularyError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_json(&json)
    }

    /// This vocabulary as a `tokenizer.json`, readable by every library of that ecosystem. The same vocabulary always
    /// gives the same bytes.
    ///
    /// # Errors
    /// When the tokenizer cannot be written as JSON, which no tokenizer read by this crate is known to refuse.
    pub fn to_json(&self) -> Result<Vec<u8>, VocabularyError> {
        to_json(&self.marked)
    }

    /// Takes roles from a model's own configuration: `mask_token`, `eos_token`, `pad_token` and `bos_token` (text, or
    /// an object with `content`) of a `tokenizer_config.json`, and `mask_token_id`, `eos_token_id` … (a number, or a
    /// list of which the first counts) of a `config.json` or `generation_config.json`. Other keys are ignored.
    ///
    /// # Errors
    /// When a token is named that this vocabulary does not have.
    pub fn assign_roles(&mut self, config: &serde_json::Value) -> Result<(), VocabularyError> {
        for role in Role::ALL {
            let Some(key) = role.config_key() else { continue };
            let value = &config[key];
            if let Some(name) = value.as_str().or_else(|| value["content"].as_str()) {
                let id = self.marked.token_to_id(name);
                let id =
                    id.ok_or_else(|| VocabularyError::UnknownToken { key: key.into(), given: format!("{name:?}") })?;
                self.roles.insert(role, id);
            }
            let key = format!("{key}_id");
            let value = config[&key].as_array().and_then(|ids| ids.first()).unwrap_or(&config[&key]);
            if let Some(id) = value.as_u64() {
                let known = TokenId::try_from(id).ok().filter(|&id| (id as usize) < self.len());
                let id = known.ok_or_else(|| VocabularyError::UnknownToken { key, given: id.to_string() })?;
                self.roles.insert(role, id);
            }
        }
        Ok(())
    }

    /// The token of a role, where this vocabulary has one.
    pub fn role(&self, role: Role) -> Option<TokenId> {
        self.roles.get(&role).copied()
    }

    /// The token of a role that the caller requires.
    ///
    /// # Errors
    /// When this vocabulary has none.
    pub fn required(&self, role: Role) -> Result<TokenId, VocabularyError> {
        self.role(role).ok_or(VocabularyError::MissingRole { role })
    }

    /// How many ids there are: one more than the largest. A network may have more rows than that, never fewer.
    pub fn len(&self) -> usize {
        self.special.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.special.is_empty()
    }

    /// Whether a token is special: it has a role or marks a turn, and stands for no text.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    /// The tokens of a text. Nothing is added around them, and the name of a special token in the text is ordinary
    /// characters: a text cannot smuggle in an end or a mask.
    ///
    /// # Errors
    /// When the tokenizer's own rules fail on this text; a vocabulary trained here accepts any text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, VocabularyError> {
        encode(&self.plain, text)
    }

    /// The tokens of a text in which the names of special tokens mean those tokens, as a chat template writes it.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_marked(&self, text: &str) -> Result<Vec<TokenId>, VocabularyError> {
        encode(&self.marked, text)
    }

    /// The tokens of a text as [`Vocabulary::encode`] gives them, with the bytes of the text that each stands for and
    /// the count of what cannot be written.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_text(&self, text: &str) -> Result<EncodedText, VocabularyError> {
        if let Some(table) = &self.bytes {
            let tokens = self.encode(text)?;
            let length = |&id: &TokenId| table.get(id as usize).map_or(0, |bytes| bytes.len() as u32);
            let text_bytes: Vec<u32> = tokens.iter().map(length).collect();
            // Byte-level tokens that add up to the text are the text: nothing was normalised, added or lost.
            let sum: u64 = text_bytes.iter().map(|&bytes| u64::from(bytes)).sum();
            let unknown = self.role(Role::Unknown).is_some_and(|unknown| tokens.contains(&unknown));
            if sum == text.len() as u64 && !unknown {
                return Ok(EncodedText { tokens, text_bytes, unknown: UnknownText::default() });
            }
        }
        let encoding = self.plain.encode(text, false).map_err(failed)?;
        Ok(EncodedText::from_offsets(text, encoding.get_ids(), encoding.get_offsets(), self.role(Role::Unknown)))
    }

    /// Many texts, each as [`Vocabulary::encode_text`] gives it, on all threads.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`], for the first text that fails.
    pub fn encode_many<Text: AsRef<str> + Sync>(&self, texts: &[Text]) -> Result<Vec<EncodedText>, VocabularyError> {
        texts.par_iter().map(|text| self.encode_text(text.as_ref())).collect()
    }

    /// The text of tokens. Special tokens and ids that do not exist stand for no text; bytes that are not UTF-8, which
    /// a half-filled canvas can hold, become U+FFFD.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        match &self.bytes {
            Some(table) => {
                let bytes: Vec<u8> =
                    tokens.iter().filter_map(|&id| table.get(id as usize)).flatten().copied().collect();
                String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
            }
            // A decoder that joins words by rule can fail only on rules it does not know; then the pieces are shown.
            None => self.marked.decode(tokens, true).unwrap_or_else(|_| {
                tokens.iter().filter(|&&id| !self.is_special(id)).map(|&id| self.token_text(id)).collect()
            }),
        }
    }

    /// The bytes that a token adds to the text: none for a special token. `None` for an id that does not exist and for
    /// every token of a tokenizer that is not byte-level, where a token alone has no bytes.
    pub fn token_bytes(&self, id: TokenId) -> Option<Vec<u8>> {
        self.bytes.as_ref()?.get(id as usize).cloned()
    }

    /// The ids that a network with `size` rows of logits must not write as text: special tokens, and ids beyond this
    /// vocabulary.
    pub fn non_text_tokens(&self, size: usize) -> Vec<TokenId> {
        let known = self.len() as TokenId;
        (0..known).filter(|id| self.is_special(*id)).chain(known..size as TokenId).collect()
    }

    /// A token as people may see it: its text, or the name of a special token. An id that does not exist is `<|?7|>`,
    /// and bytes that are no text on their own are U+FFFD.
    pub fn token_text(&self, id: TokenId) -> String {
        match (self.token_bytes(id), self.marked.id_to_token(id)) {
            (Some(bytes), Some(_)) if !self.is_special(id) => String::from_utf8_lossy(&bytes).into_owned(),
            (_, Some(name)) => name,
            (_, None) => format!("<|?{id}|>"),
        }
    }
}

fn to_json(tokenizer: &Tokenizer) -> Result<Vec<u8>, VocabularyError> {
    let json = tokenizer.to_string(false).map_err(failed)?;
    Ok(json.into_bytes())
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<TokenId>, VocabularyError> {
    Ok(tokenizer.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
}

fn failed(error: tokenizers::Error) -> VocabularyError {
    VocabularyError::Tokenizer { reason: error.to_string() }
}

/// The token that a model writes for what it does not know.
fn unknown_of(tokenizer: &Tokenizer, json: &[u8]) -> Option<TokenId> {
    let name = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_deref()?,
        ModelWrapper::WordPiece(model) => &model.unk_token,
        ModelWrapper::WordLevel(model) => &model.unk_token,
        // The crate keeps this id to itself.
        ModelWrapper::Unigram(_) => {
            let file: serde_json::Value = serde_json::from_slice(json).ok()?;
            return file["model"]["unk_id"].as_u64().and_then(|id| TokenId::try_from(id).ok());
        }
    };
    tokenizer.token_to_id(name)
}
