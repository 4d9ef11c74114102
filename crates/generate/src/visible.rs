//! Which positions of a canvas the network reads.

use crate::request::may_end;
use aquatint_diffusion::{Canvas, Kind, Layout, TokenId};
use aquatint_network::NetworkSpec;

/// The positions that the network reads, ascending: all but padding, what fell away behind an end token, and an end
/// token that has text after it, which is in the middle of no training text.
pub(crate) fn visible(canvas: &Canvas, ends: &[TokenId]) -> Vec<usize> {
    let mut counts: Vec<usize> = (0..canvas.len())
        .filter(|position| canvas.kind(*position) != Some(Kind::Padding) && !canvas.is_closed(*position))
        .collect();
    let last = counts.last().copied();
    let followed = |position: usize| {
        // Only an end that has closed its span is sure to stay one; before that it may stand between open positions.
        let span = canvas.spans().iter().find(|span| span.positions.contains(&position));
        span.is_some_and(|span| (position + 1..span.positions.end).all(|p| canvas.is_closed(p)))
            && Some(position) != last
    };
    counts.retain(|position| !(is_end(canvas, ends, *position) && followed(*position)));
    counts
}

/// The part of the visible positions that the network reads for a block. Where all before it is causal it reads none behind it. Others
/// read what they can around the last of a block: all positions where they fit, else a stretch that begins at the
/// beginning of a block. It moves by half of what the network can read, so that what is cached of it serves many blocks.
pub(crate) fn window(visible: Vec<usize>, block: &[usize], spec: &NetworkSpec) -> Vec<usize> {
    let last = block.last().copied().unwrap_or(0);
    let length = match spec.attention {
        Layout::Full => return visible,
        Layout::Causal | Layout::CausalPrefix { .. } => {
            let end = visible.partition_point(|position| *position <= last);
            return visible[..end].to_vec();
        }
        Layout::Block { length } => length,
    };
    if visible.len() <= spec.context_length {
        return visible;
    }
    // Of the block in which the last position lies, all.
    let end = visible.partition_point(|position| *position <= last).next_multiple_of(length);
    let hop = (spec.context_length / 2 / length).max(1) * length;
    let start = end.saturating_sub(spec.context_length).next_multiple_of(hop).min(end.saturating_sub(length));
    let stop = (start + spec.context_length).min(visible.len());
    visible[start..stop].to_vec()
}

/// Whether a committed end token closes a span here.
pub(crate) fn is_end(canvas: &Canvas, ends: &[TokenId], position: usize) -> bool {
    canvas.is_committed(position) && ends.contains(&canvas.tokens()[position]) && may_end(canvas, position)
}
