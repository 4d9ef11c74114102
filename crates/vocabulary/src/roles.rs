//! Which token has a role: by the usual names of special tokens, or as a model's own files say by name or by id.

use crate::decoding::Pieces;
use crate::{Role, TokenId, Vocabulary, VocabularyError};
use serde_json::Value;
use std::collections::BTreeSet;
use tokenizers::AddedToken;

/// A file that may say which tokens have a role: `tokenizer_config.json` and `special_tokens_map.json` by name
/// (`mask_token`, a text or an object with `content`), `config.json` and `generation_config.json` by id
/// (`mask_token_id`, a number or a list of them). Its other keys are ignored.
#[derive(Debug, Clone, Copy)]
pub struct RoleFile<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// What it says.
    pub contents: &'a Value,
}

/// What a file says of a role.
struct Statement {
    /// The tokens, of which any has the role; never empty.
    tokens: Vec<TokenId>,
    /// The words of it, for messages.
    words: String,
}

impl Vocabulary {
    /// Takes roles from a model's files, which all have to say the same. Of several tokens that a file lists, the one
    /// that another file names has the role, or that with a usual name, or the first; others that end a text are among
    /// [`Vocabulary::ends`]. An id may lie beyond this
    /// vocabulary, but within the `rows` of the network's embedding: some models have a mask that their tokenizer does
    /// not know. Where a file has `add_bos_token`, it says whether a begin token stands in front of each text, if there
    /// is one.
    ///
    /// # Errors
    /// When a token is named that does not exist, or two files disagree.
    pub fn assign_roles(&mut self, files: &[RoleFile<'_>], rows: usize) -> Result<(), VocabularyError> {
        for role in Role::ALL {
            let Some(key) = role.config_key() else { continue };
            let mut said: Option<Statement> = None;
            let mut listed: Vec<TokenId> = Vec::new();
            for file in files {
                for statement in [self.by_name(key, file)?, self.by_id(key, file, rows)?].into_iter().flatten() {
                    listed.extend(&statement.tokens);
                    match &said {
                        Some(first) if !first.tokens.iter().any(|token| statement.tokens.contains(token)) => {
                            let (first, second) = (first.words.clone(), statement.words);
                            return Err(VocabularyError::RoleConflict { role, first, second });
                        }
                        Some(first) if first.tokens.len() <= statement.tokens.len() => {}
                        _ => said = Some(statement),
                    }
                }
            }
            let Some(Statement { tokens, .. }) = said else { continue };
            let usual = self.role(role).filter(|usual| tokens.contains(usual));
            let Some(token) = usual.or(tokens.first().copied()) else { continue };
            self.set_role(role, token)?;
            if role == Role::End {
                let others: BTreeSet<TokenId> = listed.into_iter().filter(|other| *other != token).collect();
                // One that is not in the tokenizer is none of its texts.
                self.other_ends =
                    others.into_iter().filter(|other| self.marked.id_to_token(*other).is_some()).collect();
                self.other_ends.clone().into_iter().for_each(|other| self.stands_for_no_text(other));
            }
        }
        if let Some(adds_begin) = files.iter().find_map(|file| file.contents["add_bos_token"].as_bool()) {
            self.adds_begin = adds_begin;
        }
        Ok(())
    }

    /// The token of a name, special or not.
    pub fn token_of(&self, name: &str) -> Option<TokenId> {
        self.marked.token_to_id(name)
    }

    /// Adds a special token for a role that this vocabulary lacks, under Aquatint's own name, and returns its id.
    ///
    /// # Errors
    /// When the tokenizer has ids without a token, one of which the new token would share.
    pub fn add_role(&mut self, role: Role) -> Result<TokenId, VocabularyError> {
        let name = role.token();
        let known = self.marked.token_to_id(name);
        let before = self.marked.clone();
        self.add_special(name)?;
        let gone = || VocabularyError::Tokenizer { reason: format!("`{name}` could not be added to it") };
        let token = self.marked.token_to_id(name).ok_or_else(gone)?;
        if known.is_none() && before.id_to_token(token).is_some() {
            return Err(gone());
        }
        self.set_role(role, token)?;
        Ok(token)
    }

    fn by_name(&self, key: &str, file: &RoleFile<'_>) -> Result<Option<Statement>, VocabularyError> {
        let value = &file.contents[key];
        let name = value.as_str().or_else(|| value["content"].as_str()).filter(|name| !name.is_empty());
        let Some(name) = name else { return Ok(None) };
        match self.marked.token_to_id(name) {
            Some(token) => {
                let words = format!("`{key}` in {} is `{name}`, which is token {token}", file.name);
                Ok(Some(Statement { tokens: vec![token], words }))
            }
            None => {
                let (key, file) = (key.to_owned(), file.name.to_owned());
                Err(VocabularyError::UnknownToken { key, file, given: format!("{name:?}") })
            }
        }
    }

    fn by_id(&self, key: &str, file: &RoleFile<'_>, rows: usize) -> Result<Option<Statement>, VocabularyError> {
        let key = format!("{key}_id");
        let value = &file.contents[&key];
        // A negative number is how some files say that there is none.
        let ids: Vec<u64> = match value.as_array() {
            Some(ids) => ids.iter().filter_map(Value::as_u64).collect(),
            None => value.as_u64().into_iter().collect(),
        };
        let known = |&id: &u64| TokenId::try_from(id).ok().filter(|&id| (id as usize) < self.len().max(rows));
        if let Some(id) = ids.iter().find(|id| known(id).is_none()) {
            return Err(VocabularyError::UnknownToken { key, file: file.name.to_owned(), given: id.to_string() });
        }
        let words = format!("`{key}` in {} is {value}", file.name);
        Ok((!ids.is_empty()).then(|| Statement { tokens: ids.iter().filter_map(known).collect(), words }))
    }

    /// Gives a token a role. It then stands for no text.
    fn set_role(&mut self, role: Role, token: TokenId) -> Result<(), VocabularyError> {
        self.roles.insert(role, token);
        let Some(name) = self.marked.id_to_token(token).filter(|_| !self.is_special(token)) else { return Ok(()) };
        if role == Role::Mask {
            // Or a text with these characters would hold a mask.
            self.add_special(&name)?;
        }
        self.stands_for_no_text(token);
        Ok(())
    }

    fn stands_for_no_text(&mut self, token: TokenId) {
        let index = token as usize;
        if index >= self.special.len() {
            self.special.resize(index + 1, false);
        }
        self.special[index] = true;
        if let Pieces::Bytes(table) = &mut self.pieces {
            table.resize(self.special.len().max(table.len()), Vec::new());
            table[index].clear();
        }
    }

    fn add_special(&mut self, name: &str) -> Result<(), VocabularyError> {
        for tokenizer in [&mut self.plain, &mut self.marked] {
            let token = AddedToken::from(name, true);
            tokenizer
                .add_special_tokens([token])
                .map_err(|error| VocabularyError::Tokenizer { reason: error.to_string() })?;
        }
        Ok(())
    }
}
