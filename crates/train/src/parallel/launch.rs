//! What the usual launchers put into the environment: rank, number of ranks and address of the rendezvous.

use std::fmt;
use std::str::FromStr;

/// The default port: `torchrun`'s.
const PORT: u16 = 29500;

/// This process among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// This one, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// This one among those on its machine: which GPU is its own.
    pub local_rank: usize,
    /// How many there are on its machine, where the launcher says.
    pub local_size: Option<usize>,
    /// Where rank 0 is.
    pub address: String,
    /// Where it listens.
    pub port: u16,
}

/// What is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// A variable with a value that makes no sense.
    #[error("the environment variable `{name}` is \"{value}\"; allowed: {allowed}")]
    Value {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A variable that others need beside them.
    #[error("the environment variable `{missing}` is not set, but `{there}` is")]
    Missing {
        /// Which is needed.
        missing: &'static str,
        /// The variable that requires it.
        there: &'static str,
    },
}

impl LaunchError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("set it, or start by a launcher (torchrun, mpirun, srun)".to_owned()),
            Self::Value { .. } => None,
        }
    }
}

/// The names that one launcher uses.
struct Names {
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    local_size: Option<&'static str>,
}

/// `torchrun` (and what people type themselves), Open MPI, MPICH and its kin, Slurm. Slurm's number of tasks is that of
/// the step, which only `srun` sets: a batch script is no rank among others.
const LAUNCHERS: [Names; 4] = [
    Names { rank: "RANK", size: "WORLD_SIZE", local_rank: "LOCAL_RANK", local_size: Some("LOCAL_WORLD_SIZE") },
    Names {
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: Some("OMPI_COMM_WORLD_LOCAL_SIZE"),
    },
    Names { rank: "PMI_RANK", size: "PMI_SIZE", local_rank: "MPI_LOCALRANKID", local_size: Some("MPI_LOCALNRANKS") },
    Names { rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS", local_rank: "SLURM_LOCALID", local_size: None },
];

impl Launch {
    /// Reads the environment by `lookup`; `None` where this is the only process.
    ///
    /// # Errors
    /// When a variable is missing or makes no sense.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        for (index, names) in LAUNCHERS.iter().enumerate() {
            let (there, other) = (set(names.rank).is_some(), set(names.size).is_some());
            match (there, other) {
                (false, false) => continue,
                // Slurm sets the rank for scripts, too; and MPI's may be left over in a step of Slurm.
                (true, false) | (false, true) if index > 0 => continue,
                (true, false) => return Err(LaunchError::Missing { missing: names.size, there: names.rank }),
                (false, true) => return Err(LaunchError::Missing { missing: names.rank, there: names.size }),
                (true, true) => return Self::read(names, &set),
            }
        }
        Ok(None)
    }

    fn read(names: &Names, set: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        let number = |name| parse::<usize>(name, set(name), "a whole number");
        let size = number(names.size)?.unwrap_or(1);
        let rank = number(names.rank)?.unwrap_or(0);
        if size == 0 {
            return Err(value(names.size, 0, "1 or more"));
        }
        if rank >= size {
            return Err(value(names.rank, rank, &format!("0 to {}, as `{}` is {size}", size - 1, names.size)));
        }
        if size == 1 {
            return Ok(None);
        }
        let local_size = names.local_size.map(number).transpose()?.flatten();
        let local_rank = number(names.local_rank)?.unwrap_or(if local_size == Some(size) { rank } else { 0 });
        let address = match (set("MASTER_ADDR"), local_size) {
            (Some(address), _) => address,
            (None, Some(local)) if local < size => {
                return Err(LaunchError::Missing { missing: "MASTER_ADDR", there: names.size });
            }
            (None, _) => "127.0.0.1".to_owned(),
        };
        let port = parse::<u16>("MASTER_PORT", set("MASTER_PORT"), "a port from 1 to 65534")?.unwrap_or(PORT);
        // `torchrun` listens there itself.
        let taken = set("TORCHELASTIC_USE_AGENT_STORE").is_some();
        let port = if taken { port.saturating_add(1) } else { port };
        Ok(Some(Self { rank, size, local_rank, local_size, address, port }))
    }
}

fn value(name: &'static str, value: impl fmt::Display, allowed: &str) -> LaunchError {
    LaunchError::Value { name, value: value.to_string(), allowed: allowed.to_owned() }
}

fn parse<T: FromStr>(name: &'static str, text: Option<String>, allowed: &str) -> Result<Option<T>, LaunchError> {
    let Some(text) = text else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| value(name, text, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Launch>, LaunchError> {
        Launch::from_environment(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_launcher_is_understood() {
        let launch = |rank, size, local_rank, local_size, address: &str, port| {
            Some(Launch { rank, size, local_rank, local_size, address: address.to_owned(), port })
        };
        let torchrun = [
            ("RANK", "5"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "4"),
            ("MASTER_ADDR", "node7"),
            ("MASTER_PORT", "4000"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ];
        assert_eq!(read(&torchrun).unwrap(), launch(5, 8, 1, Some(4), "node7", 4001));
        let mpirun = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        assert_eq!(read(&mpirun).unwrap(), launch(1, 2, 1, Some(2), "127.0.0.1", PORT));
        let mpich = [("PMI_RANK", "0"), ("PMI_SIZE", "3")];
        assert_eq!(read(&mpich).unwrap(), launch(0, 3, 0, None, "127.0.0.1", PORT));
        let srun = [
            ("SLURM_PROCID", "9"),
            ("SLURM_STEP_NUM_TASKS", "16"),
            ("SLURM_LOCALID", "1"),
            ("MASTER_ADDR", "10.0.0.1"),
        ];
        assert_eq!(read(&srun).unwrap(), launch(9, 16, 1, None, "10.0.0.1", PORT));
        assert_eq!(read(&[("RANK", "1"), ("WORLD_SIZE", "2")]).unwrap(), launch(1, 2, 0, None, "127.0.0.1", PORT));
    }

    #[test]
    fn one_process_is_alone() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        assert_eq!(read(&[("RANK", ""), ("WORLD_SIZE", "")]).unwrap(), None);
        // A batch script of eight tasks that did not call `srun`.
        assert_eq!(read(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let message = |variables: &[(&str, &str)]| read(variables).unwrap_err().to_string();
        assert_eq!(
            message(&[("RANK", "2"), ("WORLD_SIZE", "2")]),
            "the environment variable `RANK` is \"2\"; allowed: 0 to 1, as `WORLD_SIZE` is 2"
        );
        assert!(message(&[("RANK", "-1"), ("WORLD_SIZE", "2")]).contains("`RANK` is \"-1\"; allowed: a whole number"));
        assert!(message(&[("RANK", "0"), ("WORLD_SIZE", "0")]).contains("`WORLD_SIZE` is \"0\"; allowed: 1 or more"));
        assert!(
            message(&[("RANK", "0")]).starts_with("the environment variable `WORLD_SIZE` is not set, but `RANK` is")
        );
        let far = [("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")];
        assert!(message(&far).starts_with("the environment variable `MASTER_ADDR` is not set"));
        let port = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_PORT", "99999")];
        assert!(message(&port).contains("`MASTER_PORT` is \"99999\"; allowed: a port"));
    }
}
