//! The one place that writes to the terminal: data to standard output, everything else to standard error.

use crate::failure::Failure;
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    // On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    // Even into a pipe or a file.
    Always,
    // Not at all.
    Never,
}

/// How much to say on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Progress, warnings and the closing line.
    Normal,
    /// Also what was resolved and why.
    Verbose,
}

/// A stretch of what a model wrote, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Text, which may hold anything.
    Text(String),
    /// A picture for a terminal, with its line end.
    Drawn(String),
}

/// Where and how to write; cheap to copy, holds no buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    verbosity: Verbosity,
    color: bool,
    progress: bool,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const DIM: Style = Style::new().dimmed();

impl Printer {
    /// Resolves the choice of colour against the environment and the terminal.
    pub(crate) fn new(verbosity: Verbosity, color: ColorChoice) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !set("NO_COLOR") && !is_dumb() || set("CLICOLOR_FORCE"),
        };
        Self { verbosity, color, progress: terminal && !is_dumb() && verbosity > Verbosity::Quiet }
    }

    /// Whether standard error takes colour.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Whether something may be drawn in place on standard error.
    pub(crate) fn draws(&self) -> bool {
        self.progress
    }

    /// Writes to standard output.
    pub(crate) fn data(&self, text: impl Display) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        write!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::of_output(&error))
    }

    /// Writes one line to standard output.
    pub(crate) fn data_line(&self, text: impl Display) -> Result<(), Failure> {
        self.data(format_args!("{text}\n"))
    }

    /// Writes a model's text and a line end to standard output; on a terminal without what would steer it.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if io::stdout().is_terminal() { self.data_line(crate::frame::harmless(text)) } else { self.data_line(text) }
    }

    /// Writes text with pictures between it and a line end to standard output. A picture stands on lines of its own.
    pub(crate) fn pieces(&self, pieces: &[Shown]) -> Result<(), Failure> {
        let is_terminal = io::stdout().is_terminal();
        let mut all = String::new();
        for piece in pieces {
            match piece {
                Shown::Text(text) if is_terminal => all.push_str(&crate::frame::harmless(text)),
                Shown::Text(text) => all.push_str(text),
                Shown::Drawn(picture) => {
                    if !all.is_empty() && !all.ends_with('\n') {
                        all.push('\n');
                    }
                    all.push_str(picture);
                }
            }
        }
        if all.ends_with('\n') && matches!(pieces.last(), Some(Shown::Drawn(_))) {
            self.data(all)
        } else {
            self.data_line(all)
        }
    }

    /// Writes one line to standard error, unless quiet.
    pub(crate) fn status(&self, text: impl Display) {
        self.line(Verbosity::Normal, text);
    }

    /// Writes one dim line to standard error, unless quiet.
    pub(crate) fn note(&self, text: impl Display) {
        self.line(Verbosity::Normal, self.paint(DIM, text));
    }

    /// Writes one dim line to standard error when verbose.
    pub(crate) fn detail(&self, text: impl Display) {
        self.line(Verbosity::Verbose, self.paint(DIM, text));
    }

    /// Writes `warning: …` to standard error, unless quiet.
    pub(crate) fn warn(&self, text: impl Display) {
        let text = crate::frame::harmless(&text.to_string());
        self.line(Verbosity::Normal, format_args!("{}: {text}", self.paint(WARNING, "warning")));
    }

    /// Writes a failure to standard error, whatever the verbosity.
    pub(crate) fn failure(&self, failure: &Failure) {
        // What a file holds may be told in it.
        let text = crate::frame::harmless(&failure.to_string());
        let text = match text.strip_prefix("error:") {
            Some(rest) => format!("{}:{rest}", self.paint(ERROR, "error")),
            None => text,
        };
        let text = text.replacen("\n\nhint:", &format!("\n\n{}:", self.paint(HINT, "hint")), 1);
        self.line(Verbosity::Quiet, text);
    }

    /// Writes raw text to standard error without a line end, for prompts and drawings.
    pub(crate) fn draw(&self, text: &str) {
        // A standard error that cannot be written to cannot report its own failure.
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// `text` in `style` where colour is wanted.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        paint(self.color, style, text)
    }

    fn line(&self, least: Verbosity, text: impl Display) {
        if self.verbosity >= least {
            self.draw(&format!("{text}\n"));
        }
    }
}

/// `text` in `style` where `color` is set.
pub(crate) fn paint(color: bool, style: Style, text: impl Display) -> String {
    if color { format!("{}{text}{}", style.render(), style.render_reset()) } else { text.to_string() }
}

/// `NO_COLOR` and its kind count when set to anything but the empty string (no-color.org).
fn set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
