//! Regular languages of bytes as expressions.

use crate::automaton::ByteAutomaton;
use std::sync::Arc;

/// A regular language of byte strings.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One byte of these ranges, ends included.
    Byte(Vec<(u8, u8)>),
    /// One behind the other; the empty text where there are none.
    All(Vec<Expression>),
    /// Any of these; nothing at all where there are none.
    Either(Vec<Expression>),
    /// So often in a row.
    Repeat { of: Arc<Expression>, least: usize, most: Option<usize> },
    /// Once or more, with separators between.
    Loop { of: Arc<Expression>, separator: Arc<Expression> },
    /// Texts that all of these allow.
    Both(Vec<Expression>),
    /// Items in their order with separators between those that are there.
    List { items: Vec<Item>, separator: Arc<Expression>, least: usize, most: Option<usize> },
    /// What an automaton accepts.
    Automaton(Arc<ByteAutomaton>),
}

/// An item of [`Expression::List`].
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) of: Expression,
    /// Whether it cannot be left out.
    pub(crate) is_required: bool,
}

impl Expression {
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    pub(crate) fn empty() -> Self {
        Self::All(Vec::new())
    }

    pub(crate) fn never() -> Self {
        Self::Either(Vec::new())
    }

    pub(crate) fn optional(self) -> Self {
        self.repeated(0, Some(1))
    }

    pub(crate) fn repeated(self, least: usize, most: Option<usize>) -> Self {
        Self::Repeat { of: Arc::new(self), least, most }
    }

    /// Items of one kind with separators between them.
    pub(crate) fn separated(self, separator: Self, least: usize, most: Option<usize>) -> Self {
        let (of, separator) = (Arc::new(self), Arc::new(separator));
        let followed = Self::All(vec![(*of).clone(), (*separator).clone()]);
        let list = match most {
            None => {
                let rest = Self::Loop { of, separator };
                Self::All(vec![followed.repeated(least.saturating_sub(1), Some(least.saturating_sub(1))), rest])
            }
            Some(0) => return if least == 0 { Self::empty() } else { Self::never() },
            Some(most) if most < least => return Self::never(),
            Some(most) => {
                let more = Self::All(vec![(*separator).clone(), (*of).clone()]);
                Self::All(vec![(*of).clone(), more.repeated(least.saturating_sub(1), Some(most - 1))])
            }
        };
        if least == 0 { list.optional() } else { list }
    }
}
