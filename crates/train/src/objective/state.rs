//! What an objective counts, between the objective, which knows its type, and the run's state, which does not.

use crate::TrainError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an objective counts, as it is saved. Real numbers that must not be rounded are given as their bits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectiveState(Value);

impl ObjectiveState {
    /// Writes a value down.
    ///
    /// # Errors
    /// When JSON has no form for it.
    pub fn new<T: Serialize>(counted: &T) -> Result<Self, TrainError> {
        let refused = |error: serde_json::Error| TrainError::ObjectiveState { reason: error.to_string() };
        serde_json::to_value(counted).map(Self).map_err(refused)
    }

    /// Reads the value back.
    ///
    /// # Errors
    /// When it was another objective that saved it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, TrainError> {
        let refused = |error: serde_json::Error| TrainError::ObjectiveState { reason: error.to_string() };
        T::deserialize(&self.0).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rounds {
        round: u64,
    }

    #[test]
    fn what_is_saved_is_read_back_and_only_by_its_own_objective() {
        let rounds = Rounds { round: f64::MIN_POSITIVE.to_bits() };
        let state = ObjectiveState::new(&rounds).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let back: ObjectiveState = serde_json::from_str(&text).unwrap();
        assert_eq!(back.read::<Rounds>().unwrap(), rounds);
        let other = ObjectiveState::new(&std::collections::BTreeMap::from([("density", 1)])).unwrap();
        assert!(matches!(other.read::<Rounds>(), Err(TrainError::ObjectiveState { .. })));
    }
}
