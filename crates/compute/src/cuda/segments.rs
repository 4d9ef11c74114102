//! One launch over several buffers, for what is done to every parameter: a launch for each takes longer than the bytes of a
//! small one.

use super::arguments::{In, Kernel};
use super::{Cuda, THREADS};
use crate::DeviceError;

/// Elements of a thread: enough for what a block spends on finding its segment.
const ELEMENTS: usize = 8;

/// A buffer of a launch over several.
pub(super) struct Segment<const WORDS: usize> {
    /// Elements.
    pub(super) count: usize,
    /// Blocks that share them.
    pub(super) blocks: usize,
    /// What the kernel knows of it: addresses, and two numbers in a word.
    pub(super) words: [i64; WORDS],
}

impl<const WORDS: usize> Segment<WORDS> {
    /// With blocks for so many elements that are taken one by one.
    pub(super) fn new(count: usize, words: [i64; WORDS]) -> Self {
        Self { count, blocks: count.div_ceil(ELEMENTS * THREADS as usize), words }
    }
}

/// Two numbers in a word, the first in its low half.
pub(super) fn pair(low: f64, high: f64) -> i64 {
    let bits = |value: f64| u64::from((value as f32).to_bits());
    (bits(low) | bits(high) << 32) as i64
}

impl Cuda {
    /// Launches a kernel over segments, given their number and the table of them: of each the block behind its last one,
    /// its elements, and its words. Nothing happens where there are none.
    pub(super) fn over<K: Kernel, const WORDS: usize>(
        &self,
        segments: impl IntoIterator<Item = Segment<WORDS>>,
        kernel: impl FnOnce(i32, In<i64>) -> K,
    ) -> Result<(), DeviceError> {
        let (mut table, mut blocks) = (Vec::new(), 0);
        for segment in segments.into_iter().filter(|segment| segment.blocks > 0) {
            blocks += segment.blocks;
            table.extend([blocks as i64, segment.count as i64]);
            table.extend(segment.words);
        }
        let table_here = self.store(&table)?;
        let kernel = kernel((table.len() / (WORDS + 2)) as i32, table_here.input());
        self.launch(0, kernel, (blocks as u32, 1), THREADS, 0);
        Ok(())
    }
}
