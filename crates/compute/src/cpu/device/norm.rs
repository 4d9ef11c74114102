//! Norms and positions.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, scalar};
use crate::{Element, HeadNormGradients, LayerNorm, LayerNormBackward, Norm, RmsNorm, RmsNormBackward, Rope};

/// The same with the positions as a slice.
fn on_slices<'a, E: Element>(operands: Rope<'a, Buffer<E>, Vec<u32>>) -> Rope<'a, [E], [u32]> {
    let Rope { shape, positions, packed, norms } = operands.map(Buffer::as_slice);
    Rope { shape, positions: positions.as_slice(), packed, norms }
}

impl<E: Element> Norm for Cpu<E> {
    fn rms_norm(&self, operands: RmsNorm<'_, Buffer<E>>, out: &mut Buffer<E>, inverse_rms: &mut Buffer<E>) {
        let (out, inverse_rms) = (out.as_mut_slice(), inverse_rms.as_mut_slice());
        let operands = operands.map(Buffer::as_slice);
        match &self.fast {
            Some(fast) => fast.rms_norm(operands.map(f32s), f32s_mut(out), f32s_mut(inverse_rms)),
            None => scalar::rms_norm(operands, out, inverse_rms),
        }
    }
    fn rms_norm_backward(
        &self,
        operands: RmsNormBackward<'_, Buffer<E>>,
        d_x: &mut Buffer<E>,
        d_weight: Option<&mut Buffer<E>>,
    ) {
        let (d_x, d_weight) = (d_x.as_mut_slice(), d_weight.map(Buffer::as_mut_slice));
        let operands = operands.map(Buffer::as_slice);
        match &self.fast {
            Some(fast) => fast.rms_norm_backward(operands.map(f32s), f32s_mut(d_x), d_weight.map(f32s_mut)),
            None => scalar::rms_norm_backward(operands, d_x, d_weight),
        }
    }
    fn layer_norm(&self, operands: LayerNorm<'_, Buffer<E>>, out: &mut Buffer<E>, moments: &mut Buffer<E>) {
        let (out, moments) = (out.as_mut_slice(), moments.as_mut_slice());
        let operands = operands.map(Buffer::as_slice);
        match &self.fast {
            Some(fast) => fast.layer_norm(operands.map(f32s), f32s_mut(out), f32s_mut(moments)),
            None => scalar::layer_norm(operands, out, moments),
        }
    }
    fn layer_norm_backward(
        &self,
        operands: LayerNormBackward<'_, Buffer<E>>,
        d_x: &mut Buffer<E>,
        d_weight: Option<&mut Buffer<E>>,
    ) {
        let (d_x, d_weight) = (d_x.as_mut_slice(), d_weight.map(Buffer::as_mut_slice));
        let operands = operands.map(Buffer::as_slice);
        match &self.fast {
            Some(fast) => fast.layer_norm_backward(operands.map(f32s), f32s_mut(d_x), d_weight.map(f32s_mut)),
            None => scalar::layer_norm_backward(operands, d_x, d_weight),
        }
    }
    fn rope(&self, operands: Rope<'_, Buffer<E>, Vec<u32>>, out: &mut Buffer<E>) {
        let (operands, out) = (on_slices(operands), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.rope(operands.map(f32s), f32s_mut(out)),
            None => scalar::rope(operands, out),
        }
    }
    fn rope_backward(
        &self,
        operands: Rope<'_, Buffer<E>, Vec<u32>>,
        d_out: &Buffer<E>,
        d_packed: &mut Buffer<E>,
        d_norms: Option<HeadNormGradients<'_, Buffer<E>>>,
    ) {
        let (d_out, d_packed) = (d_out.as_slice(), d_packed.as_mut_slice());
        let (operands, d_norms) = (on_slices(operands), d_norms.map(|d_norms| d_norms.map(Buffer::as_mut_slice)));
        match &self.fast {
            Some(fast) => {
                let d_norms = d_norms.map(|d_norms| d_norms.map(f32s_mut));
                fast.rope_backward(operands.map(f32s), f32s(d_out), f32s_mut(d_packed), d_norms);
            }
            None => scalar::rope_backward(operands, d_out, d_packed, d_norms),
        }
    }
}
