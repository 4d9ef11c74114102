//! Whether a text that is there is what a constraint allows.

use crate::ConstraintSpec;
use crate::automaton::{ByteAutomaton, DEAD};
use crate::determine::determine;
use crate::error::{CompileError, Limit, TooLarge};
use crate::{molecule, pattern, schema};
use aquatint_molecule::Molecule;

/// The texts that a constraint allows. It needs no vocabulary, and is the same set that the constraint of a
/// [`Compiler`](crate::Compiler) writes; of molecules also those of several parts (`.`) and of unknown atoms (`*`).
///
/// ```
/// use aquatint_constraint::{ConstraintSpec, TextSet};
///
/// let answers = TextSet::new(&ConstraintSpec::Regex("(yes|no)!*".to_owned()))?;
/// assert!(answers.contains("yes!!") && !answers.contains("yes, no"));
/// # Ok::<(), aquatint_constraint::CompileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TextSet(Texts);

#[derive(Debug, Clone, PartialEq)]
enum Texts {
    Regular(ByteAutomaton),
    Molecules,
}

impl TextSet {
    /// The texts of a specification.
    ///
    /// # Errors
    /// When it has an error, cannot be kept, or takes more than a limit allows; a grammar is kept while a text is written
    /// and in no other case.
    pub fn new(spec: &ConstraintSpec) -> Result<Self, CompileError> {
        let kind = spec.kind();
        if spec.source().len() > Limit::Source.most() {
            return Err(CompileError::TooLarge { kind, limit: Limit::Source });
        }
        let automaton = match spec {
            ConstraintSpec::Regex(source) => {
                let expression = pattern::whole(source).map_err(|reason| CompileError::Regex { reason })?;
                determine(&expression).map_err(|TooLarge(limit)| CompileError::TooLarge { kind, limit })?
            }
            ConstraintSpec::JsonSchema(value) => schema::automaton(kind, value)?,
            ConstraintSpec::JsonObject => schema::automaton(kind, &serde_json::json!({"type": "object"}))?,
            ConstraintSpec::Molecule => return Ok(Self(Texts::Molecules)),
            ConstraintSpec::Grammar(_) => {
                let reason = "a grammar is kept while a text is written; a text that is there is not checked by it";
                return Err(CompileError::Grammar { reason: reason.to_owned() });
            }
        };
        if automaton.is_empty() { Err(CompileError::Empty { kind }) } else { Ok(Self(Texts::Regular(automaton))) }
    }

    /// Whether the whole text is one of them behind `before`, which stands in front of it: a molecule goes on with what was
    /// begun there, less the properties with which that begins and all up to its last blank, as where it is written. Of
    /// other texts what stands before is no part.
    ///
    /// ```
    /// use aquatint_constraint::{ConstraintSpec, TextSet};
    ///
    /// let molecules = TextSet::new(&ConstraintSpec::Molecule)?;
    /// assert!(molecules.continues("[QED=9]c1ccc(", "O)cc1") && !molecules.continues("", "O)cc1"));
    /// # Ok::<(), aquatint_constraint::CompileError>(())
    /// ```
    pub fn continues(&self, before: &str, text: &str) -> bool {
        match &self.0 {
            Texts::Regular(_) => self.contains(text),
            Texts::Molecules => self.contains(&[molecule::begun_in(before), text].concat()),
        }
    }

    /// Whether the whole text is one of them.
    pub fn contains(&self, text: &str) -> bool {
        let automaton = match &self.0 {
            Texts::Regular(automaton) => automaton,
            Texts::Molecules => return Molecule::parse(text).is_ok(),
        };
        let last = text.bytes().try_fold(automaton.start(), |state, byte| match automaton.next(state, byte) {
            DEAD => None,
            next => Some(next),
        });
        last.is_some_and(|state| automaton.accepts(state))
    }
}
