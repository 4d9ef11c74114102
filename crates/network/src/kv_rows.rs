//! Rows of a KV cache that outlive their sequence, for another one that begins with the same tokens.
//!
//! They lie outside the pool, so that what is kept makes neither the pool nor the passes over it larger. A sequence gets
//! a copy of them, and so any number of sequences may begin with the same rows.

use crate::kv_cache::{Claim, CopiedRows, Release};
use crate::{KvCache, NetworkError};
use std::sync::Weak;

/// The keys and values of the first rows of a sequence, kept on the device of its network.
///
/// Where every layer has a window, the first of these rows may be gone already: see [`KvRows::start`].
#[derive(Debug)]
pub struct KvRows {
    pool: Weak<dyn Release>,
    copied: CopiedRows,
}

impl KvCache {
    /// Copies what is cached of the rows before `end`; `None` where not even the last of them is cached.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn rows_before(&self, end: usize) -> Result<Option<KvRows>, NetworkError> {
        let Some((claim, pool)) = self.claim().and_then(|claim| Some((claim, claim.pool.upgrade()?))) else {
            return Ok(None);
        };
        let copied = pool.copy_out(claim.slot, end)?;
        Ok(copied.map(|copied| KvRows { pool: claim.pool.clone(), copied }))
    }

    /// The first row from which on all rows before `end` are cached; `end` where the last of them is not.
    pub fn cached_from(&self, end: usize) -> usize {
        let claim = self.claim().and_then(|claim| Some((claim.slot, claim.pool.upgrade()?)));
        claim.map_or(end, |(slot, pool)| pool.cached_from(slot, end))
    }
}

impl KvRows {
    /// The first row that is there.
    pub fn start(&self) -> usize {
        self.copied.start
    }

    /// One past the last.
    pub fn end(&self) -> usize {
        self.copied.end
    }

    /// Bytes that they take on the device.
    pub fn bytes(&self) -> usize {
        self.copied.bytes
    }

    /// The cache of a new sequence of about `length` rows that has a copy of these rows before `end`. A pass over it must
    /// see no row before `start`. `None` where some of `start..end` are not there, or the network is gone.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn to_cache(&self, start: usize, end: usize, length: usize) -> Result<Option<KvCache>, NetworkError> {
        let Some(pool) = self.pool.upgrade().filter(|_| self.start() <= start && start < end && end <= self.end())
        else {
            return Ok(None);
        };
        let (slot, rows, bytes) = pool.copy_in(&self.copied, start..end, length)?;
        Ok(Some(KvCache::of(Claim { pool: self.pool.clone(), slot, rows, bytes })))
    }
}
