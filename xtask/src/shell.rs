//! Commands as people type them, run in the repository.

use std::path::Path;
use std::process::{Command, Stdio};

/// So many lines of what a command said are quoted.
const QUOTED: usize = 4;

/// Runs a command, which must succeed and print something.
///
/// # Errors
/// What went wrong, to be put behind the command: its last error, or its last lines where nothing is called an error.
pub(crate) fn run(root: &Path, command: &str) -> Result<(), String> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(root)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed ({}): {}", output.status, last_error(&String::from_utf8_lossy(&output.stderr))));
    }
    if output.stdout.trim_ascii().is_empty() && output.stderr.trim_ascii().is_empty() {
        return Err("printed nothing".to_owned());
    }
    Ok(())
}

fn last_error(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let start = lines.iter().rposition(|line| line.starts_with("error")).unwrap_or(lines.len().saturating_sub(QUOTED));
    lines[start..].iter().take(QUOTED).copied().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_silence_and_failure_are_distinguished() {
        let run = |command| run(&std::env::temp_dir(), command);
        assert_eq!(run("echo one"), Ok(()));
        assert_eq!(run("true").unwrap_err(), "printed nothing");
        assert!(run("echo warning: two >&2; echo error: three >&2; false").unwrap_err().ends_with(": error: three"));
        assert!(run("false | cat; echo four").unwrap_err().starts_with("failed"), "a broken pipe of commands");
    }

    #[test]
    fn the_last_error_is_quoted_or_else_the_last_lines() {
        assert_eq!(last_error("warning: a\nerror: b\n\nhint: c\n"), "error: b / hint: c");
        assert_eq!(last_error("1\n2\n3\n4\n5\n"), "2 / 3 / 4 / 5");
        assert_eq!(last_error(""), "");
    }
}
