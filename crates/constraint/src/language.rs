//! From an automaton over bytes to a constraint on tokens.

use crate::automaton::ByteAutomaton;
use crate::error::{CompileError, TooLarge};
use crate::tokens::TokenTree;
use aquatint_diffusion::constraint::TokenAutomaton;
use aquatint_generate::{AnyOrder, TextConstraint};
use std::sync::Arc;

/// The constraint of an automaton, and the bytes that it takes.
pub(crate) fn constraint(
    kind: &'static str,
    bytes: &ByteAutomaton,
    tree: &TokenTree,
) -> Result<(TextConstraint, usize), CompileError> {
    let too_large = |TooLarge(limit)| CompileError::TooLarge { kind, limit };
    if bytes.is_empty() {
        return Err(CompileError::Empty { kind });
    }
    let plain = Arc::new(tree.automaton(bytes).map_err(too_large)?);
    let behind_blank = Arc::new(tree.automaton(&bytes.behind_blank()).map_err(too_large)?);
    let taken = plain.bytes() + behind_blank.bytes();
    let order = |automaton: Arc<TokenAutomaton>| Arc::new(AnyOrder::new(kind, automaton));
    Ok((TextConstraint { plain: order(plain), behind_blank: order(behind_blank) }, taken))
}
