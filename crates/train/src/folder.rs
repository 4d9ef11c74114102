//! The run's folder: one run lives in it, one process at a time owns it, and only the same run goes on in it.
//!
//! ```text
//! config.json  model.safetensors  tokenizer.json  generation_config.json     the model as it was last saved
//! best/                                                                     the best by held-out bound, likewise
//! state/run.safetensors                                                     what a resumed run needs
//! state/lock                                                                who owns the folder, while it is owned
//! recipe.toml  metrics.jsonl  loss.svg  tokens/                             recipe, figures, plot, packed texts
//! ```

use crate::counters::Counters;
use crate::{TrainError, TrainingEvent};
use aquatint_checkpoint::{RunState, state_file};
use aquatint_files::{LockError, LockFile, sweep, write_atomically};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a folder has that holds a model, an adapter or a learnt order.
const MODELS: [&str; 3] = ["config.json", "adapter_config.json", "order/order.json"];

/// The state of the run that is resumed; refuses a folder with another run, or without one. Nothing is written.
pub(crate) fn find(folder: &Path, resume: bool) -> Result<Option<RunState<Counters>>, TrainError> {
    let saved = if state_file(folder).is_file() { Some(RunState::<Counters>::open(folder)?) } else { None };
    match (saved, resume) {
        (None, true) => Err(TrainError::NothingToResume { folder: folder.to_path_buf() }),
        (Some(state), false) => Err(TrainError::Exists { folder: folder.to_path_buf(), step: state.counters.step }),
        (None, false) if MODELS.iter().any(|file| folder.join(file).exists()) => {
            Err(TrainError::HoldsModel { folder: folder.to_path_buf() })
        }
        (saved, _) => Ok(saved),
    }
}

/// A run's folder that this process owns, until the value is dropped. All ranks of a run are one owner: the first has
/// the folder.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// None where the file system has no locks.
    lock: Option<LockFile>,
    /// The folders that were made for it, the innermost first; those that are still empty at the end go again.
    made: Vec<PathBuf>,
}

impl RunFolder {
    /// Takes the folder, and removes what killed saves left in it and in those of `caches`.
    pub(crate) fn own(
        path: &Path,
        caches: &[PathBuf],
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Self, TrainError> {
        let path = path.to_path_buf();
        let state = path.join("state");
        let absent = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = state.ancestors().take_while(absent).map(Path::to_path_buf).collect();
        let refused = |path: &Path, source| TrainError::Io { action: "write", path: path.to_path_buf(), source };
        let mut folder = Self { path, lock: None, made };
        std::fs::create_dir_all(&state).map_err(|source| refused(&state, source))?;
        let file = state.join("lock");
        match LockFile::acquire(&file, &holder()) {
            Ok(lock) => folder.lock = Some(lock),
            Err(LockError::Held { holder }) => {
                let holder = holder.lines().next().unwrap_or("another process").to_owned();
                return Err(TrainError::InUse { folder: folder.path.clone(), holder });
            }
            Err(LockError::Unsupported(source)) => events(TrainingEvent::Warning(&format!(
                "`{}` cannot be locked ({source}): nothing keeps a second process from writing there",
                folder.path.display()
            ))),
            Err(LockError::Io(source)) => return Err(refused(&file, source)),
        }
        for folder in folder.places(caches) {
            sweep(&folder).map_err(|source| refused(&folder, source))?;
        }
        Ok(folder)
    }

    /// Writes down under which recipe the run goes on.
    pub(crate) fn write_recipe(&self, text: &str) -> Result<(), TrainError> {
        let path = self.path.join("recipe.toml");
        let written = write_atomically(&path, |out| out.write_all(text.as_bytes()));
        written.map_err(|source| TrainError::Io { action: "write", path, source })
    }

    /// The folders in which a run writes files.
    fn places(&self, caches: &[PathBuf]) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let inside = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        std::iter::once(self.path.clone()).chain(caches.iter().cloned()).chain(inside).collect()
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // The lock file goes first, or its folder would never be empty.
        self.lock = None;
        for folder in &self.made {
            // What is not empty stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// This process in words, and a number that no other owner writes.
fn holder() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // What Linux and most other systems call themselves; a name for people only.
    let host =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    let host = host.map(|name| format!(" on {}", name.trim())).unwrap_or_default();
    format!("process {}{host}\n{count}\n", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Resolved;
    use crate::{Overrides, Recipe};

    fn recipe(output: &Path) -> Resolved {
        let text = "output = 'x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";
        let overrides = Overrides::parse(&[format!("output={}", output.display())]).unwrap();
        Recipe::parse(text, &overrides).unwrap().resolve().unwrap()
    }

    fn own(recipe: &Resolved) -> Result<RunFolder, TrainError> {
        RunFolder::own(&recipe.output, &[recipe.cache()], &mut |_| {})
    }

    #[test]
    fn one_owner_at_a_time_and_nothing_is_left_of_one_that_wrote_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(&folder.path().join("runs/one"));
        let owner = own(&recipe).unwrap();
        let TrainError::InUse { holder, .. } = own(&recipe).unwrap_err() else { panic!("another error") };
        assert!(holder.starts_with(&format!("process {}", std::process::id())) && !holder.contains('\n'), "{holder}");
        drop(owner);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let owner = own(&recipe).unwrap();
        owner.write_recipe("seed = 1\n").unwrap();
        drop(owner);
        let left: Vec<_> = std::fs::read_dir(&recipe.output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["recipe.toml"]);
    }

    #[test]
    fn what_killed_saves_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path());
        let files = [".writing-a", "best/.writing-b", "state/.writing-c", "teacher-1/.writing-d", "tokens/.writing-e"];
        for name in files.into_iter().chain([".notes", "best/.notes"]) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "half").unwrap();
        }
        let _owner = own(&recipe).unwrap();
        for name in files {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        assert!(folder.path().join(".notes").exists() && folder.path().join("best/.notes").exists());
    }

    #[test]
    fn a_model_without_a_run_is_not_written_over() {
        for file in MODELS {
            let folder = tempfile::tempdir().unwrap();
            write_atomically(&folder.path().join(file), |out| out.write_all(b"{}")).unwrap();
            assert!(matches!(find(folder.path(), false), Err(TrainError::HoldsModel { .. })), "{file}");
            assert!(matches!(find(folder.path(), true), Err(TrainError::NothingToResume { .. })), "{file}");
        }
    }
}
