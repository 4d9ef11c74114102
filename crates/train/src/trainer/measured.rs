//! What a look at held-out data gives, as the loop sees it.

use crate::event::{CodeFigures, HeldOutPairs, HeldOutSamples, TrainingEvent};
use crate::objective::Figure;
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

/// What held-out text costs, and the codes in it.
#[derive(Debug)]
pub(crate) struct HeldOutText {
    pub(crate) likelihood: Likelihood,
    pub(crate) codes: Vec<CodeFigures>,
}

impl Measured for HeldOutText {
    fn cost(&self) -> f64 {
        self.likelihood.nats_per_token
    }

    fn bits_per_byte(&self) -> Option<f64> {
        Some(self.likelihood.bits_per_byte)
    }

    fn figures(&self) -> Map<String, Value> {
        let Likelihood { nats_per_token, bits_per_byte, perplexity, standard_error, .. } = self.likelihood;
        let mut figures = fields(json!({
            "nats_per_token": nats_per_token,
            "bits_per_byte": bits_per_byte,
            "perplexity": perplexity,
            "standard_error": standard_error.map(|error| error.nats_per_token),
        }));
        if !self.codes.is_empty() {
            let codes = self.codes.iter().map(|codes| (codes.domain.clone(), json!(codes.nats_per_code)));
            figures.insert("nats_per_code".to_owned(), codes.collect::<Map<_, _>>().into());
        }
        figures
    }

    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_> {
        TrainingEvent::Validated { step, likelihood: &self.likelihood, codes: &self.codes, best }
    }
}

/// What held-out data costs that is no text by itself, with what else is to be known.
#[derive(Debug)]
pub(crate) struct HeldOutFigures {
    pub(crate) cost: f64,
    pub(crate) figures: Vec<Figure>,
}

impl Measured for HeldOutFigures {
    fn cost(&self) -> f64 {
        self.cost
    }

    fn bits_per_byte(&self) -> Option<f64> {
        None
    }

    fn figures(&self) -> Map<String, Value> {
        let mut figures = fields(json!({ "held_out_loss": self.cost }));
        figures.extend(self.figures.iter().map(|(name, value)| (format!("held_out_{name}"), json!(value))));
        figures
    }

    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_> {
        TrainingEvent::Measured { step, cost: self.cost, figures: &self.figures, best }
    }
}

impl Measured for HeldOutSamples {
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

impl Measured for HeldOutPairs {
    fn cost(&self) -> f64 {
        self.cost
    }

    fn bits_per_byte(&self) -> Option<f64> {
        None
    }

    fn figures(&self) -> Map<String, Value> {
        fields(json!({
            "held_out_loss": self.cost,
            "held_out_hit_rate": self.held_out.hit_rate,
            "trained_hit_rate": self.trained.hit_rate,
        }))
    }

    fn event(&self, step: u64, best: bool) -> TrainingEvent<'_> {
        TrainingEvent::Matched { step, held_out: self, best }
    }
}
