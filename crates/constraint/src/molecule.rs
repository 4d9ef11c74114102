//! Molecules as SMILES, kept from left to right: every text that is written is one, together with what stands around its
//! hole, and all its atoms are joined by bonds. Its fragments may stand one after another, with dots between them. Tokens of
//! properties may stand before the molecule.

use crate::left_to_right::{LeftToRightFiller, Prefix, Tokens};
use aquatint_diffusion::TokenId;
use aquatint_generate::{CommitOrder, Constraint, ConstraintError, SpanFiller, SpanStart, TextConstraint};
use aquatint_molecule::{SmilesErrorKind, SmilesReader};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a constraint on molecules is called in messages.
pub(crate) const KIND: &str = "molecule";

/// Bytes of a molecule that may stand beside its hole. What is read of it is copied for each token that may come next.
const MOST_AROUND: usize = 1024;

/// Atoms that a search for an end tries behind what closes something.
const ENDINGS: [&str; 8] = ["c", "C", "n", "o", "N", "O", "=O", "[nH]"];

/// Tokens that molecules have.
struct Usable {
    /// All, by rising id: none that leaves an atom unknown, `*`. A dot is among them only where a ring number of two digits
    /// is a token, as it is of models that learned fragment sequences: others, wherever they would end a text that may not
    /// end yet, would write dots that they never learned.
    tokens: Vec<TokenId>,
    /// What closes a branch.
    branch: Option<TokenId>,
    /// What ends a fragment: it is needed where the last atom holds no more, and rings are open.
    dot: Option<TokenId>,
    /// Ring numbers and the bytes of them, by their text.
    numbers: HashMap<Vec<u8>, TokenId>,
    /// Those of [`ENDINGS`], in their order.
    endings: Vec<TokenId>,
    /// The atom that chains are made of.
    carbon: Option<TokenId>,
}

impl Usable {
    fn new(tokens: &Tokens) -> Self {
        let all = || tokens.all().iter().map(Vec::as_slice).zip(0..);
        let has_fragments = all().any(|(bytes, _)| matches!(bytes, [b'%', b'0'..=b'9', b'0'..=b'9']));
        let may_stand = |byte: &u8| match byte {
            b'.' => has_fragments,
            byte => byte.is_ascii_alphanumeric() || b"()[]=#$:/\\-+@%".contains(byte),
        };
        let usable = || all().filter(|(bytes, _)| !bytes.is_empty() && bytes.iter().all(may_stand));
        let of = |text: &str| usable().find(|(bytes, _)| *bytes == text.as_bytes()).map(|(_, id)| id);
        let is_of_number = |bytes: &[u8]| matches!(bytes, [b'%'] | [b'0'..=b'9'] | [b'%', _, _]);
        Self {
            tokens: usable().map(|(_, id)| id).collect(),
            branch: of(")"),
            dot: of("."),
            numbers: usable()
                .filter(|(bytes, _)| is_of_number(bytes))
                .map(|(bytes, id)| (bytes.to_vec(), id))
                .collect(),
            endings: ENDINGS.into_iter().filter_map(of).collect(),
            carbon: of("C"),
        }
    }

    /// The token that goes on with a ring number, of which some bytes may stand there: all that is left of it, or one byte.
    fn number(&self, number: u8, begun: &[u8]) -> Option<TokenId> {
        let text = if number < 10 { number.to_string() } else { format!("%{number}") };
        // What is begun and no number is an atom, behind which the number stands whole.
        let begun = if begun.starts_with(b"%") { begun } else { &[] };
        let left = text.as_bytes().strip_prefix(begun).filter(|left| !left.is_empty())?;
        self.numbers.get(left).or_else(|| self.numbers.get(&left[..1])).copied()
    }
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
    /// Ring numbers of it.
    rings_after: Arc<[u8]>,
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

/// The part of a text to which a molecule behind it belongs: what follows the properties with which the text begins, and the
/// last blank. Without a vocabulary every property counts, whatever its tokens are.
pub(crate) fn begun_in(before: &str) -> &str {
    let mut rest = before;
    while let Some(end) = rest.find(']').filter(|end| is_property(&rest.as_bytes()[..=*end])) {
        rest = &rest[end + 1..];
    }
    rest.rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default()
}

/// The ring numbers that stand in a text, each as often as it does.
fn ring_numbers(text: &[u8]) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'[', _) => rest = behind.splitn(2, |byte| *byte == b']').nth(1).unwrap_or_default(),
            (b'%', [ten @ b'0'..=b'9', one @ b'0'..=b'9', behind @ ..]) => {
                found.push((ten - b'0') * 10 + one - b'0');
                rest = behind;
            }
            (b'0'..=b'9', _) => found.push(byte - b'0'),
            _ => {}
        }
    }
    found
}

/// The constraint for the tokens of a vocabulary.
pub(crate) fn constraint(tokens: &Arc<Tokens>) -> TextConstraint {
    let usable = Arc::new(Usable::new(tokens));
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
        let mut reader = SmilesReader::of_one_part();
        for (at, byte) in before.iter().enumerate() {
            reader.push(*byte).map_err(|kind| {
                let before = String::from_utf8_lossy(before);
                ConstraintError::Refused(format!(
                    "no molecule begins with `{before}`, before the hole: at byte {at}: {kind}"
                ))
            })?;
        }
        let (tokens, usable) = (Arc::clone(&self.tokens), Arc::clone(&self.usable));
        let rings_after = ring_numbers(after).into();
        let begun = Begun { reader, after: after.into(), rings_after, tokens: Arc::clone(&tokens), usable };
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
        let rings = self.reader.open_rings().filter(|number| !self.rings_after.contains(number)).count();
        let closed_after = self.after.iter().filter(|byte| **byte == b')').count();
        rings + self.reader.open_branches().saturating_sub(closed_after)
    }

    fn branches(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId> {
        // A ring that is opened has to be closed, too. So none is, unless that is done behind the hole or an atom needs one.
        let mut rings: Vec<u8> = self.reader.open_rings().chain(self.rings_after.iter().copied()).collect();
        rings.sort_unstable();
        rings.dedup();
        let mut numbers: Vec<TokenId> =
            rings.into_iter().filter_map(|ring| self.usable.number(ring, self.reader.begun())).collect();
        // Those that begin with the same byte go on with the same token.
        numbers.dedup();
        let free =
            |number: &u8| !self.reader.open_rings().chain(self.rings_after.iter().copied()).any(|open| open == *number);
        let lacking = (1..10).find(free).filter(|_| self.reader.lacks_ring());
        let opening = lacking.and_then(|number| self.usable.number(number, &[]));
        let closing = opening.into_iter().chain(self.usable.branch).chain(numbers);
        let atoms = if self.reader.is_full() { &[][..] } else { &self.usable.endings };
        closing.chain(atoms.iter().copied()).chain(self.usable.dot).filter(|token| is_allowed(*token)).collect()
    }

    fn repeatable(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId> {
        self.usable.carbon.into_iter().filter(|token| is_allowed(*token)).collect()
    }
}

impl fmt::Debug for Molecules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Molecules").field("is_behind_blank", &self.is_behind_blank).finish_non_exhaustive()
    }
}
