//! The commands of the documents run. A block fenced as `console` shows a session in the repository's folder: its lines
//! that begin with `$ ` are commands, the others what was printed. A command that ends with `\` goes on in the next line.
//!
//! | fence | what is done |
//! |---|---|
//! | `console` | each command is run; it must succeed and print something |
//! | `console long` | takes minutes: a `train` command is run with `--dry-run`, any other must stand in `.ci/run` |
//! | `console elsewhere` | needs what is not in the repository: a `train` command is run with `--dry-run`, of any other the program must know the command and its flags |
//!
//! `my-texts` is a folder of the reader's; the sample takes its place.
//!
//! The output is not compared: the last digits of a prediction differ between processors, and then the text may, too.
//! An example is run as its header says behind "Run with:".

use super::{Findings, place};
use crate::repository::Repository;
use crate::shell;
use std::path::Path;

const CI: &str = ".ci/run";
const RUN_WITH: &str = "Run with: `";
const READERS_TEXTS: &str = "my-texts";
const PROGRAM: &str = "cargo run --release -- ";

/// How a command is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Runs,
    Long,
    Elsewhere,
}

/// A command of a document.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    place: String,
    fence: Fence,
    words: String,
}

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    let mut shown = Vec::new();
    for file in repository.ending(".md") {
        match commands(&file.path, &file.text) {
            Ok(commands) => shown.extend(commands),
            Err(finding) => findings.push(finding),
        }
    }
    let ci = repository.file(CI).map_or("", |file| &file.text);
    for shown in &shown {
        match to_run(shown, ci) {
            Ok(None) => {}
            Ok(Some(command)) => findings.extend(run(&repository.root, &shown.place, &command)),
            Err(finding) => findings.push(finding),
        }
    }
    for example in repository.packages.iter().flat_map(|package| &package.examples) {
        let Some(file) = repository.file(example) else { continue };
        findings.extend(match command_of_example(&file.text) {
            Some(command) => run(&repository.root, example, command),
            None => Some(format!("{example}: its header does not say \"{RUN_WITH}command`\"")),
        });
    }
    findings
}

/// The commands of a document.
fn commands(path: &str, text: &str) -> Result<Vec<Command>, String> {
    let mut shown = Vec::new();
    let mut fence: Option<Option<Fence>> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => {
                fence = Some(match kind.trim() {
                    "console" => Some(Fence::Runs),
                    "console long" => Some(Fence::Long),
                    "console elsewhere" => Some(Fence::Elsewhere),
                    kind if kind.starts_with("console") => {
                        return Err(format!("{}: `{kind}` is no kind of block that is known", place(path, number)));
                    }
                    _ => None,
                });
            }
            (None, Some(Some(fence))) => {
                if let Some(words) = line.strip_prefix("$ ") {
                    let mut words = words.trim().to_owned();
                    while let Some(begun) = words.strip_suffix('\\') {
                        let (_, rest) = lines.next().unwrap_or_default();
                        words = format!("{} {}", begun.trim_end(), rest.trim()).trim_end().to_owned();
                    }
                    shown.push(Command { place: place(path, number), fence, words });
                }
            }
            (None, _) => {}
        }
    }
    Ok(shown)
}

/// What to run for a command; `None` where reading was enough.
fn to_run(shown: &Command, ci: &str) -> Result<Option<String>, String> {
    let words = &shown.words;
    let is_training = words.strip_prefix(PROGRAM).is_some_and(|rest| rest.starts_with("train "));
    match shown.fence {
        Fence::Runs => Ok(Some(words.clone())),
        Fence::Long | Fence::Elsewhere if is_training => {
            Ok(Some(format!("{} --dry-run", words.replace(READERS_TEXTS, "data/sample/train"))))
        }
        Fence::Long if ci.lines().any(|line| line.ends_with(words.as_str())) => Ok(None),
        Fence::Long => Err(format!("{}: `{words}` is said to be long, and {CI} does not run it", shown.place)),
        // `--help` at the end wins over arguments that would be read, but not over a flag that does not exist.
        Fence::Elsewhere if words.starts_with(PROGRAM) => Ok(Some(format!("{words} --help"))),
        Fence::Elsewhere => Ok(None),
    }
}

/// The command by which an example is run.
fn command_of_example(text: &str) -> Option<&str> {
    let mut header = text.lines().take_while(|line| line.starts_with("//!"));
    let (_, command) = header.find_map(|line| line.split_once(RUN_WITH))?;
    command.split_once('`').map(|(command, _)| command)
}

/// Runs a command and says what went wrong.
fn run(root: &Path, place: &str, command: &str) -> Option<String> {
    shell::run(root, command).err().map(|reason| format!("{place}: `{command}` {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Package;
    use crate::repository::by_hand::files;

    const PAGE: &str = "# A\n```console\n$ echo one\none\n$ false\n```\n```text\n$ not a command\n```\n```console long\n\
                        $ cargo test --release\n$ cargo run --release -- train a.toml\n```\n```console elsewhere\n\
                        $ cargo run --release -- eval x --data y\n```\n";

    #[test]
    fn commands_are_found_with_their_fences() {
        let shown = commands("A.md", PAGE).unwrap();
        let words: Vec<(&str, Fence)> = shown.iter().map(|shown| (shown.words.as_str(), shown.fence)).collect();
        assert_eq!(
            words,
            [
                ("echo one", Fence::Runs),
                ("false", Fence::Runs),
                ("cargo test --release", Fence::Long),
                ("cargo run --release -- train a.toml", Fence::Long),
                ("cargo run --release -- eval x --data y", Fence::Elsewhere),
            ]
        );
        assert_eq!(shown[1].place, "A.md:5");
        assert!(commands("A.md", "```console slow\n").unwrap_err().contains("no kind of block"));
    }

    #[test]
    fn a_command_over_several_lines_is_one() {
        let shown = commands("A.md", "```console\n$ echo one \\\n      two \\\n    three\n$ echo four\n```\n").unwrap();
        let words: Vec<&str> = shown.iter().map(|shown| shown.words.as_str()).collect();
        assert_eq!(words, ["echo one two three", "echo four"]);
        assert_eq!(commands("A.md", "```console\n$ echo one \\").unwrap()[0].words, "echo one");
    }

    #[test]
    fn long_commands_are_checked_without_running_them() {
        let shown = commands("A.md", PAGE).unwrap();
        let ci = "section tests cargo test --release\n";
        assert_eq!(to_run(&shown[2], ci), Ok(None));
        assert!(to_run(&shown[2], "cargo test\n").is_err());
        assert_eq!(to_run(&shown[3], ci), Ok(Some("cargo run --release -- train a.toml --dry-run".into())));
        assert_eq!(to_run(&shown[4], ci), Ok(Some("cargo run --release -- eval x --data y --help".into())));
    }

    #[test]
    fn an_example_says_how_it_is_run() {
        let mut repository = files(&[
            ("crates/a/examples/b.rs", "//! B. Run with: `echo b`, or otherwise.\n"),
            ("crates/a/examples/c.rs", "//! C. Run with: `false`\n"),
            ("crates/a/examples/d.rs", "//! D.\n// Run with: `echo d`\n"),
        ]);
        repository.root = std::env::temp_dir();
        let examples = repository.files.iter().map(|file| file.path.clone()).collect();
        repository.packages = vec![Package { examples, ..Package::default() }];
        let findings = check(&repository);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("crates/a/examples/c.rs: `false` failed"), "{findings:?}");
        assert!(findings[1].starts_with("crates/a/examples/d.rs: its header"), "{findings:?}");
    }

    #[test]
    fn a_command_that_fails_or_is_silent_is_found() {
        let mut repository = files(&[("A.md", "```console\n$ echo one\n$ echo because >&2; exit 3\n$ true\n```\n")]);
        repository.root = std::env::temp_dir();
        let findings = check(&repository);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("A.md:3") && findings[0].contains("because"), "{findings:?}");
        assert!(findings[1].contains("printed nothing"), "{findings:?}");
    }
}
