//! `aquatint doctor`: what this machine can do and which path will be taken.

use crate::arguments::{DeviceArguments, DoctorArguments, ReportFormat};
use crate::failure::{Failure, in_one_line};
use crate::printer::Printer;
use crate::{environment, machine};
use aquatint::runtime::{self, Runtime};
use aquatint_checkpoint::{Checkpoint, builtin};
use aquatint_compute::{Cuda, GpuError};
use serde_json::json;

/// One thing looked at.
struct Finding {
    name: &'static str,
    value: String,
    /// What is wrong, if something is.
    trouble: Option<String>,
}

impl Finding {
    fn good(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), trouble: None }
    }
}

pub(crate) fn run(arguments: &DoctorArguments, printer: &Printer) -> Result<(), Failure> {
    let findings = examine();
    let troubles = findings.iter().filter(|finding| finding.trouble.is_some()).count();
    match arguments.format {
        ReportFormat::Json => {
            let list: Vec<_> = findings
                .iter()
                .map(|finding| json!({ "name": finding.name, "value": finding.value, "trouble": finding.trouble }))
                .collect();
            printer.data_line(json!({ "healthy": troubles == 0, "findings": list }))?;
        }
        ReportFormat::Human => {
            for finding in &findings {
                printer.data_line(format_args!("{:<12}{}", finding.name, finding.value))?;
                if let Some(trouble) = &finding.trouble {
                    printer.data_line(format_args!("{:<12}^ {trouble}", ""))?;
                }
            }
        }
    }
    match troubles {
        0 => Ok(()),
        1 => Err(Failure::new("one thing is not as it should be").failed()),
        many => Err(Failure::new(format!("{many} things are not as they should be")).failed()),
    }
}

fn examine() -> Vec<Finding> {
    let path = aquatint_compute::CpuPath::best();
    let paths: Vec<String> = aquatint_compute::CpuPath::available().iter().map(ToString::to_string).collect();
    let runtime = Runtime::new(&DeviceArguments::default().settings()).map_err(Failure::from);
    let memory = runtime::memory();
    vec![
        Finding::good("version", env!("CARGO_PKG_VERSION")),
        Finding::good("system", format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH)),
        Finding::good("processor", machine::processor().unwrap_or_else(|| "unknown".to_owned())),
        Finding::good("paths", format!("{} (available: {})", path, paths.join(", "))),
        Finding::good("threads", runtime::processors().to_string()),
        Finding::good(
            "memory",
            memory.map_or_else(
                || "unknown".to_owned(),
                |memory| format!("{}, {} available", machine::bytes(memory.total), machine::bytes(memory.available)),
            ),
        ),
        gpus(),
        match &runtime {
            Ok(runtime) => Finding::good("device", runtime.describe_device()),
            Err(failure) => Finding { name: "device", value: "none".into(), trouble: Some(failure.to_string()) },
        },
        match &runtime {
            Ok(runtime) => Finding::good("precision", runtime.describe_precision()),
            Err(_) => Finding::good("precision", "none"),
        },
        built_in(),
    ]
}

/// The GPUs that the driver names, and what they lack.
fn gpus() -> Finding {
    let trouble = |error: &GpuError| Some(in_one_line(error));
    let gpus = match Cuda::gpus() {
        // Most machines have none, and nothing is wrong with them.
        Err(GpuError::NoDriver) => return Finding::good("gpus", "none (no NVIDIA driver)"),
        Err(error) => return Finding { name: "gpus", value: "unusable".to_owned(), trouble: trouble(&error) },
        Ok(gpus) if gpus.is_empty() => return Finding::good("gpus", "none"),
        Ok(gpus) => gpus,
    };
    let driver = gpus[0].driver;
    let named: Vec<String> = gpus
        .iter()
        .map(|gpu| {
            let (major, minor) = gpu.capability;
            format!("cuda:{} {} (sm_{major}{minor}, {})", gpu.ordinal, gpu.name, machine::bytes(gpu.memory as u64))
        })
        .collect();
    let value = format!("{}; driver for CUDA {}.{}", named.join(", "), driver / 1000, driver % 1000 / 10);
    match Cuda::missing_libraries().first() {
        Some(&library) => Finding { name: "gpus", value, trouble: trouble(&GpuError::MissingLibrary { library }) },
        None => match Cuda::new(0, Some(&environment::kernels())) {
            Ok(_) => Finding::good("gpus", value),
            Err(error) => Finding { name: "gpus", value, trouble: trouble(&error) },
        },
    }
}

/// Opens the built-in model, which proves that the program is whole.
fn built_in() -> Finding {
    match Checkpoint::open(builtin::DEFAULT) {
        Ok(checkpoint) => {
            let (parameters, size) = super::show::weight(&checkpoint);
            let text =
                format!("{}, {} parameters, {}", builtin::DEFAULT, machine::count(parameters), machine::bytes(size));
            Finding::good("model", text)
        }
        Err(error) => Finding {
            name: "model",
            value: builtin::DEFAULT.to_owned(),
            trouble: Some(Failure::from(error).to_string()),
        },
    }
}
