//! Memory and room on the disk: what a run needs at least, against what there is.
//!
//! Both are counted low, so that a run that can be is never refused: no logits, no allocator's rounding, frozen matrices of
//! few bits in the fewest, texts as if they were packed well.

use super::{Preflight, Texts, Tokens, with_layers};
use crate::TrainError;
use crate::error::Bytes;
use crate::optimiser::Rule;
use crate::parallel::{Piece, Shards};
use crate::recipe::{NetworkRecipe, ObjectiveKind, OptimiserRecipe, Resolved, Run};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::WeightFormat;
use aquatint_files::available_space;
use aquatint_network::{Activations, NetworkSpec, Role, TensorSpec};
use std::path::Path;

/// Bytes of memory that a run may take; `None` where the system does not say, and nothing is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AvailableMemory {
    /// Of the machine.
    pub host: Option<u64>,
    /// Of a device with memory of its own, such as a GPU.
    pub device: Option<u64>,
}

/// Bytes of a number in the run's state.
const SAVED: f64 = 4.0;
/// Bytes of the smallest number that a frozen matrix can be kept in, and of what is saved of it.
const SMALLEST: (f64, f64) = (0.5, 1.0);
/// Bytes of text that a token stands for where a vocabulary fits its text well, and more.
const BYTES_PER_TOKEN: u64 = 8;
/// The smallest width of a token in a shard, in bytes.
const TOKEN: u64 = 2;

/// Bytes that the parameters of a run take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sizes {
    /// On the device: weights, gradients, moments and averages.
    device: f64,
    /// In the run's state.
    state: f64,
    /// In the model's file.
    model: f64,
}

/// Numbers that an optimiser keeps of each number that learns: moments, and the average where there is one.
fn states(optimiser: &OptimiserRecipe, tensor: &TensorSpec) -> f64 {
    let moments = Rule::of(optimiser.kind, tensor.role, &tensor.shape).moments().len();
    moments as f64 + if optimiser.ema > 0.0 { 1.0 } else { 0.0 }
}

/// Numbers that the rank with most of them keeps in its shard of the states.
fn largest_shard(optimiser: &OptimiserRecipe, learned: &[&TensorSpec], ranks: usize) -> f64 {
    let takes_whole =
        |tensor: &TensorSpec| Rule::of(optimiser.kind, tensor.role, &tensor.shape).takes_whole(tensor.role);
    let extents: Vec<(usize, bool)> = learned.iter().map(|tensor| (tensor.len(), takes_whole(tensor))).collect();
    let shards = Shards::new(&extents, ranks);
    let of_piece = |piece: &Piece| piece.range.len() as f64 * states(optimiser, learned[piece.parameter]);
    shards.of_ranks().iter().map(|pieces| pieces.iter().map(of_piece).sum()).fold(0.0, f64::max)
}

impl Sizes {
    /// What each parameter takes, by its group, on one of so many ranks; numbers of the device have `element` bytes.
    fn of(
        tensors: &[TensorSpec],
        (optimiser, run): (&OptimiserRecipe, &Run),
        (element, ranks): (f64, usize),
    ) -> Result<Self, TrainError> {
        let groups = optimiser.parameter_groups()?;
        let stored = run.storage.bytes() as f64;
        let is_sharded = optimiser.shard && ranks > 1;
        let (mut sizes, mut learned) = (Self::default(), Vec::new());
        // Beside an adapter a model is not saved again.
        let saves_base = !tensors.iter().any(|tensor| tensor.role == Role::Adapter);
        for tensor in tensors {
            let count: f64 = tensor.shape.iter().map(|side| *side as f64).product();
            let group = groups.iter().find(|group| group.parameters.matches(&tensor.name, tensor.role));
            let (device, state, model) = match group {
                Some(group) if !group.trainable && group.precision.is_some() && tensor.role == Role::Matrix => {
                    (SMALLEST.0, SMALLEST.1, SMALLEST.0)
                }
                Some(group) if !group.trainable => (element, SAVED, stored),
                _ => {
                    let states = states(optimiser, tensor);
                    learned.push(tensor);
                    let held = if is_sharded { 0.0 } else { states };
                    (element * (2.0 + held), SAVED * (1.0 + states), stored)
                }
            };
            sizes.device += count * device;
            if saves_base || tensor.role == Role::Adapter {
                sizes.state += count * state;
                sizes.model += count * model;
            }
        }
        if is_sharded {
            sizes.device += element * largest_shard(optimiser, &learned, ranks);
        }
        Ok(sizes)
    }
}

/// Refuses a run of these tensors that has no room in memory, or none to be saved in its folder.
pub(crate) fn check_room(
    tensors: &[TensorSpec],
    (optimiser, run): (&OptimiserRecipe, &Run),
    (memory, element_bytes, ranks): (AvailableMemory, usize, usize),
    (output, resumed): (&Path, bool),
) -> Result<(), TrainError> {
    let sizes = Sizes::of(tensors, (optimiser, run), (element_bytes as f64, ranks))?;
    require_memory(memory, sizes.device, sizes.state)?;
    let Sizes { state, model, .. } = sizes;
    require_room(output, if resumed { state.max(model) } else { 2.0 * state + 2.0 * model })
}

/// Refuses a network whose weights alone do not fit into memory, before it is described in full: all layers of a recipe are
/// alike, so that two say how large any number of them is.
pub(super) fn check_weights(
    preflight: &Preflight<'_>,
    network: &NetworkRecipe,
    tokens: Tokens,
) -> Result<(), TrainError> {
    let recipe = preflight.recipe;
    let weights = |layers| -> Result<f64, TrainError> {
        Ok(with_layers(recipe, network, tokens, layers)?.parameter_count() as f64)
    };
    let (one, two) = (weights(1)?, weights(2)?);
    let count = one + (network.layers - 1) as f64 * (two - one);
    let in_few_bits = recipe.optimiser.groups.iter().any(|group| group.precision.is_some());
    let (device, state) = if in_few_bits { SMALLEST } else { (preflight.element_bytes as f64, SAVED) };
    require_memory(preflight.memory, count * device, count * state)
}

/// Refuses a run that does not fit into memory.
pub(super) fn check_memory(preflight: &Preflight<'_>, spec: &NetworkSpec) -> Result<(), TrainError> {
    let recipe = preflight.recipe;
    let sizes = Sizes::of(&spec.tensors(), (&recipe.optimiser, &recipe.run), preflight.elements())?;
    // A save holds the state once more.
    let learned = sizes.device + activations(preflight, spec);
    require_memory(preflight.memory, learned + reference(preflight, spec), sizes.state)
}

fn require_memory(memory: AvailableMemory, training: f64, save: f64) -> Result<(), TrainError> {
    let AvailableMemory { host, device } = memory;
    let needs = match device {
        Some(_) => vec![("the device", training, device), ("the machine", save, host)],
        None => vec![("the machine", training + save, host)],
    };
    for (place, needed, available) in needs {
        if let Some(available) = available
            && needed > available as f64
        {
            return Err(TrainError::Memory { place, needed: Bytes(needed), available: Bytes(available as f64) });
        }
    }
    Ok(())
}

/// Bytes of the model of `initial`, where the divergence from it counts, or preferences are learned beside it. An adapter
/// stands beside it as it is.
fn reference(preflight: &Preflight<'_>, spec: &NetworkSpec) -> f64 {
    let recipe = preflight.recipe;
    let is_preferred = recipe.objective.kind == ObjectiveKind::Preference;
    let diverges = recipe.reward.as_ref().is_some_and(|reward| reward.kl > 0.0);
    if (is_preferred || diverges) && recipe.adapter.is_none() {
        spec.parameter_count() as f64 * preflight.element_bytes as f64
    } else {
        0.0
    }
}

/// Bytes of the activations of a pass, at least.
fn activations(preflight: &Preflight<'_>, spec: &NetworkSpec) -> f64 {
    let recipe = preflight.recipe;
    let rows = recipe.canvases_per_pass() as f64 * recipe.data.canvas_length as f64;
    // Counted for a few rows, so that no product leaves the range.
    let few = 64;
    let activations = Activations::new(spec, few, 1, preflight.element_bytes);
    let recomputed = recipe.optimiser.recompute || recipe.run.activation_memory.is_some();
    activations.bytes(if recomputed { spec.layers.len() } else { 0 }) as f64 / few as f64 * rows
}

/// Refuses the run of a learnt order that does not fit into memory beside its model, which stays as it is.
pub(super) fn check_order(
    preflight: &Preflight<'_>,
    initial: &Checkpoint,
    learned: &[TensorSpec],
) -> Result<(), TrainError> {
    let (device, host) = order_sizes(preflight, learned)?;
    require_memory(preflight.memory, initial.memory(WeightFormat::F32) as f64 + device, host)
}

/// Bytes of a learnt order: what learns with its gradient and moments, and on the host what is saved of it, or the gradients
/// of a group of completions, which one rank draws together.
fn order_sizes(preflight: &Preflight<'_>, learned: &[TensorSpec]) -> Result<(f64, f64), TrainError> {
    let recipe = preflight.recipe;
    let sizes = Sizes::of(learned, (&recipe.optimiser, &recipe.run), preflight.elements())?;
    let parameters: usize = learned.iter().map(TensorSpec::len).sum();
    let completions = recipe.reward.as_ref().map_or(0, |reward| reward.completions);
    Ok((sizes.device, sizes.state.max(completions as f64 * parameters as f64 * size_of::<f64>() as f64)))
}

/// Refuses a run that has no room to be saved, or to keep its texts.
pub(super) fn check_disk(
    recipe: &Resolved,
    learned: &[TensorSpec],
    texts: &Texts,
    resumed: bool,
) -> Result<(), TrainError> {
    let Sizes { state, model, .. } = Sizes::of(learned, (&recipe.optimiser, &recipe.run), (SAVED, 1))?;
    // A file that is replaced is there twice for a moment; a resumed run replaces what it has.
    let mut output = if resumed { state.max(model) } else { 2.0 * state + 2.0 * model };
    let shards = if resumed { 0.0 } else { (texts.bytes / BYTES_PER_TOKEN * TOKEN) as f64 };
    let cache = recipe.cache();
    if cache.starts_with(&recipe.output) {
        output += shards;
    } else {
        require_room(&cache, shards)?;
    }
    require_room(&recipe.output, output)
}

fn require_room(path: &Path, needed: f64) -> Result<(), TrainError> {
    match available_space(path) {
        Some(available) if needed > available as f64 => Err(TrainError::Disk {
            path: path.to_path_buf(),
            needed: Bytes(needed),
            available: Bytes(available as f64),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::NetworkPlan;
    use crate::{Overrides, Recipe, network};
    use std::sync::atomic::AtomicBool;

    const TOKENS: Tokens = Tokens { count: 300, mask: Some(0), axes: 1, codes: false };

    fn recipe(set: &[&str]) -> Resolved {
        let text = "output = 'x'\nsize = '1m'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";
        Recipe::parse(text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
    }

    fn preflight(recipe: &Resolved, memory: AvailableMemory) -> Preflight<'_> {
        static STOP: AtomicBool = AtomicBool::new(false);
        Preflight { recipe, resume: false, memory, element_bytes: 4, ranks: 1, stop: &STOP }
    }

    fn host(bytes: u64) -> AvailableMemory {
        AvailableMemory { host: Some(bytes), device: None }
    }

    #[test]
    fn each_parameter_counts_by_its_group() {
        let sizes = |set: &[&str]| {
            let recipe = recipe(set);
            let spec = network::spec(&recipe, TOKENS, None).unwrap();
            (
                spec.parameter_count() as f64,
                Sizes::of(&spec.tensors(), (&recipe.optimiser, &recipe.run), (4.0, 1)).unwrap(),
            )
        };
        let (count, all) = sizes(&["optimiser.kind=adamw", "optimiser.ema=0.0", "run.storage=bf16"]);
        assert_eq!(all, Sizes { device: count * 16.0, state: count * 12.0, model: count * 2.0 });
        let few_bits = "optimiser.groups=[{ parameters = 'model.layers.*', trainable = false, precision = 'int4' }]";
        let (_, few) = sizes(&["optimiser.kind=adamw", "optimiser.ema=0.0", "run.storage=bf16", few_bits]);
        assert!(few.device < 0.5 * all.device && few.state < 0.5 * all.state && few.model < all.model, "{few:?}");
    }

    #[test]
    fn sharded_states_count_by_the_largest_shard_of_the_ranks_that_there_are() {
        let sizes = |set: &[&str], ranks: usize| {
            let recipe = recipe(set);
            let spec = network::spec(&recipe, TOKENS, None).unwrap();
            let count = spec.parameter_count() as f64;
            let sizes = Sizes::of(&spec.tensors(), (&recipe.optimiser, &recipe.run), (4.0, ranks)).unwrap();
            (sizes.device / count, sizes.state / count)
        };
        for kind in ["optimiser.kind=adamw", "optimiser.kind=muon"] {
            let (alone, saved) = sizes(&[kind], 1);
            assert_eq!(sizes(&[kind, "optimiser.shard=true"], 1), (alone, saved));
            assert_eq!(sizes(&[kind], 8), (alone, saved));
            let (shared, same) = sizes(&[kind, "optimiser.shard=true"], 8);
            // Weights and gradients are 8 bytes of each parameter on every rank; what is saved is the same. A matrix of Muon is
            // on one rank: of 36 to 8 ranks some have five.
            let level = 8.0 + (alone - 8.0) / 8.0;
            let most = if kind.ends_with("adamw") { 1e-3 } else { 0.4 };
            assert!(shared >= level && shared < level + most && same == saved, "{kind}: {shared}, level {level}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_place() {
        let small = recipe(&[]);
        let spec = network::spec(&small, TOKENS, None).unwrap();
        check_memory(&preflight(&small, host(4 << 30)), &spec).unwrap();
        check_memory(&preflight(&small, AvailableMemory::default()), &spec).unwrap();
        let error = check_memory(&preflight(&small, host(1 << 20)), &spec).unwrap_err().to_string();
        assert!(error.starts_with("training needs at least "), "{error}");
        assert!(error.ends_with(" of memory on the machine, where a run may take 1.00 MiB"), "{error}");
        let device = AvailableMemory { host: Some(4 << 30), device: Some(1 << 20) };
        assert!(check_memory(&preflight(&small, device), &spec).unwrap_err().to_string().contains("on the device"));
    }

    #[test]
    fn a_learnt_order_counts_with_its_moments_and_the_gradients_of_a_group() {
        let text = "output = 'x'\ninitial = 'y'\n[data]\ntrain = [{ path = 'a' }]\ncanvas_length = 16\n\
                    [objective]\nkind = 'order'\n[reward]\nterms = [{ name = 'length:12' }]\ncompletion_length = 6\n\
                    [order]\nwidth = 256\n[optimiser]\nbatch = 32\nkind = 'adamw'\nema = 0.0\n";
        let sizes = |set: &[&str]| {
            let recipe = Recipe::parse(text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap();
            let learned = recipe.order.unwrap().tensors().unwrap();
            order_sizes(&preflight(&recipe, AvailableMemory::default()), &learned).unwrap()
        };
        let parameters = 134_925.0;
        // In f32 a weight, its gradient and two moments; in f64 a gradient for each of sixteen completions.
        assert_eq!(sizes(&["reward.completions=16"]), (16.0 * parameters, 16.0 * 8.0 * parameters));
        // An average is one more.
        assert_eq!(sizes(&["reward.completions=4", "optimiser.ema=0.5"]), (20.0 * parameters, 4.0 * 8.0 * parameters));
    }

    #[test]
    fn absurd_networks_are_refused_without_being_described() {
        let check = |recipe: &Resolved, memory| {
            let NetworkPlan::Described(network) = &recipe.network else { panic!("a network of the recipe's own") };
            check_weights(&preflight(recipe, memory), network, TOKENS)
        };
        check(&recipe(&[]), host(64 << 20)).unwrap();
        let absurd = recipe(&["network.layers=65536", "network.width=65536", "network.feed_forward_width=262144"]);
        let error = check(&absurd, host(64 << 30)).unwrap_err();
        assert!(matches!(error, TrainError::Memory { .. }), "{error}");
        assert!(error.hint().unwrap().contains("network.width"));
    }

    #[test]
    fn a_disk_without_room_is_refused_where_the_system_says() {
        let full = require_room(Path::new("/proc/nowhere"), 100.0);
        match available_space(Path::new("/proc/nowhere")) {
            Some(0) => assert!(full.unwrap_err().to_string().contains("needs at least 100 B")),
            _ => full.unwrap(),
        }
        let folder = tempfile::tempdir().unwrap();
        require_room(&folder.path().join("run"), 1e3).unwrap();
        assert_eq!(require_room(folder.path(), 1e30).is_err(), available_space(folder.path()).is_some());
    }
}
