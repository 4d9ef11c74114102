//! Where models compute: the device, its precision and its threads, chosen once and used by everything.
//!
//! ```
//! use aquatint::runtime::{CpuPath, DeviceChoice, Precision, Runtime, RuntimeSettings};
//!
//! # fn main() -> Result<(), aquatint::Error> {
//! // The fastest device of this machine, in its own precision.
//! let runtime = Runtime::new(&RuntimeSettings::default())?;
//! assert!(runtime.threads() >= 1);
//!
//! // The path that defines what is right, in 64 bits.
//! let exact = RuntimeSettings {
//!     device: DeviceChoice::CpuPath(CpuPath::Scalar),
//!     precision: Precision::F64,
//!     ..RuntimeSettings::default()
//! };
//! let runtime = Runtime::new(&exact)?;
//! assert_eq!(runtime.describe_device(), "cpu, scalar path, 1 thread");
//! let model = runtime.open("tales")?;
//! # assert!(!model.checkpoint().vocabulary.is_empty());
//! # Ok(())
//! # }
//! ```

mod capacity;
mod error;
mod gpu;
mod memory;
mod settings;

pub use aquatint_compute::CpuPath;
pub use capacity::Capacity;
pub use error::RuntimeError;
pub use gpu::count as usable_gpus;
pub use memory::{Memory, forget_peak_memory, memory, peak_memory};
pub use settings::{DeviceChoice, ParseDeviceError, Precision, RuntimeSettings};

use crate::{Error, Model};
use aquatint_checkpoint::{Checkpoint, CheckpointError};
use aquatint_compute::{Arithmetic, Cpu, Cuda, Device, DeviceError, WeightFormat, peak};
use aquatint_network::{Denoiser, Learner};
use aquatint_train::{AvailableMemory, RunRecipe, Summary, Training, TrainingEvent};

/// A device with its precision, ready for any number of models.
#[derive(Debug, Clone)]
pub struct Runtime {
    place: Place,
    precision: Precision,
    /// Whether the precision was set explicitly.
    chosen: bool,
    /// Why there is no GPU in it, where the device was chosen automatically and a GPU was found.
    passed_over: Option<String>,
    /// Bytes that the weights of experts take at most.
    expert_memory: Option<u64>,
}

/// Where a runtime computes.
#[derive(Debug, Clone)]
enum Place {
    Processor { path: CpuPath, threads: usize },
    Gpu(Cuda),
}

/// More threads than any processor has at once. They would only wait for each other, and systems give no number of them.
pub(crate) const MOST_THREADS: usize = 1024;

/// Something that is done on whichever device a runtime has.
pub trait DeviceTask {
    /// What it gives.
    type Output;
    /// Why it may fail.
    type Error: From<DeviceError>;

    /// Does it on this device.
    ///
    /// # Errors
    /// When it cannot be done.
    fn run<D: Device>(self, device: D) -> Result<Self::Output, Self::Error>;
}

/// Processors that this program may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Runtime {
    /// Compares the settings with what this machine has.
    ///
    /// # Errors
    /// When there is no such device, it cannot be used, or it lacks the precision.
    pub fn new(settings: &RuntimeSettings) -> Result<Self, RuntimeError> {
        let threads = match settings.threads {
            Some(threads @ 1..=MOST_THREADS) => threads,
            Some(given) => return Err(RuntimeError::Threads { given }),
            None => processors(),
        };
        let kernels = settings.kernel_cache.as_deref();
        let wide = settings.precision == Precision::F64;
        let mut passed_over = None;
        let place = match settings.device {
            DeviceChoice::Auto | DeviceChoice::CpuPath(CpuPath::Scalar) if wide => {
                Place::processor(CpuPath::Scalar, threads)
            }
            _ if wide => return Err(RuntimeError::Wide { device: settings.device }),
            DeviceChoice::CpuPath(path) if !path.is_available() => return Err(RuntimeError::Path { path }),
            DeviceChoice::CpuPath(path) => Place::processor(path, threads),
            DeviceChoice::Cuda(ordinal) => Place::Gpu(gpu::open(ordinal, kernels, settings.graphs)?),
            DeviceChoice::Auto => match gpu::if_ready(kernels, settings.graphs) {
                Ok(Some(gpu)) => Place::Gpu(gpu),
                Ok(None) => Place::processor(CpuPath::best(), threads),
                Err(error) => {
                    passed_over = Some(error.to_string());
                    Place::processor(CpuPath::best(), threads)
                }
            },
            DeviceChoice::Cpu => Place::processor(CpuPath::best(), threads),
        };
        let chosen = settings.precision != Precision::Auto;
        let precision = match settings.precision {
            // Where it is slower than f32 or only imitated, its rounding would have no benefit.
            Precision::Auto if place.multiplies_bf16() => Precision::Bf16,
            Precision::Auto => Precision::F32,
            precision => precision,
        };
        Ok(Self { place, precision, chosen, passed_over, expert_memory: settings.expert_memory })
    }

    /// The precision, resolved: never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The number of threads that compute; on a GPU the processor only launches.
    pub fn threads(&self) -> usize {
        match &self.place {
            Place::Processor { threads, .. } => *threads,
            Place::Gpu(_) => 1,
        }
    }

    /// Whether a GPU computes.
    pub fn is_gpu(&self) -> bool {
        matches!(self.place, Place::Gpu(_))
    }

    /// The instructions of the processor, or the name of the GPU.
    pub fn path(&self) -> String {
        match &self.place {
            Place::Processor { path, .. } => path.to_string(),
            Place::Gpu(gpu) => gpu.facts().name.clone(),
        }
    }

    /// What the device reaches at most in 10⁹ operations a second, where that is known. It is measured, which takes a
    /// moment.
    pub fn peak(&self) -> Option<f64> {
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

    /// What is left of this device now, for the requests of a model that is loaded; the speed is measured, which takes a
    /// moment. `weights` are the bytes that the weights of all loaded models take: a GPU reports its memory with them.
    ///
    /// ```
    /// use aquatint::runtime::{Runtime, RuntimeSettings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = Runtime::new(&RuntimeSettings::default())?;
    /// let model = runtime.open("tales")?;
    /// let limits = runtime.capacity(0).limits(&model.checkpoint().spec)?;
    /// let engine = model.engine(limits)?;
    /// # assert!(engine.is_idle() && limits.rows >= 512);
    /// # Ok(())
    /// # }
    /// ```
    pub fn capacity(&self, weights: u64) -> Capacity {
        let free_bytes = match &self.place {
            Place::Processor { .. } => memory::free(),
            Place::Gpu(gpu) => Some((gpu.facts().memory as u64).saturating_sub(weights)),
        };
        Capacity { free_bytes, peak: self.peak() }
    }

    /// The device in words.
    pub fn describe_device(&self) -> String {
        match &self.place {
            Place::Processor { path, threads: 1 } => format!("cpu, {path} path, 1 thread"),
            Place::Processor { path, threads } => format!("cpu, {path} path, {threads} threads"),
            Place::Gpu(gpu) => {
                let (facts, (major, minor)) = (gpu.facts(), gpu.facts().capability);
                format!("cuda:{}, {}, sm_{major}{minor}", facts.ordinal, facts.name)
            }
        }
    }

    /// The precision in words, and why it is that one.
    pub fn describe_precision(&self) -> String {
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

    /// What graphs have done so far, in words; `None` where launches are not replayed.
    pub fn describe_graphs(&self) -> Option<String> {
        match &self.place {
            Place::Processor { .. } => None,
            Place::Gpu(gpu) => gpu::describe_graphs(gpu),
        }
    }

    /// What matrices are kept in.
    pub fn format(&self) -> WeightFormat {
        match self.precision {
            Precision::Bf16 => WeightFormat::Bf16,
            Precision::Int8 => WeightFormat::Int8,
            Precision::Int4 => WeightFormat::Int4 { group: WeightFormat::DEFAULT_GROUP },
            Precision::Auto | Precision::F32 | Precision::F64 => WeightFormat::F32,
        }
    }

    /// The network of a checkpoint for inference, its matrices in this runtime's numbers. Where the checkpoint has adapters,
    /// it applies the first of them.
    ///
    /// # Errors
    /// When the weights cannot be read or quantised, or the device lacks the memory.
    pub fn network(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Denoiser>, Error> {
        let first = checkpoint.first_adapter().map(str::to_owned);
        // One choice gives one network.
        Ok(self.networks(checkpoint, &[first])?.remove(0))
    }

    /// The network of a checkpoint once with each of these adapters, or with none; its weights are in memory once.
    ///
    /// # Errors
    /// As [`Runtime::network`], and when the checkpoint has no adapter of a name.
    pub fn networks(
        &self,
        checkpoint: &Checkpoint,
        adapters: &[Option<String>],
    ) -> Result<Vec<Box<dyn Denoiser>>, Error> {
        struct Prepare<'a> {
            checkpoint: &'a Checkpoint,
            adapters: &'a [Option<String>],
            format: WeightFormat,
            expert_memory: Option<u64>,
        }
        impl DeviceTask for Prepare<'_> {
            type Output = Vec<Box<dyn Denoiser>>;
            type Error = Error;
            fn run<D: Device>(self, device: D) -> Result<Self::Output, Error> {
                let Self { checkpoint, adapters, format, expert_memory } = self;
                let network = match expert_memory {
                    Some(bytes) => {
                        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                        checkpoint.inference_network_within(device, format, bytes)?
                    }
                    None => checkpoint.inference_network(device, format)?,
                };
                let with = |adapter: &Option<String>| -> Result<Box<dyn Denoiser>, Error> {
                    Ok(Box::new(network.with_adapter(adapter.as_deref()).map_err(CheckpointError::from)?))
                };
                adapters.iter().map(with).collect()
            }
        }
        let (format, expert_memory) = (self.format(), self.expert_memory);
        self.run(Prepare { checkpoint, adapters, format, expert_memory })
    }

    /// Bytes that the weights of a checkpoint take in this runtime's numbers, those of experts as far as they stay.
    pub fn weight_memory(&self, checkpoint: &Checkpoint) -> u64 {
        let format = self.format();
        let (all, experts) = (checkpoint.memory(format), checkpoint.expert_memory(format));
        let bytes = all - experts + self.expert_memory.map_or(experts, |most| most.min(experts));
        let bytes = bytes + if self.is_gpu() { checkpoint.table_memory() } else { 0 };
        // The only numbers that are wider than the format's.
        if self.precision == Precision::F64 { 2 * bytes } else { bytes }
    }

    /// The network of a checkpoint for learning; its device is hidden behind the trait.
    ///
    /// ```
    /// use aquatint::batch::{NoisyBatch, PackedBatch};
    /// use aquatint::checkpoint::Checkpoint;
    /// use aquatint::corpus::CanvasBatch;
    /// use aquatint::diffusion::{Key, Time};
    /// use aquatint::runtime::{DeviceChoice, Runtime, RuntimeSettings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cpu = RuntimeSettings { device: DeviceChoice::Cpu, ..RuntimeSettings::default() };
    /// let checkpoint = Checkpoint::open("tales")?;
    /// let mut learner = Runtime::new(&cpu)?.learner(&checkpoint)?;
    ///
    /// // A text half of which is noise, and the gradient of what the network says of that half.
    /// let text = checkpoint.vocabulary.encode_text("Once upon a time there was a fox.")?;
    /// let (length, tokens, text_bytes) = (text.tokens.len(), text.tokens, text.text_bytes);
    /// let (documents, spans, given) = (vec![0; length], Vec::new(), Vec::new());
    /// let canvases = CanvasBatch { length, tokens, documents, text_bytes, spans, given };
    /// let rows = PackedBatch::new(&canvases, checkpoint.spec.attention)?;
    /// let process = checkpoint.spec.process()?.ok_or("a causal model undoes no process")?;
    /// let mut batch = NoisyBatch::new(&rows);
    /// let noisy = process.corrupt(&rows.tokens, &vec![true; length], Time::nearest(0.5), &mut Key::new(7).at(0, 0));
    /// batch.put(0..length, noisy);
    /// let costs = learner.forward_backward_costs(&batch.input(&rows, &checkpoint.spec, None), &batch.terms)?;
    /// assert_eq!(costs.len(), batch.terms.len());
    /// assert!(learner.gradient_norm() > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the precision is one of integers, the weights cannot be read, or the device lacks the memory.
    pub fn learner(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Learner>, Error> {
        struct Load<'a>(&'a Checkpoint);
        impl DeviceTask for Load<'_> {
            type Output = Box<dyn Learner>;
            type Error = Error;
            fn run<D: Device>(self, device: D) -> Result<Self::Output, Error> {
                Ok(Box::new(self.0.network(device)?))
            }
        }
        self.check_training()?;
        self.run(Load(checkpoint))
    }

    /// The memory that a run may take.
    fn memory(&self) -> AvailableMemory {
        let device = match &self.place {
            Place::Processor { .. } => None,
            Place::Gpu(gpu) => Some(gpu.facts().memory as u64),
        };
        AvailableMemory { host: memory::available(), device }
    }

    fn check_training(&self) -> Result<(), RuntimeError> {
        match self.precision {
            Precision::Int8 | Precision::Int4 => Err(RuntimeError::Training { given: self.precision }),
            Precision::Auto | Precision::F32 | Precision::Bf16 | Precision::F64 => Ok(()),
        }
    }

    /// Opens a built-in model by its name, or a folder by its path; a folder called like a built-in model is `./NAME`.
    ///
    /// # Errors
    /// When there is no such model, its files cannot be used, or the device lacks the memory.
    pub fn open(&self, name: &str) -> Result<Model, Error> {
        let checkpoint = Checkpoint::open(name)?;
        let network = self.network(&checkpoint)?;
        Model::new(checkpoint, network)
    }

    /// Checks a run as far as it can be checked before work begins, its memory included, and writes nothing.
    ///
    /// # Errors
    /// When the precision is one of integers, and as [`Training::check`].
    pub fn check<R: RunRecipe>(
        &self,
        training: Training<'_, R>,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<(), Error> {
        struct Check<'a, 'e, R>(Training<'a, R>, &'e mut dyn FnMut(TrainingEvent<'_>));
        impl<R: RunRecipe> DeviceTask for Check<'_, '_, R> {
            type Output = ();
            type Error = Error;
            fn run<D: Device>(self, device: D) -> Result<(), Error> {
                Ok(self.0.check(&device, self.1)?)
            }
        }
        self.check_training()?;
        self.run(Check(training.memory(self.memory()), events))
    }

    /// Takes the steps of a run that are left.
    ///
    /// ```no_run
    /// use aquatint::runtime::{Runtime, RuntimeSettings};
    /// use aquatint::train::{Overrides, Recipe, Training, TrainingEvent};
    /// use std::path::Path;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let recipe = Recipe::load(Path::new("recipes/smoke.toml"), &Overrides::default())?.resolve()?;
    /// let runtime = Runtime::new(&RuntimeSettings::for_recipe(&recipe)?)?;
    /// runtime.train(Training::new(&recipe), &mut |event| {
    ///     if let TrainingEvent::Step(figures) = event {
    ///         println!("step {}: {:.3} nats per token", figures.step, figures.loss);
    ///     }
    /// })?;
    /// let model = runtime.open(&recipe.output.display().to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the precision is one of integers, and as [`Training::run`].
    pub fn train<R: RunRecipe>(
        &self,
        training: Training<'_, R>,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, Error> {
        struct Train<'a, 'e, R>(Training<'a, R>, &'e mut dyn FnMut(TrainingEvent<'_>));
        impl<R: RunRecipe> DeviceTask for Train<'_, '_, R> {
            type Output = Summary;
            type Error = Error;
            fn run<D: Device>(self, device: D) -> Result<Summary, Error> {
                Ok(self.0.run(device, self.1)?)
            }
        }
        self.check_training()?;
        let gpu = match &self.place {
            Place::Gpu(gpu) => Some(gpu),
            Place::Processor { .. } => None,
        };
        let connected = training.connected(gpu)?.map(|gpu| Self { place: Place::Gpu(gpu), ..self.clone() });
        let training = training.memory(self.memory());
        connected.as_ref().unwrap_or(self).run(Train(training, events))
    }

    /// Does something on this device; 64 bits are another device.
    ///
    /// # Errors
    /// When the task fails.
    pub fn run<T: DeviceTask>(&self, task: T) -> Result<T::Output, T::Error> {
        match &self.place {
            Place::Processor { .. } if self.precision == Precision::F64 => task.run(Cpu::<f64>::scalar()),
            Place::Processor { path, threads } => {
                task.run(Cpu::<f32>::new(*path, *threads)?.with_precision(self.products()))
            }
            Place::Gpu(gpu) => task.run(self.ready(gpu)),
        }
    }

    fn ready(&self, gpu: &Cuda) -> Cuda {
        gpu.clone().with_precision(self.products())
    }

    /// What both factors of products are rounded to.
    fn products(&self) -> aquatint_compute::Precision {
        match self.precision {
            Precision::Bf16 => aquatint_compute::Precision::Bf16,
            // Where matrices are integers, attention in 32 bits is of no use.
            Precision::Int8 | Precision::Int4 if self.place.multiplies_bf16() => aquatint_compute::Precision::Bf16,
            _ => aquatint_compute::Precision::F32,
        }
    }
}

impl Place {
    fn processor(path: CpuPath, threads: usize) -> Self {
        // The scalar path is the specification: plain loops on one thread.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hint;

    fn cpu(precision: Precision, threads: Option<usize>) -> RuntimeSettings {
        RuntimeSettings { device: DeviceChoice::Cpu, precision, threads, ..RuntimeSettings::default() }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_hint() {
        let refused = |settings: &RuntimeSettings| {
            let error = Runtime::new(settings).unwrap_err();
            (error.to_string(), error.hint().unwrap())
        };
        assert_eq!(
            refused(&cpu(Precision::Auto, Some(0))),
            ("`threads` is 0; allowed: 1 to 1024".to_owned(), "leave it out to use every processor".to_owned())
        );
        let (message, _) = refused(&cpu(Precision::Auto, Some(100_000)));
        assert_eq!(message, "`threads` is 100000; allowed: 1 to 1024");
        let (message, hint) = refused(&cpu(Precision::F64, None));
        assert_eq!(message, "`precision` is f64; allowed on the device `cpu`: f32, bf16, int8, int4");
        assert!(hint.contains("--device cpu-scalar"));
    }

    #[test]
    fn a_path_is_taken_by_its_name_where_the_processor_has_it() {
        for path in CpuPath::ALL {
            let settings = RuntimeSettings { device: DeviceChoice::CpuPath(path), ..cpu(Precision::F32, Some(2)) };
            match Runtime::new(&settings) {
                Ok(runtime) => {
                    assert!(path.is_available());
                    assert!(runtime.describe_device().starts_with(&format!("cpu, {path} path, ")));
                }
                Err(error) => {
                    assert!(!path.is_available());
                    let expected = format!("`device` is cpu-{path}; this processor has cpu-scalar");
                    assert!(error.to_string().starts_with(&expected), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_precision_decides_the_weight_format_and_says_why() {
        let bf16 = CpuPath::best().multiplies_bf16();
        let auto = Runtime::new(&cpu(Precision::Auto, Some(2))).unwrap();
        assert_eq!(auto.precision(), if bf16 { Precision::Bf16 } else { Precision::F32 });
        assert!(auto.describe_precision().contains("this processor has"));
        let int4 = Runtime::new(&cpu(Precision::Int4, Some(2))).unwrap();
        assert_eq!(int4.format(), WeightFormat::Int4 { group: WeightFormat::DEFAULT_GROUP });
        assert_eq!(int4.describe_precision(), "4-bit integers, as asked for");
        let wide = RuntimeSettings { precision: Precision::F64, ..RuntimeSettings::default() };
        let wide = Runtime::new(&wide).unwrap();
        assert_eq!((wide.path().as_str(), wide.threads(), wide.is_gpu()), ("scalar", 1, false));
    }

    #[test]
    fn a_task_gets_the_requested_device() {
        struct Describe;
        impl DeviceTask for Describe {
            type Output = (String, usize);
            type Error = DeviceError;
            fn run<D: Device>(self, device: D) -> Result<Self::Output, DeviceError> {
                Ok((device.describe(), size_of::<D::Element>()))
            }
        }
        let run = |settings: &RuntimeSettings| Runtime::new(settings).unwrap().run(Describe).unwrap();
        let wide = RuntimeSettings { device: DeviceChoice::CpuPath(CpuPath::Scalar), ..cpu(Precision::F64, None) };
        assert_eq!(run(&wide).1, 8);
        assert_eq!(run(&cpu(Precision::F32, Some(1))).1, 4);
    }

    #[test]
    fn integers_do_not_learn() {
        let text = "output = 'x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";
        let recipe = aquatint_train::Recipe::parse(text, &aquatint_train::Overrides::default()).unwrap();
        let recipe = recipe.resolve().unwrap();
        let runtime = Runtime::new(&cpu(Precision::Int8, Some(1))).unwrap();
        let error = runtime.train(Training::new(&recipe), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "`precision` is int8; allowed for training: f32, bf16");
        assert_eq!(error.hint().unwrap(), "train in bf16 and run the model in integers afterwards");
    }
}
