//! From what people name to a model that runs: the checkpoint, the device and the precision, each with its reason.

use crate::arguments::{DeviceArguments, DeviceChoice, Precision};
use crate::failure::Failure;
use crate::{gpu, machine};
use aquatint_checkpoint::{Checkpoint, builtin};
use aquatint_compute::{Arithmetic, Cpu, CpuPath, Cuda, Device, WeightFormat, peak};
use aquatint_network::Denoiser;
use aquatint_train::recipe::Resolved;
use aquatint_train::{Ranks, Summary, Training, TrainingEvent};
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

/// Which device computes, in which precision.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    place: Place,
    precision: Precision,
    chosen: bool,
    /// Why there is no GPU in it, where nobody said which device and one was found.
    passed_over: Option<String>,
}

/// Where a plan computes.
#[derive(Debug, Clone)]
enum Place {
    Processor { path: CpuPath, threads: usize },
    Gpu(Cuda),
}

/// Something that is done on whichever device a plan names.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Does it on this device.
    fn on<D: Device>(self, device: D) -> Result<Self::Output, Failure>;
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
        let mut passed_over = None;
        let place = match arguments.device {
            // The scalar path is the specification: plain loops on one thread.
            DeviceChoice::CpuScalar => Place::Processor { path: CpuPath::Scalar, threads: 1 },
            DeviceChoice::Auto if wide => Place::Processor { path: CpuPath::Scalar, threads: 1 },
            DeviceChoice::Cpu | DeviceChoice::Cuda(_) if wide => {
                let device = if arguments.device == DeviceChoice::Cpu { "cpu" } else { "cuda" };
                return Err(Failure::new(format!(
                    "`precision` is f64; allowed on the device `{device}`: f32, bf16, int8, int4"
                ))
                .hint("add --device cpu-scalar, the slow path that computes in 64 bits"));
            }
            DeviceChoice::Cuda(ordinal) => Place::Gpu(gpu::open(ordinal)?),
            DeviceChoice::Auto => match gpu::if_ready() {
                Ok(Some(gpu)) => Place::Gpu(gpu),
                Ok(None) => Place::processor(threads),
                Err(failure) => {
                    passed_over = Some(failure.to_string());
                    Place::processor(threads)
                }
            },
            DeviceChoice::Cpu => Place::processor(threads),
        };
        let chosen = arguments.precision != Precision::Auto;
        let precision = match arguments.precision {
            // Where it is slower than f32 or only imitated, nobody asked for its rounding.
            Precision::Auto if place.multiplies_bf16() => Precision::Bf16,
            Precision::Auto => Precision::F32,
            precision => precision,
        };
        Ok(Self { place, precision, chosen, passed_over })
    }

    /// The precision, resolved.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The number of threads that compute; on a GPU the processor only asks.
    pub(crate) fn threads(&self) -> usize {
        match &self.place {
            Place::Processor { threads, .. } => *threads,
            Place::Gpu(_) => 1,
        }
    }

    /// Whether a GPU computes.
    pub(crate) fn is_gpu(&self) -> bool {
        matches!(self.place, Place::Gpu(_))
    }

    /// The instructions of the processor, or the GPU.
    pub(crate) fn path(&self) -> String {
        match &self.place {
            Place::Processor { path, .. } => path.to_string(),
            Place::Gpu(gpu) => gpu.facts().name.clone(),
        }
    }

    /// What the device reaches at most in 10⁹ operations a second, where that is known.
    pub(crate) fn peak(&self) -> Option<f64> {
        match &self.place {
            Place::Processor { path, threads } => {
                let arithmetics: &[Arithmetic] = match self.precision {
                    Precision::Auto | Precision::F32 => &[Arithmetic::F32],
                    Precision::Int8 | Precision::Int4 => &[Arithmetic::Int8],
                    // Without an instruction for them, rounded factors are multiplied as f32.
                    Precision::Bf16 => &[Arithmetic::Bf16, Arithmetic::F32],
                    // Only the scalar path has it, and that is no measure of a processor.
                    Precision::F64 => &[],
                };
                arithmetics.iter().find_map(|&arithmetic| peak(*path, arithmetic, *threads))
            }
            Place::Gpu(gpu) => gpu::peak(&self.ready(gpu)),
        }
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        match &self.place {
            Place::Processor { path, threads: 1 } => format!("cpu, {path} path, 1 thread"),
            Place::Processor { path, threads } => format!("cpu, {path} path, {threads} threads"),
            Place::Gpu(gpu) => {
                let (facts, (major, minor)) = (gpu.facts(), gpu.facts().capability);
                format!("cuda:{}, {}, sm_{major}{minor}", facts.ordinal, facts.name)
            }
        }
    }

    /// The precision and why it is that one.
    pub(crate) fn precision_reason(&self) -> String {
        let device = if self.is_gpu() { "GPU" } else { "processor" };
        let reason = match (self.precision, self.chosen) {
            (Precision::Bf16, true) => "bf16 products, as asked for".to_owned(),
            (Precision::Bf16, false) => format!("bf16 products: this {device} has instructions for them"),
            (Precision::Int8, _) => "8-bit integers, as asked for".to_owned(),
            (Precision::Int4, _) => "4-bit integers, as asked for".to_owned(),
            (Precision::F64, _) => "f64, as asked for; only the slow scalar path has it".to_owned(),
            (_, true) => "f32, as asked for".to_owned(),
            (_, false) => format!("f32: this {device} has no instructions for bf16"),
        };
        match &self.passed_over {
            Some(why) => format!("{reason}; no GPU: {why}"),
            None => reason,
        }
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

    /// The network of a checkpoint, its matrices in the plan's numbers.
    pub(crate) fn network(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Denoiser>, Failure> {
        struct Freeze<'a>(&'a Checkpoint, WeightFormat);
        impl Work for Freeze<'_> {
            type Output = Box<dyn Denoiser>;
            fn on<D: Device>(self, device: D) -> Result<Self::Output, Failure> {
                Ok(Box::new(self.0.frozen(device, self.1)?))
            }
        }
        self.run(Freeze(checkpoint, self.format()))
    }

    /// Trains on this device, as one rank of some.
    pub(crate) fn train(
        &self,
        ranks: &dyn Ranks,
        recipe: &Resolved,
        resume: bool,
        stop: &AtomicBool,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, Failure> {
        struct Train<'a> {
            ranks: &'a dyn Ranks,
            recipe: &'a Resolved,
            resume: bool,
            stop: &'a AtomicBool,
            events: &'a mut dyn FnMut(TrainingEvent<'_>),
        }
        impl Work for Train<'_> {
            type Output = Summary;
            fn on<D: Device>(self, device: D) -> Result<Summary, Failure> {
                let training = Training::new(self.recipe).ranks(self.ranks).resume(self.resume).stop(self.stop);
                Ok(training.run(device, self.events)?)
            }
        }
        if let Precision::Int8 | Precision::Int4 = self.precision {
            let given = if self.precision == Precision::Int8 { "int8" } else { "int4" };
            return Err(Failure::new(format!("`precision` is {given}; allowed for training: f32, bf16"))
                .hint("train in bf16 and run the model in integers afterwards"));
        }
        self.run(Train { ranks, recipe, resume, stop, events })
    }

    /// Does something on the device of this plan; 64 bits are another device.
    pub(crate) fn run<W: Work>(&self, work: W) -> Result<W::Output, Failure> {
        match &self.place {
            Place::Processor { .. } if self.precision == Precision::F64 => work.on(Cpu::<f64>::scalar()),
            Place::Processor { path, threads } => {
                let cpu = Cpu::<f32>::new(*path, *threads).map_err(|error| Failure::of(&error))?;
                work.on(cpu.with_precision(self.products()))
            }
            Place::Gpu(gpu) => work.on(self.ready(gpu)),
        }
    }

    fn ready(&self, gpu: &Cuda) -> Cuda {
        gpu.clone().with_precision(self.products())
    }

    /// What both factors of products are rounded to.
    fn products(&self) -> aquatint_compute::Precision {
        match self.precision {
            Precision::Bf16 => aquatint_compute::Precision::Bf16,
            // Who takes integers for matrices has no use for attention in 32 bits.
            Precision::Int8 | Precision::Int4 if self.place.multiplies_bf16() => aquatint_compute::Precision::Bf16,
            _ => aquatint_compute::Precision::F32,
        }
    }
}

impl Place {
    fn processor(threads: usize) -> Self {
        let path = CpuPath::best();
        Self::Processor { path, threads: if path == CpuPath::Scalar { 1 } else { threads } }
    }

    fn multiplies_bf16(&self) -> bool {
        match self {
            Self::Processor { path, .. } => path.multiplies_bf16(),
            // Others are not opened.
            Self::Gpu(_) => true,
        }
    }
}
