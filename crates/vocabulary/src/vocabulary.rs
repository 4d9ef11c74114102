//! One tokenizer behind a small interface: encode, decode, tokens by role.

use crate::decoding::Pieces;
use crate::{EncodedText, PreTokenizer, Role, RoleFile, TokenId, UnknownText, VocabularyError, learn};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::{ModelWrapper, Tokenizer};

/// Text to tokens and back, and the tokens that have a role.
///
/// A vocabulary is read-only and can be shared between threads.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Reads the names of special tokens in a text as ordinary characters.
    pub(crate) plain: Tokenizer,
    /// Reads them as the special tokens; used for text that a chat template wrote.
    pub(crate) marked: Tokenizer,
    pub(crate) roles: BTreeMap<Role, TokenId>,
    /// What ends a text beside the token with the role, as a model's files list them.
    pub(crate) other_ends: Vec<TokenId>,
    pub(crate) pieces: Pieces,
    /// Per id: whether it is a special token, which stands for no text.
    pub(crate) special: Vec<bool>,
    /// Whether a begin token stands in front of each text.
    pub(crate) adds_begin: bool,
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
        Self::train_cut_by(PreTokenizer::Prose, texts, size)
    }

    /// The same where text is cut by another rule before merging.
    ///
    /// # Errors
    /// As [`Vocabulary::train`].
    pub fn train_cut_by(
        rule: PreTokenizer,
        texts: impl Iterator<Item = String> + Send,
        size: usize,
    ) -> Result<Self, VocabularyError> {
        let tokenizer = learn::learn(texts, (size, rule))?;
        // Reading back what was written makes a trained vocabulary and a loaded one the same thing.
        Self::from_json(to_json(&tokenizer)?.as_slice())
    }

    /// Reads a `tokenizer.json` in Hugging Face format. Roles are recognised by the usual names of special tokens;
    /// [`Vocabulary::assign_roles`] reads a model's own configuration.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn from_json(json: &[u8]) -> Result<Self, VocabularyError> {
        let file = "tokenizer.json";
        let malformed =
            |error: &tokenizers::Error| VocabularyError::Malformed { file: file.to_owned(), reason: error.to_string() };
        let read = || Tokenizer::from_bytes(json).map_err(|error| malformed(&error));
        let (mut plain, mut marked) = (read()?, read()?);
        for tokenizer in [&mut plain, &mut marked] {
            // A canvas has its own ends: nothing may be cut off or added here.
            tokenizer.with_padding(None);
            tokenizer.with_truncation(None).map_err(|error| malformed(&error))?;
            // The same text has the same tokens: what drops merges at random was for another training.
            if let ModelWrapper::BPE(model) = tokenizer.get_model()
                && model.dropout.is_some()
            {
                let mut model = model.clone();
                model.dropout = None;
                tokenizer.with_model(model);
            }
        }
        plain.set_encode_special_tokens(true);
        let length = plain.get_vocab(true).values().map(|&id| id as usize + 1).max().unwrap_or(0);
        let added = plain.get_added_tokens_decoder();
        let special: Vec<bool> =
            (0..length).map(|id| added.get(&(id as TokenId)).is_some_and(|token| token.special)).collect();
        let pieces = Pieces::of(&plain, length);
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
        Ok(Self { plain, marked, roles, other_ends: Vec::new(), pieces, special, adds_begin: false })
    }

    /// The files beside a `tokenizer.json` that name tokens by their roles.
    pub const ROLE_FILES: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

    /// Reads a `tokenizer.json`, and roles from the [`Vocabulary::ROLE_FILES`] beside it. A file of another name stands
    /// alone.
    ///
    /// # Errors
    /// When a file cannot be read, is not a tokenizer, or contradicts another one.
    pub fn from_file(path: &Path) -> Result<Self, VocabularyError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| VocabularyError::Io {
                action: "read",
                path: path.to_path_buf(),
                source,
            })
        };
        let mut vocabulary = Self::from_json(&read(path)?)?;
        if path.file_name().is_some_and(|name| name == "tokenizer.json") {
            let mut beside = Vec::new();
            for name in Self::ROLE_FILES {
                let path = path.with_file_name(name);
                if path.is_file() {
                    let contents: serde_json::Value = serde_json::from_slice(&read(&path)?).map_err(|error| {
                        VocabularyError::Malformed { file: name.to_owned(), reason: error.to_string() }
                    })?;
                    beside.push((name, contents));
                }
            }
            let files: Vec<RoleFile<'_>> = beside.iter().map(|(name, contents)| RoleFile { name, contents }).collect();
            vocabulary.assign_roles(&files, vocabulary.len())?;
        }
        Ok(vocabulary)
    }

    /// This vocabulary as a `tokenizer.json`, readable by every library of that ecosystem. The same vocabulary always
    /// gives the same bytes.
    ///
    /// # Errors
    /// When the tokenizer cannot be written as JSON, which no tokenizer read by this crate is known to refuse.
    pub fn to_json(&self) -> Result<Vec<u8>, VocabularyError> {
        to_json(&self.marked)
    }

    /// The token of a role, where this vocabulary has one.
    pub fn role(&self, role: Role) -> Option<TokenId> {
        self.roles.get(&role).copied()
    }

    /// All tokens that end a text: the one with the role first, then what a model's files list beside it, such as the end of
    /// a turn beside the end of a document.
    pub fn ends(&self) -> Vec<TokenId> {
        self.role(Role::End).into_iter().chain(self.other_ends.iter().copied()).collect()
    }

    /// The begin token in front of each text, where the model learns or has learned its texts so (`add_bos_token` of a
    /// `tokenizer_config.json`). It is given and stands for no text. Without one, a canvas on which nothing is given is the
    /// same at each position to a network that knows positions by their distances alone.
    pub fn text_begin(&self) -> Option<TokenId> {
        self.role(Role::Begin).filter(|_| self.adds_begin)
    }

    /// Says whether a begin token stands in front of each text.
    ///
    /// # Errors
    /// When it is to, and there is no token of that role.
    pub fn set_adds_begin(&mut self, adds_begin: bool) -> Result<(), VocabularyError> {
        if adds_begin {
            self.required(Role::Begin)?;
        }
        self.adds_begin = adds_begin;
        Ok(())
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
        if let Some(encoded) = self.encode_exactly(text)? {
            return Ok(encoded);
        }
        let encoding = self.plain.encode(text, false).map_err(failed)?;
        Ok(EncodedText::from_offsets(text, encoding.get_ids(), encoding.get_offsets(), self.role(Role::Unknown)))
    }

    /// The tokens of a whole text as a model reads it: those of [`Vocabulary::encode_text`], behind the begin token where
    /// there is to be one ([`Vocabulary::text_begin`]), which stands for no byte.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_whole(&self, text: &str) -> Result<EncodedText, VocabularyError> {
        let mut encoded = self.encode_text(text)?;
        if let Some(begin) = self.text_begin() {
            encoded.tokens.insert(0, begin);
            encoded.text_bytes.insert(0, 0);
        }
        Ok(encoded)
    }

    /// The tokens of a text that stands behind another one: without the blank that many tokenizers put before the first
    /// word of a text.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_within(&self, text: &str) -> Result<EncodedText, VocabularyError> {
        if let Some(encoded) = self.encode_exactly(text)? {
            return Ok(encoded);
        }
        // Behind one of these the text has the tokens that it has within another, where none of them is of both.
        for before in ["x", "0", ".", "\""] {
            let (lead, whole) = (self.plain.encode(before, false), self.plain.encode(format!("{before}{text}"), false));
            let (lead, whole) = (lead.map_err(failed)?, whole.map_err(failed)?);
            let Some(tokens) = whole.get_ids().strip_prefix(lead.get_ids()).filter(|_| !lead.is_empty()) else {
                continue;
            };
            let offsets = &whole.get_offsets()[lead.len()..];
            if offsets.iter().all(|(start, end)| *start >= before.len() || start == end) {
                let shift = |at: &usize| at.saturating_sub(before.len());
                let offsets: Vec<_> = offsets.iter().map(|(start, end)| (shift(start), shift(end))).collect();
                return Ok(EncodedText::from_offsets(text, tokens, &offsets, self.role(Role::Unknown)));
            }
        }
        self.encode_text(text)
    }

    /// The tokens of a text where they are byte-level and add up to it: nothing was normalised, added or lost.
    fn encode_exactly(&self, text: &str) -> Result<Option<EncodedText>, VocabularyError> {
        let Pieces::Bytes(table) = &self.pieces else { return Ok(None) };
        let tokens = self.encode(text)?;
        let length = |&id: &TokenId| table.get(id as usize).map_or(0, |bytes| bytes.len() as u32);
        let text_bytes: Vec<u32> = tokens.iter().map(length).collect();
        let sum: u64 = text_bytes.iter().map(|&bytes| u64::from(bytes)).sum();
        let unknown = self.role(Role::Unknown).is_some_and(|unknown| tokens.contains(&unknown));
        let exact = sum == text.len() as u64 && !unknown;
        Ok(exact.then(|| EncodedText { tokens, text_bytes, unknown: UnknownText::default() }))
    }

    /// Many texts, each as [`Vocabulary::encode_text`] gives it, on all threads.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`], for the first text that fails.
    pub fn encode_many<Text: AsRef<str> + Sync>(&self, texts: &[Text]) -> Result<Vec<EncodedText>, VocabularyError> {
        texts.par_iter().map(|text| self.encode_text(text.as_ref())).collect()
    }

    /// The ids that a network with `size` rows of logits must not write as text: special tokens, the one for unknown
    /// characters, and ids beyond this vocabulary.
    pub fn non_text_tokens(&self, size: usize) -> Vec<TokenId> {
        let known = self.len() as TokenId;
        let is_text = |id: TokenId| !self.is_special(id) && self.role(Role::Unknown) != Some(id);
        (0..known).filter(|id| !is_text(*id)).chain(known..size as TokenId).collect()
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
