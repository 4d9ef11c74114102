//! Buffers of the device's own numbers and of bf16.

use super::*;
use crate::{DType, Part};

/// Numbers rounded to bf16 and widened again, and parts copied in either.
struct Moves {
    values: Vec<f64>,
    first: usize,
}

impl Operation for Moves {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let own = up(device, &self.values);
        let mut halves = device.uninitialised_as(DType::Bf16, self.values.len()).unwrap();
        let mut copies = device.uninitialised_as(DType::Bf16, self.values.len()).unwrap();
        let mut wide = device.zeros(self.values.len()).unwrap();
        device.convert(&own, &mut halves);
        device.convert(&halves, &mut copies);
        device.convert(&copies, &mut wide);
        assert_eq!((device.dtype(&halves), device.dtype(&wide)), (DType::Bf16, D::Element::DTYPE));
        assert_eq!(device.len(&halves), self.values.len());
        let downloaded = device.upload(&device.download(&halves)).unwrap();
        let mut part = up(device, &self.values);
        let len = self.values.len() - self.first;
        device.copy(Part { buffer: &own, first: self.first, len }, &mut part, 0);
        // A bf16 buffer that is cleared, written to, and then begins with a part of another.
        let mut moved = device.uninitialised_as(DType::Bf16, self.values.len()).unwrap();
        device.clear(&mut moved);
        let cleared = device.upload(&device.download(&moved)).unwrap();
        device.write(&mut moved, &device.download(&own));
        device.copy(Part { buffer: &halves, first: self.first, len }, &mut moved, 0);
        let mut moved_wide = device.zeros(self.values.len()).unwrap();
        device.convert(&moved, &mut moved_wide);
        vec![wide, downloaded, part, cleared, moved_wide]
    }
}

proptest! {
    #[test]
    fn numbers_are_rounded_widened_and_copied(len in 1..700_usize, at in 0.0..1.0_f64, seed: u64) {
        let values = Numbers(seed).many(len);
        let moves = Moves { first: (at * len as f64) as usize, values };
        agree(&moves, Precision::F32, Limits { cpu: |_, _| 0.0, gpu: Some(0.0) })?;
        let exact = exact(Precision::F32);
        for (got, value) in down(&exact, &moves.run(&exact))[0].iter().zip(&moves.values) {
            prop_assert_eq!(*got, bf16::from_f32(*value as f32).to_f64());
        }
    }
}

#[test]
#[should_panic(expected = "a buffer of Bf16 is read as F32")]
fn a_buffer_of_other_numbers_is_not_read_as_what_it_is_not() {
    let device = Cpu::<f32>::scalar();
    device.uninitialised_as(DType::Bf16, 3).unwrap().as_slice();
}

#[test]
fn a_bf16_buffer_takes_half_the_memory() {
    let device = Cpu::<f32>::scalar();
    let full = device.zeros(1 << 16).unwrap();
    let before = device.peak_bytes();
    drop(full);
    let device = Cpu::<f32>::scalar();
    let _half = device.uninitialised_as(DType::Bf16, 1 << 16).unwrap();
    assert!(device.peak_bytes() < before * 6 / 10, "{} {before}", device.peak_bytes());
}
