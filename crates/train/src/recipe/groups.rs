//! Groups of parameters that learn otherwise than the rest, or not at all.

use super::OptimiserRecipe;
use crate::RecipeError;
use aquatint_compute::WeightFormat;
use aquatint_network::{ParameterGroup, ParameterPattern, Role};
use serde::{Deserialize, Serialize};

/// The largest multiple of the learning rate.
const MOST: f64 = 1e6;

/// How some parameters learn; each belongs to the first group that chooses it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecipe {
    /// Which parameters: a name, where `*` stands for any run of characters, or `role:NAME`.
    pub parameters: String,
    /// Whether they learn at all. What does not has no gradient, no moments and no average.
    #[serde(default = "learns")]
    pub trainable: bool,
    /// Their learning rate as a multiple of `learning_rate`, 1 where nothing is said; `embedding_rate` is not counted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The numbers in which the matrices of what does not learn are kept, and in these only: `bf16`, `int8`, `int4` or
    /// `int4:GROUP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

fn learns() -> bool {
    true
}

impl OptimiserRecipe {
    /// The groups: those of the recipe, then what `embedding_rate` is for.
    ///
    /// # Errors
    /// When a group is not understood.
    pub(crate) fn parameter_groups(&self) -> Result<Vec<ParameterGroup>, RecipeError> {
        let embeddings = [Role::Embedding, Role::UnitVectors, Role::Head].map(|role| ParameterGroup {
            parameters: ParameterPattern::of_role(role),
            trainable: true,
            learning_rate_factor: self.embedding_rate,
            precision: None,
        });
        let own = self.groups.iter().map(GroupRecipe::group).collect::<Result<Vec<_>, _>>()?;
        let in_four_bits = |group: &&ParameterGroup| matches!(group.precision, Some(WeightFormat::Int4 { .. }));
        let four: Vec<Option<WeightFormat>> = own.iter().filter(in_four_bits).map(|group| group.precision).collect();
        if let Some([Some(one), Some(other)]) = four.array_windows().find(|[one, other]| one != other) {
            let (given, allowed) = (format!("{one} and {other}"), "groups of one size wherever it is int4");
            return Err(RecipeError::value("optimiser.groups.precision", given, allowed));
        }
        Ok(own.into_iter().chain(embeddings).collect())
    }
}

impl GroupRecipe {
    fn group(&self) -> Result<ParameterGroup, RecipeError> {
        let wrong = |key, given: String, allowed| Err(RecipeError::value(key, given, allowed));
        let Ok(parameters) = self.parameters.parse::<ParameterPattern>() else {
            let allowed = "a name with `*`, or role:matrix, role:router, role:embedding, role:unit-vectors, role:head, role:vector, role:adapter";
            return wrong("optimiser.groups.parameters", format!("\"{}\"", self.parameters), allowed);
        };
        let precision = match &self.precision {
            None => None,
            Some(precision) if self.trainable => {
                let given = format!("\"{precision}\" for `{}`", self.parameters);
                return wrong("optimiser.groups.precision", given, "nothing where parameters learn");
            }
            Some(precision) => match precision.parse() {
                Ok(WeightFormat::F32) | Err(_) => {
                    let given = format!("\"{precision}\"");
                    return wrong("optimiser.groups.precision", given, "bf16, int8, int4, int4:GROUP");
                }
                Ok(precision) => Some(precision),
            },
        };
        match self.rate {
            Some(rate) if !self.trainable => {
                let given = format!("{rate} for `{}`", self.parameters);
                wrong("optimiser.groups.rate", given, "nothing where `trainable` is false")
            }
            Some(rate) if !(rate > 0.0 && rate <= MOST) => {
                let hint = Some("`trainable = false` leaves parameters as they are");
                let key = "optimiser.groups.rate";
                Err(RecipeError::Value { key, given: rate.to_string(), allowed: "above 0, at most 1000000", hint })
            }
            rate => {
                let (trainable, learning_rate_factor) = (self.trainable, rate.unwrap_or(1.0));
                Ok(ParameterGroup { parameters, trainable, learning_rate_factor, precision })
            }
        }
    }
}
