//! Every environment variable that is read for a path. (Launchers' are read where training begins; `NO_COLOR`,
//! `CLICOLOR_FORCE` and `TERM` are the printer's.)

use crate::failure::Failure;
use crate::printer::Printer;
use aquatint::hub::HubSettings;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where things that can be made again are kept: `$XDG_CACHE_HOME/aquatint`, `~/.cache/aquatint`, or the folder for
/// temporary files where there is no home.
fn cache() -> PathBuf {
    caches().join("aquatint")
}

/// Where programs keep what can be made again.
fn caches() -> PathBuf {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

/// The Hugging Face Hub, by the variables that its own tools read:
/// <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>
pub(crate) fn hub() -> HubSettings {
    let text = |variable: &str| std::env::var(variable).ok().filter(|text| !text.trim().is_empty());
    let home = text("HF_HOME").map_or_else(|| caches().join("huggingface"), PathBuf::from);
    let token_file = text("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
    let token = text("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
    let offline = text("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
    let settings = HubSettings::new(text("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from));
    HubSettings {
        token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
        endpoint: text("HF_ENDPOINT").map_or(settings.endpoint, |text| text.trim().trim_end_matches('/').to_owned()),
        offline: matches!(offline.as_str(), "1" | "on" | "yes" | "true"),
        ..settings
    }
}

/// A folder where texts are kept as tokens.
pub(crate) struct TokenCache {
    path: PathBuf,
    /// Removed with the value, where the usual folder cannot be written.
    _temporary: Option<TempDir>,
}

impl TokenCache {
    /// The usual folder; where that cannot be written, as in a container with a read-only home, one for this time only.
    pub(crate) fn open(printer: &Printer) -> Result<Self, Failure> {
        let path = cache().join("tokens");
        let Err(error) = require_writable(&path) else {
            return Ok(Self { path, _temporary: None });
        };
        let advice = "set XDG_CACHE_HOME to a folder that you may write to";
        let folder = tempfile::Builder::new().prefix("aquatint-").tempdir();
        let folder = folder.map_err(|_| Failure::of_file("write", &path, &error).hint(advice))?;
        printer.warn(format_args!(
            "`{}` cannot be written ({error}): the text is packed for this time only; {advice}",
            path.display()
        ));
        Ok(Self { path: folder.path().to_path_buf(), _temporary: Some(folder) })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// That files can be made in a folder; those that killed processes left there are removed.
fn require_writable(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // It has no name, or none for long.
    tempfile::tempfile_in(folder)?;
    aquatint_files::sweep(folder).map(drop)
}

/// Where the kernels of a GPU are kept once they are compiled.
pub(crate) fn kernels() -> PathBuf {
    cache().join("kernels")
}
