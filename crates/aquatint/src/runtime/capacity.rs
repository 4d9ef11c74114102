//! How much a machine serves at once: the limits of an engine from free memory, speed and the sizes of the network.

use crate::Error;
use aquatint_compute::Visibility;
use aquatint_generate::{GenerateError, Limits};
use aquatint_network::{NetworkError, NetworkSpec, RowLayout};

/// What a device has for the requests of one model, when the model's weights are loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Bytes of memory that are free; `None` where the system does not say.
    pub free_bytes: Option<u64>,
    /// What the device reaches at most, in 10⁹ operations a second, as [`Runtime::peak`](super::Runtime::peak) measures
    /// it; `None` where that is not known.
    pub peak: Option<f64>,
}

/// Seconds that a step may take in which all rows of all running requests are computed. No request is begun, cancelled
/// or reported on meanwhile.
const SECONDS: f64 = 1.0;
/// The share of its peak that a device reaches with many rows; the kernels here have a third to two thirds.
const SHARE_OF_PEAK: f64 = 0.5;
/// Of the free memory, a share is for running requests, one for the pass, and one for rows that may be reused. What is
/// left is for everybody else.
const FOR_REQUESTS: f64 = 0.4;
const FOR_THE_PASS: f64 = 0.2;
const FOR_REUSE: f64 = 0.1;
/// Bytes that are taken as free where the system does not say.
const UNKNOWN_FREE: u64 = 2 << 30;
/// More rows at once make no product faster.
const MOST_ROWS: usize = 1 << 15;
/// Steps of one request: with plans of that many, a queue of hundreds takes some hundred MB.
const MOST_STEPS: usize = 1 << 14;
/// More is seldom found again before it is the oldest.
const MOST_REUSED: usize = 2 << 30;

impl Capacity {
    /// The limits for an engine of a network: a step in which all rows are computed takes about a second and its
    /// intermediate values fit into the memory, and so do KV caches and rows that may be reused. A request as long as the
    /// network reads, with guidance, always has rows enough.
    ///
    /// # Errors
    /// When the window of a layer does not fit its context.
    pub fn limits(&self, spec: &NetworkSpec) -> Result<Limits, Error> {
        let free = self.free_bytes.unwrap_or(UNKNOWN_FREE) as f64;
        let fast = match self.peak {
            Some(peak) => {
                SECONDS * SHARE_OF_PEAK * peak * 1e9 / operations_of_row(spec).map_err(GenerateError::from)?
            }
            None => 0.0,
        };
        let fitting = FOR_THE_PASS * free / bytes_of_row(spec) as f64;
        let longest = 2 * spec.context_length;
        Ok(Limits {
            rows: (fast.min(fitting) as usize).clamp(longest.min(MOST_ROWS), MOST_ROWS).max(longest),
            bytes: (FOR_REQUESTS * free) as usize,
            reuse_bytes: ((FOR_REUSE * free) as usize).min(MOST_REUSED),
            steps: MOST_STEPS,
        })
    }
}

/// Operations for a row of a text that is as long as the network reads, with its logits.
fn operations_of_row(spec: &NetworkSpec) -> Result<f64, NetworkError> {
    let length = spec.context_length.max(1);
    let mut rows = RowLayout::default();
    rows.push(spec.attention, length, &[]);
    let current = rows.current().to_vec();
    let (positions, visibility): (Vec<u32>, Visibility) = rows.finish()?;
    Ok(spec.operations(&visibility, &positions, Some(&current), length)? as f64 / length as f64)
}

/// Bytes of what is there of a row at one time: the residual stream twice, and what the widest operation reads and
/// writes, in numbers of 32 bits.
fn bytes_of_row(spec: &NetworkSpec) -> usize {
    let widest = spec.layers.iter().map(|layer| {
        let shape = layer.attention.shape();
        (2 * shape.packed_columns() + shape.output_columns()).max(layer.feed_forward.inner_elements(spec.width))
    });
    (4 * spec.width + widest.max().unwrap_or(0)) * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_checkpoint::Checkpoint;

    fn limits(free_gib: f64, peak: Option<f64>) -> Limits {
        let spec = Checkpoint::open("tales").unwrap().spec;
        let free_bytes = Some((free_gib * f64::from(1 << 30)) as u64);
        Capacity { free_bytes, peak }.limits(&spec).unwrap()
    }

    #[test]
    fn rows_follow_speed_where_there_is_memory() {
        // 17.5 million weights, attention over 256 positions in 9 layers of 384 columns: 38.5 million operations a row.
        let rows = |peak| limits(16.0, peak).rows;
        assert_eq!(rows(Some(200.0)), 2595);
        assert_eq!(rows(Some(400.0)), 5190);
        assert_eq!(rows(Some(1e6)), MOST_ROWS);
        // A guided request that is as long as the network reads, twice 256 rows, is always served.
        assert_eq!((rows(Some(1.0)), rows(None)), (512, 512));
    }

    #[test]
    fn everything_follows_memory_where_there_is_little() {
        let small = limits(0.0625, Some(1e4));
        // 67 MB: 40 % for requests, 10 % for reuse, and 13.4 MB for a pass of (4 · 384 + 3 · 1024) · 4 bytes a row.
        assert_eq!((small.rows, small.bytes, small.reuse_bytes), (728, 26_843_545, 6_710_886));
        let large = limits(64.0, Some(1e4));
        assert_eq!((large.rows, large.reuse_bytes), (MOST_ROWS, MOST_REUSED));
        let none = limits(0.0, Some(1e4));
        assert_eq!((none.rows, none.bytes, none.reuse_bytes), (512, 0, 0));
        let spec = Checkpoint::open("tales").unwrap().spec;
        let unknown = Capacity { free_bytes: None, peak: None }.limits(&spec).unwrap();
        assert_eq!((unknown.bytes, unknown.reuse_bytes), (858_993_459, 214_748_364));
    }
}
