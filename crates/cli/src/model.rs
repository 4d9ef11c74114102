//! From what people name to a model that runs: the checkpoint, the device and the precision, each with its reason.

use crate::arguments::{DeviceArguments, DeviceChoice, Precision};
use crate::failure::Failure;
use crate::machine;
use aquatint_checkpoint::{Checkpoint, CheckpointError, builtin};
use aquatint_compute::{Cpu, CpuPath, WeightFormat};
use aquatint_network::Denoiser;
use aquatint_train::recipe::Resolved;
use aquatint_train::{Summary, TrainingEvent, train};
use std::sync::atomic::AtomicBool;

/// Opens the named checkpoint, or the built-in one.
pub(crate) fn open(name: Option<&str>) -> Result<Checkpoint, Failure> {
    let name = name.unwrap_or(builtin::DEFAULT);
    Checkpoint::open(name).map_err(|error| {
        let failure = Failure::from(error);
        // The one thing that people type by mistake: a prompt where the model stands.
        if name.contains(char::is_whitespace) {
            failure
                .hint(format!("to complete a text, name the model first: aquatint run {} {name:?}", builtin::DEFAULT))
        } else {
            failure
        }
    })
}

/// Which device computes, in which precision, on how many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    path: CpuPath,
    precision: Precision,
    threads: usize,
    chosen: bool,
}

impl Plan {
    /// Resolves what was typed against what the machine has.
    pub(crate) fn resolve(arguments: &DeviceArguments) -> Result<Self, Failure> {
        let threads = match arguments.threads {
            Some(0) => {
                return Err(
                    Failure::new("`threads` is 0; allowed: 1 or more").hint("leave it out to use every processor")
                );
            }
            Some(threads) => threads,
            None => machine::threads(),
        };
        let wide = arguments.precision == Precision::F64;
        let path = match arguments.device {
            DeviceChoice::CpuScalar => CpuPath::Scalar,
            DeviceChoice::Auto if wide => CpuPath::Scalar,
            DeviceChoice::Cpu if wide => {
                return Err(Failure::new("`precision` is f64; allowed on the device `cpu`: f32, bf16, int8, int4")
                    .hint("add --device cpu-scalar, the slow path that computes in 64 bits"));
            }
            DeviceChoice::Auto | DeviceChoice::Cpu => CpuPath::best(),
        };
        let chosen = arguments.precision != Precision::Auto;
        let precision = match arguments.precision {
            // Where it is slower than f32 or only imitated, nobody asked for its rounding.
            Precision::Auto if path.multiplies_bf16() => Precision::Bf16,
            Precision::Auto => Precision::F32,
            precision => precision,
        };
        // The scalar path is the specification: plain loops on one thread.
        let threads = if path == CpuPath::Scalar { 1 } else { threads };
        Ok(Self { path, precision, threads, chosen })
    }

    /// The instructions in use.
    pub(crate) fn path(&self) -> CpuPath {
        self.path
    }

    /// The precision, resolved.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        format!("cpu, {} path, {threads}", self.path)
    }

    /// The precision and why it is that one.
    pub(crate) fn precision_reason(&self) -> String {
        match (self.precision, self.chosen) {
            (Precision::Bf16, true) => "bf16 products, as asked for".to_owned(),
            (Precision::Bf16, false) => "bf16 products: this processor has instructions for them".to_owned(),
            (Precision::Int8, _) => "8-bit integers, as asked for".to_owned(),
            (Precision::Int4, _) => "4-bit integers, as asked for".to_owned(),
            (Precision::F64, _) => "f64, as asked for; only the slow scalar path has it".to_owned(),
            (_, true) => "f32, as asked for".to_owned(),
            (_, false) => "f32: this processor has no instructions for bf16".to_owned(),
        }
    }

    /// The network of a checkpoint, its matrices in the plan's numbers.
    pub(crate) fn network(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Denoiser>, Failure> {
        Ok(match self.precision {
            Precision::F64 => Box::new(checkpoint.frozen(Cpu::<f64>::scalar(), WeightFormat::F32)?),
            _ => Box::new(checkpoint.frozen(self.cpu()?, self.format())?),
        })
    }

    /// What matrices are kept in.
    pub(crate) fn format(&self) -> WeightFormat {
        match self.precision {
            Precision::Bf16 => WeightFormat::Bf16,
            Precision::Int8 => WeightFormat::Int8,
            Precision::Int4 => WeightFormat::Int4 { group: WeightFormat::DEFAULT_GROUP },
            Precision::Auto | Precision::F32 | Precision::F64 => WeightFormat::F32,
        }
    }

    /// Trains on this device.
    pub(crate) fn train(
        &self,
        recipe: &Resolved,
        resume: bool,
        stop: &AtomicBool,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, Failure> {
        Ok(match self.precision {
            Precision::F64 => train(recipe, Cpu::<f64>::scalar(), resume, stop, events)?,
            Precision::Int8 | Precision::Int4 => {
                let given = if self.precision == Precision::Int8 { "int8" } else { "int4" };
                return Err(Failure::new(format!("`precision` is {given}; allowed for training: f32, bf16"))
                    .hint("train in bf16 and run the model in integers afterwards"));
            }
            _ => train(recipe, self.cpu()?, resume, stop, events)?,
        })
    }

    /// The processor with this path, precision and number of threads; 64 bits are another device.
    pub(crate) fn cpu(&self) -> Result<Cpu<f32>, Failure> {
        let cpu = Cpu::<f32>::new(self.path, self.threads).map_err(|error| Failure::of(&error))?;
        Ok(match self.precision {
            Precision::Bf16 => cpu.with_precision(aquatint_compute::Precision::Bf16),
            // Who takes integers for matrices has no use for attention in 32 bits.
            Precision::Int8 | Precision::Int4 if self.path.multiplies_bf16() => {
                cpu.with_precision(aquatint_compute::Precision::Bf16)
            }
            _ => cpu,
        })
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::advised(&error)
    }
}
