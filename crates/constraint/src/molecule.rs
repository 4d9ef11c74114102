//! Molecules as SMILES, kept from left to right: every text that is written is one, together with what stands around its
//! hole. Tokens of properties may stand before the molecule.

use crate::left_to_right::{LeftToRightFiller, Prefix, Tokens};
use aquatint_diffusion::TokenId;
use aquatint_generate::{CommitOrder, Constraint, ConstraintError, SpanFiller, SpanStart, TextConstraint};
use aquatint_molecule::{SmilesErrorKind, SmilesReader};
use std::fmt;
use std::sync::Arc;

/// What a constraint on molecules is called in messages.
pub(crate) const KIND: &str = "molecule";

/// Bytes of a molecule that may stand beside its hole. What is read of it is copied for each token that may come next.
const MOST_AROUND: usize = 1024;

/// Texts that a search for an end tries, those first that close something. Others have more rings to close than a hole
/// holds.
const ENDINGS: [&str; 13] = [")", "1", "2", "3", "4", "c", "C", "n", "o", "N", "O", "=O", "[nH]"];

/// Tokens that molecules have.
struct Usable {
    /// All, by rising id: none that begins a second molecule, `.`, or leaves an atom unknown, `*`.
    tokens: Vec<TokenId>,
    /// Those of [`ENDINGS`], in their order.
    endings: Vec<(&'static str, TokenId)>,
}

/// Molecules as a constraint.
#[derive(Clone)]
struct Molecules {
    tokens: Arc<Tokens>,
    usable: Arc<Usable>,
    is_behind_blank: bool,
}

/// The beginning of a molecule.
#[derive(Clone)]
struct Begun {
    reader: SmilesReader,
    /// What follows the hole and belongs to the molecule.
    after: Arc<[u8]>,
    tokens: Arc<Tokens>,
    usable: Arc<Usable>,
}

/// Whether a token is a property of the molecule behind it: a name in capitals and a value, `[LOGP=-1]`. No atom is written
/// so.
fn is_property(token: &[u8]) -> bool {
    let inner = token.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
    let mut parts = inner.splitn(2, |byte| *byte == b'=');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return false };
    let is_value = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-".contains(byte);
    !name.is_empty() && name.iter().all(u8::is_ascii_uppercase) && !value.is_empty() && value.iter().all(is_value)
}

/// The constraint for the tokens of a vocabulary.
pub(crate) fn constraint(tokens: &Arc<Tokens>) -> TextConstraint {
    let is_usable = |bytes: &[u8]| {
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"()[]=#$:/\\-+@%".contains(byte))
    };
    let all = || tokens.all().iter().map(Vec::as_slice).zip(0..);
    let ending =
        |ending: &'static str| all().find(|(bytes, _)| *bytes == ending.as_bytes()).map(|(_, id)| (ending, id));
    let usable = Arc::new(Usable {
        tokens: all().filter(|(bytes, _)| is_usable(bytes)).map(|(_, id)| id).collect(),
        endings: ENDINGS.into_iter().filter_map(ending).collect(),
    });
    let constraint = |is_behind_blank| -> Arc<dyn Constraint> {
        Arc::new(Molecules { tokens: Arc::clone(tokens), usable: Arc::clone(&usable), is_behind_blank })
    };
    TextConstraint { plain: constraint(false), behind_blank: constraint(true) }
}

impl Constraint for Molecules {
    fn name(&self) -> String {
        KIND.to_owned()
    }

    fn order(&self) -> CommitOrder {
        CommitOrder::LeftToRight
    }

    fn begin(&self, span: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError> {
        let (before, after) =
            (self.around(span.before.map(|before| self.behind_properties(before)))?, self.around(span.after)?);
        // A molecule has no blanks, so it ends where there is one.
        let before = if self.is_behind_blank {
            // The blank is not on the canvas: the span's first token owes it.
            &[]
        } else {
            before.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default()
        };
        let after = after.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        if before.len() + after.len() > MOST_AROUND {
            return Err(ConstraintError::Refused(format!(
                "{} bytes of the molecule stand beside the hole; allowed: at most {MOST_AROUND}",
                before.len() + after.len()
            )));
        }
        let mut reader = SmilesReader::new();
        for (at, byte) in before.iter().enumerate() {
            reader.push(*byte).map_err(|kind| {
                let before = String::from_utf8_lossy(before);
                ConstraintError::Refused(format!(
                    "no molecule begins with `{before}`, before the hole: at byte {at}: {kind}"
                ))
            })?;
        }
        let (tokens, usable) = (Arc::clone(&self.tokens), Arc::clone(&self.usable));
        let begun = Begun { reader, after: after.into(), tokens: Arc::clone(&tokens), usable };
        Ok(Box::new(LeftToRightFiller::new((KIND, begun), tokens, span, self.is_behind_blank)?))
    }
}

impl Molecules {
    /// What stands behind the tokens of properties with which a text begins, such as `[QED=8]`, and behind special tokens in
    /// front of them. A text of that form that is more than one token is none of them: the model was taught nothing of it.
    fn behind_properties<'t>(&self, before: &'t [TokenId]) -> &'t [TokenId] {
        let special = before.iter().take_while(|token| self.tokens.of(**token).is_empty()).count();
        let before = &before[special..];
        let properties = before.iter().take_while(|token| is_property(self.tokens.of(**token))).count();
        &before[properties..]
    }

    /// The text of tokens that stand before or behind a hole. Special tokens are no part of a molecule and end it.
    fn around(&self, tokens: Option<&[TokenId]>) -> Result<Vec<u8>, ConstraintError> {
        let Some(tokens) = tokens else {
            let message = "a molecule has one hole, and there is another in this canvas";
            return Err(ConstraintError::Refused(message.to_owned()));
        };
        let bytes = |token: &TokenId| match self.tokens.of(*token) {
            [] => b"\n",
            bytes => bytes,
        };
        Ok(tokens.iter().flat_map(bytes).copied().collect())
    }
}

impl Begun {
    /// Numbers of rings that stand behind the hole: some may have to be opened in it.
    fn rings_after(&self) -> impl Iterator<Item = u8> {
        self.after.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0')
    }

    fn push(reader: &mut SmilesReader, bytes: &[u8]) -> Result<(), SmilesErrorKind> {
        bytes.iter().try_for_each(|byte| reader.push(*byte))
    }
}

impl Prefix for Begun {
    fn next(&mut self) -> Vec<TokenId> {
        let may_come = |token: &TokenId| {
            let bytes = self.tokens.of(*token);
            bytes.first().is_some_and(|byte| self.reader.may_follow(*byte))
                && Self::push(&mut self.reader.clone(), bytes).is_ok()
        };
        self.usable.tokens.iter().copied().filter(may_come).collect()
    }

    fn read(&mut self, token: TokenId) -> Result<(), String> {
        Self::push(&mut self.reader, self.tokens.of(token)).map_err(|kind| kind.to_string())
    }

    fn may_end(&mut self) -> bool {
        if self.after.is_empty() {
            return self.reader.molecule().is_ok();
        }
        let mut whole = self.reader.clone();
        Self::push(&mut whole, &self.after).is_ok() && whole.molecule().is_ok()
    }

    /// Each open ring and each open branch takes a token to close it, unless that stands behind the hole.
    fn shortest(&self) -> usize {
        let closed_after = |closes: &dyn Fn(&u8) -> bool| self.after.iter().filter(|byte| closes(byte)).count();
        let rings = self.reader.open_rings().count().saturating_sub(closed_after(&u8::is_ascii_digit));
        rings + self.reader.open_branches().saturating_sub(closed_after(&|byte| *byte == b')'))
    }

    fn branches(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId> {
        // A ring that is opened would have to be closed, too, unless that is done behind the hole.
        let opens = |ending: &str| {
            let number = ending.parse::<u8>();
            number.is_ok_and(|number| !self.reader.open_rings().chain(self.rings_after()).any(|open| open == number))
        };
        let may_come = |ending: &&(&'static str, TokenId)| is_allowed(ending.1) && !opens(ending.0);
        self.usable.endings.iter().filter(may_come).map(|(_, token)| *token).collect()
    }
}

impl fmt::Debug for Molecules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Molecules").field("is_behind_blank", &self.is_behind_blank).finish_non_exhaustive()
    }
}
