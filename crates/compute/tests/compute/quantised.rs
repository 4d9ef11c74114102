//! Stacks of matrices of integers.

use aquatint_compute::{Bits, Quantised};

#[test]
fn the_rows_of_a_stack_are_what_was_stacked() {
    for bits in [Bits::Four, Bits::Eight] {
        // Ten inputs do not fill the last word of a row.
        let matrix = |seed: f32, outputs: usize| {
            let values: Vec<f32> = (0..outputs * 10).map(|index| (seed + index as f32).sin()).collect();
            Quantised::of(&values, (outputs, 10), bits, None).unwrap()
        };
        let (upper, lower) = (matrix(0.1, 3), matrix(7.7, 2));
        let stack = Quantised::stack(&[&upper, &lower]).unwrap();
        assert_eq!([stack.rows(0..3), stack.rows(3..5)], [upper, lower], "{bits}");
    }
}
