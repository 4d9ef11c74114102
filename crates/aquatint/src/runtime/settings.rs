//! Settings of the device.

use aquatint_compute::CpuPath;
use aquatint_train::{Launch, RunRecipe};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// A GPU where one is ready, else the processor.
    #[default]
    Auto,
    /// The processor, on the fastest path that it knows.
    Cpu,
    /// The processor with these instructions; [`CpuPath::Scalar`] is the slow path that defines what is right.
    CpuPath(CpuPath),
    /// An NVIDIA GPU, by its number from 0.
    Cuda(usize),
}

impl DeviceChoice {
    /// The names of all choices.
    pub const ALLOWED: &str = "auto, cpu, cpu-scalar, cpu-avx2, cpu-avx512, cpu-amx, cuda, cuda:N";
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::CpuPath(path) => write!(f, "cpu-{path}"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// A name that is none of [`DeviceChoice::ALLOWED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("allowed: {}", DeviceChoice::ALLOWED)]
pub struct ParseDeviceError;

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(name: &str) -> Result<Self, ParseDeviceError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let path = || name.strip_prefix("cpu-").and_then(|path| path.parse().ok()).map(Self::CpuPath);
                let gpu = || name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()).map(Self::Cuda);
                path().or_else(gpu).ok_or(ParseDeviceError)
            }
        }
    }
}

/// Number format of the products and of the matrices in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// bf16 where the device has instructions for it, else f32.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// Products of factors rounded to 16 bits (bfloat16), sums in 32.
    Bf16,
    /// Matrices as integers of 8 bits with a scale for each output.
    Int8,
    /// Matrices as integers of 4 bits with a scale for 32 of them; the head has 8.
    Int4,
    /// 64 bits, on the scalar path only.
    F64,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::F64 => "f64",
        })
    }
}

/// The settings of a [`Runtime`](super::Runtime). By default it finds everything out itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RuntimeSettings {
    /// Where to compute.
    pub device: DeviceChoice,
    /// In which numbers.
    pub precision: Precision,
    /// Threads of the processor; one for each processor where nothing is said.
    pub threads: Option<usize>,
    /// Where a GPU's compiled kernels are kept, so that they are compiled once; nowhere where nothing is said.
    pub kernel_cache: Option<PathBuf>,
    /// Bytes that the weights of routed experts take at most; they are then read when rows are routed to them. Where
    /// nothing is said, all of them are in memory. Results are the same to the bit.
    pub expert_memory: Option<u64>,
    /// Whether a GPU replays sequences of launches that come again, as CUDA graphs, and pads the rows whose logits are
    /// wanted to few numbers. On a real GPU sums over more rows have another order, so that results differ by rounding.
    pub graphs: bool,
}

impl RuntimeSettings {
    /// What a recipe says of its device and threads.
    ///
    /// # Errors
    /// When its `run.device` names no device.
    pub fn for_recipe(recipe: &impl RunRecipe) -> Result<Self, ParseDeviceError> {
        let run = recipe.run_settings();
        Ok(Self { device: run.device.parse()?, threads: run.threads, ..Self::default() })
    }

    /// What one rank takes of its machine: the GPU of its local number where a GPU is used, or its share of the
    /// processors.
    #[must_use]
    pub fn for_rank(mut self, launch: &Launch) -> Self {
        let own = launch.local_rank;
        self.device = match self.device {
            DeviceChoice::Cuda(0) => DeviceChoice::Cuda(own),
            DeviceChoice::Auto if super::gpu::count() > own => DeviceChoice::Cuda(own),
            device => device,
        };
        if self.threads.is_none() {
            self.threads = launch.local_size.map(|ranks| (super::processors() / ranks.max(1)).max(1));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_back_by_its_name() {
        let paths = CpuPath::ALL.map(DeviceChoice::CpuPath);
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)].into_iter().chain(paths) {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            let is_listed = DeviceChoice::ALLOWED.split(", ").any(|name| name == choice.to_string());
            assert!(is_listed || choice == DeviceChoice::Cuda(3), "{choice}");
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["tpu", "cuda:", "cuda:x", "CPU", "cpu-", "cpu-sse9"] {
            assert_eq!(wrong.parse::<DeviceChoice>(), Err(ParseDeviceError), "{wrong}");
        }
        assert_eq!(
            ParseDeviceError.to_string(),
            "allowed: auto, cpu, cpu-scalar, cpu-avx2, cpu-avx512, cpu-amx, cuda, cuda:N"
        );
    }

    #[test]
    fn ranks_of_one_machine_share_its_processors_and_take_a_gpu_each() {
        let launch = Launch { rank: 5, size: 8, local_rank: 1, local_size: Some(2), address: "a".into(), port: 1 };
        let alike = RuntimeSettings { device: DeviceChoice::Cuda(0), ..RuntimeSettings::default() };
        let own = alike.for_rank(&launch);
        assert_eq!((own.device, own.threads), (DeviceChoice::Cuda(1), Some((super::super::processors() / 2).max(1))));
        let requested = RuntimeSettings { device: DeviceChoice::Cpu, threads: Some(3), ..RuntimeSettings::default() };
        assert_eq!(requested.clone().for_rank(&launch), requested);
    }
}
