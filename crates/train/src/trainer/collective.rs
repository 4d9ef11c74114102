//! What the ranks of a run do together: they add their gradients and costs, and agree on where they stand and when to end.

use crate::TrainError;
use crate::event::Ending;
use crate::optimiser::Optimiser;
use crate::parallel::{Exchange, ParallelError, Ranks, barrier};
use aquatint_compute::Device;
use aquatint_network::{ExpertLoads, Weights};

/// Makes the gradient that of all ranks, as far as this one updates parameters with it, and returns its norm over all.
pub(super) fn add_gradients<D: Device>(
    ranks: &dyn Ranks,
    weights: &mut Weights<D>,
    optimiser: &Optimiser<D>,
) -> Result<f64, TrainError> {
    if ranks.size() == 1 {
        return Ok(weights.gradient_norm());
    }
    let device = weights.device().clone();
    let exchange = Exchange { ranks, device: &device, shards: optimiser.shards() };
    // Frozen parameters have no gradient, and what was prepared of them stays.
    let mut gradients: Vec<_> =
        weights.trained_parameters_mut().into_iter().map(|parameter| parameter.gradient).collect();
    exchange.reduce_scatter(&mut gradients)?;
    let norm = exchange.sum_of_squares(&gradients)?.sqrt();
    if !optimiser.is_sharded() {
        exchange.all_gather(&mut gradients.into_iter().enumerate().collect::<Vec<_>>())?;
    }
    Ok(norm)
}

/// The cost of a step on all ranks, and what all of them observed, in the order of the ranks.
pub(super) fn all_reduce_costs(
    ranks: &dyn Ranks,
    nats: f64,
    observed: Vec<f64>,
) -> Result<(f64, Vec<f64>), TrainError> {
    if ranks.size() == 1 {
        return Ok((nats, observed));
    }
    let mine = [nats].into_iter().chain(observed).flat_map(f64::to_le_bytes).collect();
    let (mut total, mut all) = (0.0, Vec::new());
    for bytes in ranks.all_gather(mine)? {
        let number = |bytes: &[u8]| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
        let mut numbers = bytes.chunks_exact(size_of::<f64>()).map(number);
        total += numbers.next().unwrap_or(f64::NAN);
        all.extend(numbers);
    }
    Ok((total, all))
}

/// How the rows of all ranks went to experts.
pub(super) fn all_reduce_loads(ranks: &dyn Ranks, mut loads: ExpertLoads) -> Result<ExpertLoads, TrainError> {
    let mut flat: Vec<f64> = loads.0.iter().flatten().map(|&load| load as f64).collect();
    if ranks.size() == 1 || flat.is_empty() {
        return Ok(loads);
    }
    ranks.all_reduce(&mut flat)?;
    loads.0.iter_mut().flatten().zip(flat).for_each(|(load, sum)| *load = sum as u64);
    Ok(loads)
}

/// That all ranks stand at the same step: a folder that is not the same for all would have them drift apart.
pub(crate) fn agree_on_step(ranks: &dyn Ranks, step: u64) -> Result<(), TrainError> {
    let steps = ranks.all_gather(step.to_le_bytes().to_vec())?;
    match steps.iter().position(|other| *other != step.to_le_bytes()) {
        None => Ok(()),
        Some(rank) => Err(ParallelError::Other {
            rank,
            what: format!("is not at step {step}: the run's folder has to be one that all ranks see"),
        }
        .into()),
    }
}

/// Why all ranks end, if one of them wishes to: an interruption goes before the end of its time.
pub(super) fn agree_on_ending(ranks: &dyn Ranks, wish: Option<Ending>) -> Result<Option<Ending>, TrainError> {
    let wish = match wish {
        Some(Ending::Interrupted) => 2,
        Some(Ending::TimeUp | Ending::Complete) => 1,
        None => 0,
    };
    Ok(match ranks.all_gather(vec![wish])?.into_iter().flatten().max() {
        Some(2) => Some(Ending::Interrupted),
        Some(1) => Some(Ending::TimeUp),
        _ => None,
    })
}

/// What rank 0 finds to be done after a step, as all ranks do it together: so many answers.
pub(super) fn agree_with_first<const N: usize>(ranks: &dyn Ranks, own: [bool; N]) -> Result<[bool; N], TrainError> {
    let answers = ranks.all_gather(own.map(u8::from).to_vec())?;
    Ok(std::array::from_fn(|index| answers[0].get(index).is_some_and(|&answer| answer > 0)))
}

/// Ends an exchange between devices: none of them may go before the others have what it gave.
pub(super) fn leave<D: Device>(ranks: &dyn Ranks, device: &D) -> Result<(), TrainError> {
    if let Some(connection) = device.connection() {
        connection.wait()?;
        barrier(ranks)?;
    }
    Ok(())
}
