//! Guidance: each step reads the canvas a second time with what is given hidden, and moves away from what is then said
//! (see [`aquatint_diffusion::guide`]).

use crate::branch::Branch;
use aquatint_diffusion::guide;

/// The readings of each step: the conditional one, and the unconditional one where the request is guided.
pub(crate) fn branches(guided: bool) -> Vec<Branch> {
    let conditional = Branch::new(false);
    std::iter::once(conditional).chain(guided.then(|| Branch::new(true))).collect()
}

/// The logits of one row from those of both readings; without a second reading they are the first one's.
pub(crate) fn guided(conditional: &[f32], unconditional: Option<&[f32]>, scale: f64) -> Vec<f32> {
    let mut logits = conditional.to_vec();
    if let Some(unconditional) = unconditional {
        guide(conditional, unconditional, scale, &mut logits);
    }
    logits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unguided_request_reads_once_and_keeps_its_logits() {
        assert_eq!((branches(false).len(), branches(true).len()), (1, 2));
        assert_eq!(guided(&[1.0, 2.0], None, 3.0), [1.0, 2.0]);
        assert_eq!(guided(&[1.0, 2.0], Some(&[0.0, 3.0]), 2.0), [2.0, 1.0]);
    }
}
