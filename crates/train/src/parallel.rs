//! Data-parallel training: several processes (ranks) with the same weights, each learning its share of every batch.
//!
//! Order, times and noise are functions of the seed, the step and a canvas's number in the global batch, so that no
//! rank needs to send another its random draws; what is exchanged is the sum of gradients and a few figures. Sums are
//! made in one order and then copied, so that all ranks hold the same bits and take the same step. The loss of a step
//! is that of one rank up to the order of additions.
//!
//! Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", 2006.15704, section 3.
//! Deviation: gradients are exchanged after the backward pass and not during it.

mod connect;
mod exchange;
mod launch;
mod ring;
mod shards;

pub(crate) use connect::connect;
pub(crate) use exchange::Exchange;
pub use launch::{Launch, LaunchError};
pub use ring::Ring;
pub(crate) use shards::{Piece, Shards};

use std::ops::Range;

/// What can go wrong between ranks.
#[derive(Debug, thiserror::Error)]
pub enum ParallelError {
    /// Nobody answers where the ranks are to meet.
    #[error("rank {rank} found nobody at {address} within {seconds} s ({reason})")]
    NoMeeting {
        /// The rank that noticed.
        rank: usize,
        /// Where.
        address: String,
        /// How long.
        seconds: u64,
        /// The last refusal.
        reason: String,
    },
    /// Rank 0 cannot listen.
    #[error("rank 0 cannot listen at {address} ({reason})")]
    NoListener {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Some ranks did not come.
    #[error("{came} of {size} ranks came within {seconds} s")]
    Missing {
        /// How many came, rank 0 included.
        came: usize,
        /// How many were to come.
        size: usize,
        /// How long was waited.
        seconds: u64,
    },
    /// Another rank does something else.
    #[error("rank {rank} {what}")]
    Other {
        /// Which.
        rank: usize,
        /// What is different.
        what: String,
    },
    /// A rank went away.
    #[error("rank {rank} lost its neighbour, rank {neighbour}: {reason}")]
    Lost {
        /// The rank that says so.
        rank: usize,
        /// The rank that left.
        neighbour: usize,
        /// In the system's words.
        reason: String,
    },
    /// The GPUs of the ranks cannot be connected.
    #[error("rank {rank} {what}")]
    NotConnected {
        /// The rank that cannot.
        rank: usize,
        /// Why not.
        what: String,
    },
    /// A batch that cannot be shared.
    #[error("`optimiser.batch` is {batch}; allowed for {size} ranks: multiples of {multiple}")]
    Share {
        /// Canvases of a step.
        batch: usize,
        /// Ranks.
        size: usize,
        /// What it has to be a multiple of.
        multiple: usize,
    },
}

impl ParallelError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoMeeting { .. } => {
                "check that rank 0 runs and that `MASTER_ADDR` and `MASTER_PORT` name its machine"
            }
            Self::NoListener { .. } => "choose another `MASTER_PORT`",
            Self::Missing { .. } => "start all of them, on the same recipe",
            Self::Other { .. } => "start all ranks with the same program, recipe and number of ranks",
            Self::NotConnected { .. } => {
                "`run.collectives = \"nccl\"` needs NCCL and a GPU of its own for each rank; \"ring\" needs neither"
            }
            Self::Lost { .. } => "what was saved before can be resumed",
            Self::Share { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// The ranks as one of them sees them.
pub trait Ranks: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// Replaces the values by their sums over all ranks, the same bits on each.
    ///
    /// # Errors
    /// When a rank went away.
    fn all_reduce(&self, values: &mut [f64]) -> Result<(), ParallelError>;
    /// Replaces the values of part `r`, at rank `r`, by their sums over all ranks; what becomes of the other parts there is
    /// not said. The order of a sum is a function of its part.
    ///
    /// # Errors
    /// When a rank went away.
    fn reduce_scatter(&self, values: &mut [f64], parts: &[Range<usize>]) -> Result<(), ParallelError>;
    /// As [`Ranks::reduce_scatter`], in single precision.
    ///
    /// # Errors
    /// When a rank went away.
    fn reduce_scatter_single(&self, values: &mut [f32], parts: &[Range<usize>]) -> Result<(), ParallelError>;
    /// The bytes of each rank, in the order of the ranks. It returns on no rank before all ranks have called it.
    ///
    /// # Errors
    /// When a rank went away.
    fn all_gather(&self, mine: Vec<u8>) -> Result<Vec<Vec<u8>>, ParallelError>;
}

/// Returns on no rank before all ranks have called it.
///
/// # Errors
/// When a rank went away.
pub(crate) fn barrier(ranks: &dyn Ranks) -> Result<(), ParallelError> {
    ranks.all_gather(Vec::new()).map(drop)
}

/// One rank, which has no peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn all_reduce(&self, _: &mut [f64]) -> Result<(), ParallelError> {
        Ok(())
    }
    fn reduce_scatter(&self, _: &mut [f64], _: &[Range<usize>]) -> Result<(), ParallelError> {
        Ok(())
    }
    fn reduce_scatter_single(&self, _: &mut [f32], _: &[Range<usize>]) -> Result<(), ParallelError> {
        Ok(())
    }
    fn all_gather(&self, mine: Vec<u8>) -> Result<Vec<Vec<u8>>, ParallelError> {
        Ok(vec![mine])
    }
}

/// The canvases of a step that a rank learns; so many neighbours stay `together` on one rank.
pub(crate) fn share(ranks: &dyn Ranks, batch: usize, together: usize) -> Result<Range<usize>, ParallelError> {
    let (rank, size) = (ranks.rank(), ranks.size());
    let multiple = together * size;
    if !batch.is_multiple_of(multiple) && size > 1 {
        return Err(ParallelError::Share { batch, size, multiple });
    }
    let each = batch / size;
    Ok(rank * each..(rank + 1) * each)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Of(usize, usize);
    impl Ranks for Of {
        fn rank(&self) -> usize {
            self.0
        }
        fn size(&self) -> usize {
            self.1
        }
        fn all_reduce(&self, _: &mut [f64]) -> Result<(), ParallelError> {
            Ok(())
        }
        fn reduce_scatter(&self, _: &mut [f64], _: &[Range<usize>]) -> Result<(), ParallelError> {
            Ok(())
        }
        fn reduce_scatter_single(&self, _: &mut [f32], _: &[Range<usize>]) -> Result<(), ParallelError> {
            Ok(())
        }
        fn all_gather(&self, _: Vec<u8>) -> Result<Vec<Vec<u8>>, ParallelError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn shares_cover_the_batch_in_order() {
        let shares: Vec<_> = (0..4).map(|rank| share(&Of(rank, 4), 24, 2).unwrap_or(0..0)).collect();
        assert_eq!(shares, [0..6, 6..12, 12..18, 18..24]);
        assert_eq!(share(&Alone, 7, 2).unwrap(), 0..7);
        let error = share(&Of(0, 4), 20, 2).unwrap_err().to_string();
        assert_eq!(error, "`optimiser.batch` is 20; allowed for 4 ranks: multiples of 8");
    }
}
