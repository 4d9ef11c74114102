//! Rotary position embedding (Su et al., 2104.09864, eq. 34) of queries and keys, after their per-head RMS norm where
//! one is given (QK-norm: Henry et al., 2010.04245, in the RMS form of today's models).
//!
//! Elements are in pairs as [`Rotation`](crate::Rotation) has them (the "half" convention of Hugging Face checkpoints, not
//! the interleaved one of the paper). The backward pass turns back by the same angle.

use super::norm::{NormedRow, normalise, normalise_backward};
use crate::{Element, HeadNormGradients, HeadNorms, Rope, RopeShape};

/// Normed and turned queries and keys, copied or normed values.
pub(in crate::cpu) fn rope<E: Element>(operands: Rope<'_, [E], [u32]>, out: &mut [E]) {
    let Rope { shape, positions, packed, norms } = operands;
    let attention = shape.attention;
    let (columns, size) = (attention.packed_columns(), attention.head_size);
    for (t, place) in positions.chunks_exact(shape.rotation.axes).enumerate() {
        for head in 0..attention.heads + 2 * attention.key_value_heads {
            let range = t * columns + head * size..t * columns + (head + 1) * size;
            let (x, out) = (&packed[range.clone()], &mut out[range]);
            let Some(weight) = head_weight(&shape, head, norms) else {
                if shape.value_norm {
                    normalise(shape.epsilon, x, None, out);
                } else {
                    out.copy_from_slice(x);
                }
                continue;
            };
            match weight {
                Some(weight) => {
                    normalise(shape.epsilon, x, Some(weight), out);
                }
                None => out.copy_from_slice(x),
            }
            turn(&shape, (place, head), false, out);
        }
    }
}

/// Gradients of [`rope`].
pub(in crate::cpu) fn rope_backward<E: Element>(
    operands: Rope<'_, [E], [u32]>,
    d_out: &[E],
    d_packed: &mut [E],
    mut d_norms: Option<HeadNormGradients<'_, [E]>>,
) {
    let Rope { shape, positions, packed, norms } = operands;
    let attention = shape.attention;
    let (columns, size) = (attention.packed_columns(), attention.head_size);
    let mut turned = vec![E::default(); size];
    let mut unused = vec![E::default(); size];
    for (t, place) in positions.chunks_exact(shape.rotation.axes).enumerate() {
        for head in 0..attention.heads + 2 * attention.key_value_heads {
            let range = t * columns + head * size..t * columns + (head + 1) * size;
            let (x, d_out, d_x) = (&packed[range.clone()], &d_out[range.clone()], &mut d_packed[range]);
            let Some(weight) = head_weight(&shape, head, norms) else {
                if shape.value_norm {
                    let inverse = normalise(shape.epsilon, x, None, &mut unused);
                    normalise_backward(NormedRow { x, weight: None, inverse, d_out }, false, d_x, None);
                } else {
                    d_x.copy_from_slice(d_out);
                }
                continue;
            };
            turned.copy_from_slice(d_out);
            turn(&shape, (place, head), true, &mut turned);
            match weight {
                Some(weight) => {
                    let inverse = normalise(shape.epsilon, x, None, &mut unused);
                    let d_weight =
                        d_norms.as_mut().map(|d| if head < attention.heads { &mut *d.query } else { &mut *d.key });
                    let row = NormedRow { x, weight: Some(weight), inverse, d_out: &turned };
                    normalise_backward(row, false, d_x, d_weight);
                }
                None => d_x.copy_from_slice(&turned),
            }
        }
    }
}

/// `None` for a value head, which does not turn; else the norm's weight, if there is one.
#[expect(clippy::option_option, reason = "whether the head turns, and whether it is normed first")]
fn head_weight<'a, E>(shape: &RopeShape, head: usize, norms: Option<HeadNorms<'a, [E]>>) -> Option<Option<&'a [E]>> {
    let attention = &shape.attention;
    if head < attention.heads {
        Some(norms.map(|norms| norms.query))
    } else if head < attention.heads + attention.key_value_heads {
        Some(norms.map(|norms| norms.key))
    } else {
        None
    }
}

/// Turns each pair of a head by its angle, or back, and multiplies a query by its factor. `place` has an index for each
/// axis.
fn turn<E: Element>(shape: &RopeShape, (place, head): (&[u32], usize), back: bool, x: &mut [E]) {
    let half = shape.rotation.columns / 2;
    for pair in 0..half {
        let (cosine, sine) = shape.rotation.at(place[shape.rotation.axis(pair)], pair);
        let (cosine, sine) = (E::from_f64(cosine), E::from_f64(if back { -sine } else { sine }));
        let (a, b) = (x[pair], x[pair + half]);
        x[pair] = a * cosine - b * sine;
        x[pair + half] = a * sine + b * cosine;
    }
    if shape.scales_queries() && head < shape.attention.heads {
        let factor = E::from_f64(shape.query_factor(place[0]));
        x.iter_mut().for_each(|x| *x *= factor);
    }
}
