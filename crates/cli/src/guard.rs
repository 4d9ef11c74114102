//! Guards from files.

use crate::arguments::GuardArguments;
use crate::commands::memory;
use crate::failure::Failure;
use crate::printer::Printer;
use aquatint::guard::{Guard, Guards, Novelty, read_guard};
use std::path::PathBuf;
use std::sync::Arc;

/// Words of a run of a corpus that may be written where nothing is said.
const NOVEL_RUN: usize = 8;

impl GuardArguments {
    /// Who judges; `None` where nobody does.
    pub(crate) fn read(&self, printer: &Printer) -> Result<Option<Guards>, Failure> {
        let mut guards = read(&self.guards)?;
        if let Some(path) = &self.novel {
            let longest = self.novel_run.unwrap_or(NOVEL_RUN);
            if longest == 0 {
                return Err(Failure::new("`--novel-run` is 0; allowed: 1 or more"));
            }
            guards.push(Arc::new(Novelty::new(memory::indexed(path, printer)?, longest)?));
        }
        if guards.is_empty() {
            if self.repairs.is_some() {
                printer.warn("`--repairs` has no effect: there is no guard");
            }
            return Ok(None);
        }
        Ok(Some(Guards::new(guards, self.repairs.unwrap_or(Guards::REPAIRS))))
    }
}

/// The guards of these files.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Arc<dyn Guard>>, Failure> {
    Ok(paths.iter().map(|path| read_guard(path)).collect::<Result<_, _>>()?)
}
