//! GPUs of all ranks, connected by NCCL. The ranks meet on their ring before, and by it they find out whether all can: NCCL itself
//! would let the others wait for one that cannot.

use super::{ParallelError, Ranks};
use aquatint_compute::Cuda;

/// What a rank says of its GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Candidate {
    NoGpu,
    /// A GPU without the library.
    NoLibrary,
    Ready {
        uuid: [u8; 16],
    },
    /// The driver failed.
    Failed {
        reason: String,
    },
}

impl Candidate {
    fn of(gpu: Option<&Cuda>) -> Self {
        match gpu.map(|gpu| (gpu.has_nccl(), gpu.uuid())) {
            None => Self::NoGpu,
            Some((_, Err(error))) => Self::Failed { reason: error.to_string() },
            Some((false, _)) => Self::NoLibrary,
            Some((true, Ok(uuid))) => Self::Ready { uuid },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::NoGpu => vec![0],
            Self::NoLibrary => vec![1],
            Self::Ready { uuid } => [&[2][..], uuid].concat(),
            Self::Failed { reason } => [&[3][..], reason.as_bytes()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((0, _)) => Self::NoGpu,
            Some((1, _)) => Self::NoLibrary,
            Some((2, uuid)) if uuid.len() == 16 => Self::Ready { uuid: std::array::from_fn(|index| uuid[index]) },
            other => {
                let reason = other.map(|(_, reason)| String::from_utf8_lossy(reason).into_owned());
                Self::Failed { reason: reason.unwrap_or_default() }
            }
        }
    }
}

/// Why ranks with these GPUs cannot be connected; nothing where they can.
fn refusal(candidates: &[Candidate]) -> Option<ParallelError> {
    let refused = |rank, what: String| Some(ParallelError::NotConnected { rank, what });
    for (rank, candidate) in candidates.iter().enumerate() {
        match candidate {
            Candidate::NoGpu => return refused(rank, "computes on a processor".to_owned()),
            Candidate::NoLibrary => return refused(rank, "has not found the library libnccl".to_owned()),
            Candidate::Failed { reason } => return refused(rank, format!("has no answer from its GPU: {reason}")),
            Candidate::Ready { .. } => {
                if let Some(other) = candidates[..rank].iter().position(|other| other == candidate) {
                    return refused(rank, format!("has the same GPU as rank {other}"));
                }
            }
        }
    }
    None
}

/// The GPU of this rank, connected with those of all others; all ranks call it, also one that has none.
///
/// # Errors
/// On every rank, when one has no GPU of its own, or the library is missing there or fails.
pub(crate) fn connect(gpu: Option<&Cuda>, ranks: &dyn Ranks) -> Result<Cuda, ParallelError> {
    let answers = ranks.all_gather(Candidate::of(gpu).bytes())?;
    let candidates: Vec<Candidate> = answers.iter().map(|answer| Candidate::read(answer)).collect();
    let rank = ranks.rank();
    let failed = |what: String| ParallelError::NotConnected { rank, what };
    let gpu = match (refusal(&candidates), gpu) {
        (Some(refusal), _) => return Err(refusal),
        (None, None) => return Err(failed("computes on a processor".to_owned())),
        (None, Some(gpu)) => gpu,
    };
    // The first rank makes the number, or says by none that it could not.
    let made = if rank == 0 { Some(gpu.connection_id()) } else { None };
    let (id, failure) = match made {
        Some(Ok(id)) => (id, None),
        Some(Err(error)) => (Vec::new(), Some(error.to_string())),
        None => (Vec::new(), None),
    };
    let id = ranks.all_gather(id)?.swap_remove(0);
    match (id.is_empty(), failure) {
        (false, _) => gpu.connected(&id, rank, ranks.size()).map_err(|error| failed(format!("fails: {error}"))),
        (true, Some(reason)) => Err(failed(format!("fails: {reason}"))),
        (true, None) => Err(ParallelError::NotConnected { rank: 0, what: "made no number to connect by".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_connected_where_each_rank_has_one_of_its_own_and_the_library() {
        let ready = |number: u8| Candidate::Ready { uuid: [number; 16] };
        let failed = || Candidate::Failed { reason: "cuDeviceGetUuid failed".to_owned() };
        for (others, expected) in [
            (vec![ready(2), ready(3)], None),
            (vec![ready(2), Candidate::NoGpu], Some("rank 2 computes on a processor")),
            (vec![Candidate::NoLibrary, ready(3)], Some("rank 1 has not found the library libnccl")),
            (vec![ready(2), ready(1)], Some("rank 2 has the same GPU as rank 0")),
            (vec![failed(), ready(3)], Some("rank 1 has no answer from its GPU: cuDeviceGetUuid failed")),
        ] {
            let all: Vec<Candidate> = [ready(1)].into_iter().chain(others).collect();
            let read: Vec<Candidate> = all.iter().map(|candidate| Candidate::read(&candidate.bytes())).collect();
            assert_eq!(read, all);
            let refusal = refusal(&read);
            assert_eq!(refusal.as_ref().map(ToString::to_string).as_deref(), expected);
            assert!(refusal.is_none_or(|error| error.hint().is_some_and(|hint| hint.contains("run.collectives"))));
        }
    }
}
