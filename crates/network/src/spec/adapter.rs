//! Low-rank additions to the matrices of a network.

use super::{check_size, refuse};
use crate::{NetworkError, NetworkSpec, Role, TensorSpec};
use std::collections::BTreeMap;

/// An adapter: low-rank additions to some matrices of a network, which stays as it is (LoRA: Hu et al., 2106.09685).
///
/// A network has its adapters beside its own tensors; a pass applies one of them or none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AdapterSpec {
    /// Its name, which is part of those of its tensors.
    pub name: String,
    /// What it adds to each matrix, by the name of the matrix.
    pub matrices: BTreeMap<String, LowRankSpec>,
}

/// What is added to a matrix `[N, K]`: `factor · up · down`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRankSpec {
    /// Rows of `down` `[rank, K]` and columns of `up` `[N, rank]`.
    pub rank: usize,
    /// What the product of both is multiplied by: `α / rank`, or `α / √rank` where the rank is not to change how fast it
    /// learns (rsLoRA: Kalajdzievski, 2312.03732).
    pub factor: f64,
}

/// The two tensors of an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowRankHalf {
    /// `[rank, K]`, `A` of the paper.
    Down,
    /// `[N, rank]`, `B` of the paper, which begins as zeros.
    Up,
}

impl LowRankHalf {
    /// Both, in the order of their tensors.
    pub const ALL: [Self; 2] = [Self::Down, Self::Up];

    /// What its tensor is called in files and here.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "lora_A",
            Self::Up => "lora_B",
        }
    }
}

/// What the names of matrices end with.
const WEIGHT: &str = ".weight";

impl AdapterSpec {
    /// Additions of one rank to all matrices of a network that are targeted: whose module has one of these names, whole or
    /// as its last part (`q_proj`), or any name where a target is `all-linear`.
    ///
    /// # Errors
    /// When the rank is 0, the factor is not a finite number other than 0, or a target is not the name of a module that
    /// can be added to: matrices outside the experts of a mixture, but not its router, the embedding table or the head.
    pub fn new(
        name: impl Into<String>,
        network: &NetworkSpec,
        targets: &[String],
        addition: LowRankSpec,
    ) -> Result<Self, NetworkError> {
        addition.validate()?;
        let tensors = network.without_adapters().tensors();
        let modules: Vec<&str> = tensors.iter().filter(|tensor| can_be_added_to(tensor)).map(module).collect();
        let mut matrices = BTreeMap::new();
        for target in targets {
            let of_target = modules.iter().filter(|module| is_target(module, target));
            let before = matrices.len();
            matrices.extend(of_target.map(|module| (format!("{module}{WEIGHT}"), addition)));
            if matrices.len() == before && !modules.iter().any(|module| is_target(module, target)) {
                return refuse("targets", target, allowed_targets(&modules));
            }
        }
        if matrices.is_empty() {
            return refuse("targets", "empty", allowed_targets(&modules));
        }
        Ok(Self { name: name.into(), matrices })
    }

    /// The name of one of the tensors that are added to a matrix.
    pub fn tensor_name(&self, matrix: &str, half: LowRankHalf) -> String {
        let module = matrix.strip_suffix(WEIGHT).unwrap_or(matrix);
        format!("{module}.{}.{}{WEIGHT}", half.name(), self.name)
    }

    /// Number of parameters.
    pub fn parameter_count(&self, network: &NetworkSpec) -> usize {
        let tensors = network.without_adapters().tensors();
        let added = tensors.iter().filter_map(|tensor| Some((tensor, self.matrices.get(&tensor.name)?)));
        added.map(|(tensor, LowRankSpec { rank, .. })| rank * tensor.shape.iter().sum::<usize>()).sum()
    }

    /// Refuses an adapter that a network cannot have.
    pub(super) fn validate(&self, network: &NetworkSpec) -> Result<(), NetworkError> {
        if self.name.is_empty() || self.name.contains('.') {
            return refuse("adapter", format!("\"{}\"", self.name), "a name without a dot");
        }
        let tensors = network.without_adapters().tensors();
        let modules: BTreeMap<&str, &TensorSpec> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        for (matrix, addition) in &self.matrices {
            addition.validate()?;
            if !modules.get(matrix.as_str()).is_some_and(|tensor| can_be_added_to(tensor)) {
                let modules: Vec<&str> = tensors.iter().filter(|tensor| can_be_added_to(tensor)).map(module).collect();
                return refuse("targets", matrix, allowed_targets(&modules));
            }
        }
        Ok(())
    }
}

impl LowRankSpec {
    fn validate(self) -> Result<(), NetworkError> {
        check_size("rank", self.rank)?;
        if self.factor == 0.0 || !self.factor.is_finite() {
            return refuse("alpha", self.factor * self.rank as f64, "a number other than 0");
        }
        Ok(())
    }
}

/// Whether low-rank additions to a tensor are computed: to matrices that all rows read.
fn can_be_added_to(tensor: &TensorSpec) -> bool {
    tensor.role == Role::Matrix && !tensor.routed && tensor.name.ends_with(WEIGHT)
}

fn module(tensor: &TensorSpec) -> &str {
    tensor.name.strip_suffix(WEIGHT).unwrap_or(&tensor.name)
}

/// As PEFT reads the names of targets.
fn is_target(module: &str, target: &str) -> bool {
    let last = module.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    last || target == ALL_LINEAR
}

/// The target that is every module.
const ALL_LINEAR: &str = "all-linear";

/// The last parts of the names of modules, each once.
fn allowed_targets(modules: &[&str]) -> String {
    let last = modules.iter().filter_map(|module| module.rsplit('.').next());
    let names: std::collections::BTreeSet<&str> = last.collect();
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    format!("{} and `{ALL_LINEAR}`", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttentionSpec, FeedForwardSpec, LayerSpec};

    fn network() -> NetworkSpec {
        let layer = LayerSpec::new(AttentionSpec::new(2, 1, 4), FeedForwardSpec::new(12));
        NetworkSpec { mask_token: Some(1), ..NetworkSpec::new(20, 8, vec![layer; 2]) }
    }

    fn adapter(targets: &[&str]) -> Result<AdapterSpec, NetworkError> {
        let targets: Vec<String> = targets.iter().map(|&target| target.to_owned()).collect();
        AdapterSpec::new("a", &network(), &targets, LowRankSpec { rank: 3, factor: 2.0 })
    }

    #[test]
    fn targets_are_names_of_modules_or_their_last_parts() {
        let names = |targets: &[&str]| adapter(targets).unwrap().matrices.into_keys().collect::<Vec<_>>();
        assert_eq!(
            names(&["q_proj", "self_attn.q_proj"]),
            ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"]
        );
        assert_eq!(names(&["model.layers.1.mlp.down_proj"]), ["model.layers.1.mlp.down_proj.weight"]);
        assert_eq!(names(&["all-linear"]).len(), 14);
        // Not a part of a name, and not what is no matrix of activations.
        for target in ["proj", "embed_tokens", "lm_head", "input_layernorm"] {
            let error = adapter(&["q_proj", target]).unwrap_err().to_string();
            let allowed =
                "`down_proj`, `gate_proj`, `k_proj`, `o_proj`, `q_proj`, `up_proj`, `v_proj` and `all-linear`";
            assert_eq!(error, format!("`targets` is {target}; allowed: {allowed}"));
        }
    }

    #[test]
    fn a_network_has_the_tensors_of_its_adapters_behind_its_own() {
        let adapter = adapter(&["q_proj", "down_proj"]).unwrap();
        let mut spec = network();
        let (own, parameters) = (spec.tensors(), spec.parameter_count());
        assert_eq!(adapter.parameter_count(&spec), 2 * 3 * (8 + 8 + 12 + 8));
        spec.adapters.push(adapter);
        spec.validate().unwrap();
        let tensors = spec.tensors();
        assert_eq!(tensors[..own.len()], own);
        let added: Vec<(&str, &[usize])> =
            tensors[own.len()..].iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
        assert_eq!(
            added[..4],
            [
                ("model.layers.0.mlp.down_proj.lora_A.a.weight", [3, 12].as_slice()),
                ("model.layers.0.mlp.down_proj.lora_B.a.weight", &[8, 3]),
                ("model.layers.0.self_attn.q_proj.lora_A.a.weight", &[3, 8]),
                ("model.layers.0.self_attn.q_proj.lora_B.a.weight", &[8, 3]),
            ]
        );
        assert_eq!(spec.parameter_count(), parameters + 2 * 3 * (8 + 8 + 12 + 8));
    }

    #[test]
    fn adapters_that_cannot_be_are_refused() {
        let refused = |change: &dyn Fn(&mut AdapterSpec)| {
            let (mut spec, mut adapter) = (network(), adapter(&["q_proj"]).unwrap());
            change(&mut adapter);
            spec.adapters.push(adapter);
            spec.validate().unwrap_err().to_string()
        };
        let first = |adapter: &mut AdapterSpec, addition: LowRankSpec| {
            adapter.matrices.insert("model.layers.0.self_attn.q_proj.weight".into(), addition);
        };
        let rank = refused(&|adapter| first(adapter, LowRankSpec { rank: 0, factor: 1.0 }));
        assert_eq!(rank, "`rank` is 0; allowed: 1 or more, and no more than 2147483647");
        let factor = refused(&|adapter| first(adapter, LowRankSpec { rank: 2, factor: f64::NAN }));
        assert_eq!(factor, "`alpha` is NaN; allowed: a number other than 0");
        assert_eq!(refused(&|adapter| adapter.name.clear()), "`adapter` is \"\"; allowed: a name without a dot");
        let other = refused(&|adapter| {
            adapter
                .matrices
                .insert("model.layers.2.self_attn.q_proj.weight".into(), LowRankSpec { rank: 1, factor: 1.0 });
        });
        assert!(
            other.starts_with("`targets` is model.layers.2.self_attn.q_proj.weight; allowed: `down_proj`"),
            "{other}"
        );
        let mut twice = network();
        twice.adapters = vec![adapter(&["q_proj"]).unwrap(); 2];
        let twice = twice.validate().unwrap_err().to_string();
        assert_eq!(twice, "`adapter` is \"a\"; allowed: another name for each adapter");
    }
}
