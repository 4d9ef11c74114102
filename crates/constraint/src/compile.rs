//! The compiler of a vocabulary.

use crate::cache::Cache;
use crate::determine::determine;
use crate::error::{CompileError, Limit, TooLarge};
use crate::grammar::Grammars;
use crate::left_to_right::Tokens;
use crate::tokens::TokenTree;
use crate::{language, molecule, pattern, schema};
use aquatint_generate::TextConstraint;
use aquatint_vocabulary::Vocabulary;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of compiled constraints that a compiler stores.
const CACHE_BYTES: usize = 128 << 20;

/// What a text may be, as a user says it.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstraintSpec {
    /// The whole text matches a regular expression, in the syntax of the crate `regex`.
    Regex(String),
    /// The text is JSON that a schema allows.
    JsonSchema(Value),
    /// The text is any JSON object.
    JsonObject,
    /// The text is a sentence of a context-free grammar in Lark's syntax, whose rule `start` it begins with. It is written
    /// from left to right.
    Grammar(String),
    /// The text is a molecule as SMILES, together with what stands before and behind it without a blank: a hole in
    /// `C1CC[[~8]]CC1` is filled so that all of it is one. Its atoms are all joined by bonds, and dots stand only between
    /// fragments that ring numbers join: `c1ccc%10cc1.[[~8]]`. It is written from left to right.
    Molecule,
}

impl ConstraintSpec {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Regex(_) => REGEX,
            Self::JsonSchema(_) => JSON_SCHEMA,
            Self::JsonObject => JSON_OBJECT,
            Self::Grammar(_) => GRAMMAR,
            Self::Molecule => molecule::KIND,
        }
    }

    /// What tells it from others of its kind.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::Regex(source) | Self::Grammar(source) => source.clone(),
            Self::JsonSchema(schema) => schema.to_string(),
            Self::JsonObject | Self::Molecule => String::new(),
        }
    }
}

const REGEX: &str = "regular expression";
const JSON_SCHEMA: &str = "JSON schema";
const JSON_OBJECT: &str = "JSON object";
const GRAMMAR: &str = "grammar";

/// Makes constraints for the tokens of one vocabulary, and stores those that were made last.
///
/// ```
/// use aquatint_constraint::{Compiler, ConstraintSpec};
/// use aquatint_vocabulary::Vocabulary;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vocabulary = Vocabulary::train(["a text to learn tokens from".to_owned()].into_iter(), 270)?;
/// let compiler = Compiler::new(&vocabulary)?;
/// let constraint = compiler.compile(&ConstraintSpec::Regex("(yes|no)( |!)*".to_owned()))?;
/// assert_eq!(constraint.plain.name(), "regular expression");
/// let refused = compiler.compile(&ConstraintSpec::Regex(r"\bword\b".to_owned())).unwrap_err();
/// assert!(refused.to_string().contains("word boundary"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Compiler {
    tree: TokenTree,
    tokens: Arc<Tokens>,
    grammars: Grammars,
    cache: Mutex<Cache<(&'static str, String), TextConstraint>>,
}

impl Compiler {
    /// The compiler of a vocabulary.
    ///
    /// # Errors
    /// When its tokenizer is not byte-level.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, CompileError> {
        let (tree, tokens) = (TokenTree::new(vocabulary)?, Arc::new(Tokens::new(vocabulary)));
        let grammars = Grammars::new(&tokens)?;
        Ok(Self { tree, tokens, grammars, cache: Mutex::new(Cache::new(CACHE_BYTES)) })
    }

    /// The constraint of a specification.
    ///
    /// # Errors
    /// When it has an error, cannot be kept, or takes more than a limit allows.
    pub fn compile(&self, spec: &ConstraintSpec) -> Result<TextConstraint, CompileError> {
        let (kind, source) = (spec.kind(), spec.source());
        if source.len() > Limit::Source.most() {
            return Err(CompileError::TooLarge { kind, limit: Limit::Source });
        }
        let key = (kind, source);
        // A compiler whose user panicked is whole: nothing is half done under the lock.
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(constraint) = lock().get(&key) {
            return Ok(constraint);
        }
        let (constraint, bytes) = match spec {
            ConstraintSpec::Regex(source) => {
                let expression = pattern::whole(source).map_err(|reason| CompileError::Regex { reason })?;
                let too_large = |TooLarge(limit)| CompileError::TooLarge { kind, limit };
                language::constraint(kind, &determine(&expression).map_err(too_large)?, &self.tree)?
            }
            ConstraintSpec::JsonSchema(schema) => schema::constraint(kind, schema, &self.tree)?,
            // A grammar takes about as much as its text; its parsers belong to requests.
            ConstraintSpec::Grammar(source) => (self.grammars.constraint(source)?, source.len()),
            // The tokens that it shares with the compiler are all that it has.
            ConstraintSpec::Molecule => (molecule::constraint(&self.tokens), 0),
            ConstraintSpec::JsonObject => schema::constraint(kind, &serde_json::json!({"type": "object"}), &self.tree)?,
        };
        lock().insert(key, constraint.clone(), bytes);
        Ok(constraint)
    }
}
