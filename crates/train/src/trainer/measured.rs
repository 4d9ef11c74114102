//! What a look at held-out data gives, as the loop sees it.

use crate::event::{HeldOutPictures, TrainingEvent};
use aquatint_evaluate::Likelihood;
use serde_json::{Map, Value, json};

/// What a look at held-out data gave.
pub(crate) trait Measured {
    /// What is to become small; the model of the least is kept.
    fn cost(&self) -> f64;

    /// The same in bits per byte, where text was measured.
    fn bits_per_byte(&self) -> Option<f64>;

    /// Its line of figures.
    fn figures(&self) -> Map<String, Value>;

    /// What is reported.
    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_>;
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl Measured for Likelihood {
    fn cost(&self) -> f64 {
        self.nats_per_token
    }

    fn bits_per_byte(&self) -> Option<f64> {
        Some(self.bits_per_byte)
    }

    fn figures(&self) -> Map<String, Value> {
        fields(json!({
            "nats_per_token": self.nats_per_token,
            "bits_per_byte": self.bits_per_byte,
            "perplexity": self.perplexity,
            "standard_error": self.standard_error.map(|error| error.nats_per_token),
        }))
    }

    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_> {
        TrainingEvent::Validated { step, likelihood: self, best }
    }
}

impl Measured for HeldOutPictures {
    fn cost(&self) -> f64 {
        self.cost
    }

    fn bits_per_byte(&self) -> Option<f64> {
        None
    }

    fn figures(&self) -> Map<String, Value> {
        let mut figures = fields(json!({ "held_out_loss": self.cost }));
        figures.extend(fields(json!(self.reconstruction)));
        figures
    }

    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_> {
        TrainingEvent::Reconstructed { step, held_out: self, best }
    }
}
