//! The network that is measured: a model's, or one of any shape with random weights.

use super::timed::{Clock, Timed};
use crate::arguments::BenchArguments;
use crate::failure::Failure;
use crate::model;
use crate::printer::Printer;
use aquatint::runtime::{DeviceTask, Runtime};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Device, WeightFormat};
use aquatint_diffusion::Key;
use aquatint_network::families::{self, Object};
use aquatint_network::{Denoiser, InferenceNetwork, Network, NetworkSpec, TensorData};
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Standard deviation of a random matrix: the usual one, so that activations have their usual size.
const DEVIATION: f64 = 0.02;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name for people.
    pub(crate) name: String,
    /// What the network is.
    pub(crate) spec: NetworkSpec,
    /// The model, or the description of one whose weights are random.
    source: Source,
    /// Time that opening the model took.
    opening: Duration,
    /// Bytes for experts, if those of a model are read when tokens are routed to them.
    expert_memory: Option<u64>,
}

/// What a network is made of.
#[derive(Debug)]
enum Source {
    Checkpoint(Box<Checkpoint>),
    Config(Value),
}

/// A network ready to be measured as a denoiser.
pub(crate) struct Ready {
    pub(crate) denoiser: Box<dyn Denoiser>,
    /// Time from nothing to the network; drawing random weights is left out.
    pub(crate) start_up: Duration,
    /// The time of each operation, where it is requested.
    pub(crate) clock: Option<Clock>,
}

impl Subject {
    /// The network of a `config.json`, or of the named model, or of the built-in one.
    pub(crate) fn open(arguments: &BenchArguments, printer: &Printer) -> Result<Self, Failure> {
        let expert_memory = arguments.expert_memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20));
        let Some(path) = arguments.config.as_deref() else {
            let begun = Instant::now();
            let checkpoint = model::open(arguments.model.as_deref(), printer)?;
            if expert_memory.is_some() {
                model::warn_without_experts(&checkpoint, printer);
            }
            let (name, spec, opening) = (checkpoint.origin.to_string(), checkpoint.spec.clone(), begun.elapsed());
            return Ok(Self { name, spec, source: Source::Checkpoint(Box::new(checkpoint)), opening, expert_memory });
        };
        let unusable = |failure: Failure| failure.context(format!("`{}` is no usable config.json", path.display()));
        let text = std::fs::read(path).map_err(|error| Failure::of_file("read", path, &error))?;
        let config = serde_json::from_slice(&text).map_err(|error| unusable(Failure::of(&error)))?;
        let spec = families::from_config(&config).map_err(|error| unusable(Failure::of(&error)))?;
        Ok(Self {
            name: path.display().to_string(),
            spec,
            source: Source::Config(config),
            opening: Duration::ZERO,
            expert_memory,
        })
    }

    /// Whether the weights are random.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self.source, Source::Config(_))
    }

    /// The description in its family's words.
    pub(crate) fn config(&self) -> Result<Value, Failure> {
        match &self.source {
            Source::Checkpoint(checkpoint) => Ok(checkpoint.description().config()?),
            Source::Config(config) => {
                let family = families::of_config(config)?;
                let roles = family.roles(config.as_object().unwrap_or(&Object::new()));
                Ok(families::to_config(family, &self.spec, &roles)?)
            }
        }
    }

    /// The network as a denoiser in the precision of a runtime, which is all that a forward pass and generation need.
    pub(crate) fn denoiser(&self, runtime: &Runtime, breakdown: bool) -> Result<Ready, Failure> {
        struct Readying<'a>(&'a Subject, WeightFormat, bool);
        impl DeviceTask for Readying<'_> {
            type Output = Ready;
            type Error = Failure;
            fn run<D: Device>(self, device: D) -> Result<Ready, Failure> {
                self.0.ready(device, self.1, self.2)
            }
        }
        runtime.run(Readying(self, runtime.format(), breakdown))
    }

    fn ready<D: Device>(&self, device: D, format: WeightFormat, breakdown: bool) -> Result<Ready, Failure> {
        if breakdown {
            let device = Timed::new(device);
            let clock = device.clock();
            let (network, start_up) = self.inference_network(device, format)?;
            return Ok(Ready { denoiser: Box::new(network), start_up, clock: Some(clock) });
        }
        let (network, start_up) = self.inference_network(device, format)?;
        Ok(Ready { denoiser: Box::new(network), start_up, clock: None })
    }

    /// The network as it is run, and the time that it took to get there. Its matrices are in `format` even where a model
    /// keeps them as integers of other bits: formats are compared here, not models.
    fn inference_network<D: Device>(
        &self,
        device: D,
        format: WeightFormat,
    ) -> Result<(InferenceNetwork<D>, Duration), Failure> {
        self.timed(
            |checkpoint| {
                let expert_memory = self.expert_memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                Ok(checkpoint.inference_network_in(device.clone(), format, expert_memory)?)
            },
            |give| {
                Ok(InferenceNetwork::new(device.clone(), self.spec.clone(), format, &mut |name| {
                    give(name).map(TensorData::Real)
                })?)
            },
        )
    }

    /// The network as it learns, and the time that it took to get there.
    pub(crate) fn network<D: Device>(&self, device: D) -> Result<(Network<D>, Duration), Failure> {
        self.timed(
            |checkpoint| Ok(checkpoint.network(device.clone())?),
            |give| Ok(Network::from_weights(device.clone(), self.spec.clone(), give)?),
        )
    }

    /// Builds a network from the model or from random weights; drawing them is not counted.
    fn timed<N>(
        &self,
        load: impl FnOnce(&Checkpoint) -> Result<N, Failure>,
        draw: impl FnOnce(&mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<N, Failure>,
    ) -> Result<(N, Duration), Failure> {
        let begun = Instant::now();
        let mut drawing = Duration::ZERO;
        let network = match &self.source {
            Source::Checkpoint(checkpoint) => load(checkpoint)?,
            Source::Config(_) => {
                let mut weights = RandomWeights::new(&self.spec);
                draw(&mut |name| {
                    let begun = Instant::now();
                    let values = weights.draw(name);
                    drawing += begun.elapsed();
                    values
                })?
            }
        };
        Ok((network, self.opening + begun.elapsed().saturating_sub(drawing)))
    }
}

/// Untrained weights, one tensor at a time.
struct RandomWeights {
    /// Number and shape of each tensor.
    tensors: HashMap<String, (u64, Vec<usize>)>,
}

impl RandomWeights {
    fn new(spec: &NetworkSpec) -> Self {
        let numbered = (0..).zip(spec.tensors());
        Self { tensors: numbered.map(|(number, tensor)| (tensor.name, (number, tensor.shape))).collect() }
    }

    /// Matrices are uniform with mean 0, norms 1 and biases 0.
    fn draw(&mut self, name: &str) -> Option<Vec<f32>> {
        let (number, shape) = self.tensors.get(name)?;
        let length = shape.iter().product();
        if shape.len() == 1 {
            return Some(vec![if name.ends_with("bias") { 0.0 } else { 1.0 }; length]);
        }
        let mut draws = Key::new(0).at(*number, 0);
        let width = DEVIATION * 12f64.sqrt();
        Some((0..length).map(|_| (width * (draws.uniform() - 0.5)) as f32).collect())
    }
}
