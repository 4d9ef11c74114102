//! Every environment variable that is read for a path. (Launchers' are read where training begins; `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` are the printer's.)

use std::path::PathBuf;

/// Where things that can be made again are kept: `$XDG_CACHE_HOME/aquatint`, `~/.cache/aquatint`, or the folder for
/// temporary files where there is no home.
fn cache() -> PathBuf {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("aquatint")
}

/// Where texts are kept as tokens.
pub(crate) fn tokens() -> PathBuf {
    cache().join("tokens")
}

/// Where the kernels of a GPU are kept once they are compiled.
pub(crate) fn kernels() -> PathBuf {
    cache().join("kernels")
}
