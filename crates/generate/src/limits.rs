//! How much an engine has in flight at once.

use std::fmt;

/// What a request takes at most, or several take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Rows of a forward pass; a guided request reads its canvas twice.
    pub rows: usize,
    /// Bytes that are kept for it: KV caches, predictions that are fed back, whole rows of logits, points of a field.
    pub bytes: usize,
}

impl Demand {
    /// Both together; what no number holds is the largest.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows and {} bytes", self.rows, self.bytes)
    }
}

/// The most that all running requests of an engine take together, and one of them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a forward pass, over all requests.
    pub rows: usize,
    /// Bytes that are kept for requests, over all of them; see [`Demand::bytes`]. The network's weights and what a forward
    /// pass needs while it runs are not counted.
    pub bytes: usize,
    /// Bytes of keys and values that are kept of requests that ended, besides [`Limits::bytes`], for requests that begin
    /// with the same tokens. With 0 nothing is kept, and no request takes rows over from another one.
    ///
    /// Rows are taken over where that is exact: with [`Cache::Exact`](crate::Cache::Exact), without guidance, and where
    /// the network reads nothing but tokens (no time, no self-conditioning, no field). Where every position sees all
    /// others, each row depends on the whole text, and nothing is ever kept.
    pub reuse_bytes: usize,
    /// Steps of one request over all its blocks. Its plan takes about 100 bytes a step from when it is admitted, also while
    /// it waits.
    pub steps: usize,
}

impl Limits {
    /// No limits; nothing is kept of requests that ended.
    pub const NONE: Self = Self { rows: usize::MAX, bytes: usize::MAX, reuse_bytes: 0, steps: usize::MAX };

    /// Whether a demand is within the limits.
    pub fn allow(&self, demand: Demand) -> bool {
        demand.rows <= self.rows && demand.bytes <= self.bytes
    }
}

impl Default for Limits {
    /// 32,768 rows, 4 GiB, and as many steps as a plan can have; nothing is kept of requests that ended.
    fn default() -> Self {
        Self { rows: 1 << 15, bytes: 1 << 32, ..Self::NONE }
    }
}
