//! `aquatint pull`: models from the Hugging Face Hub into the cache here.

use crate::arguments::PullArguments;
use crate::failure::Failure;
use crate::machine::bytes;
use crate::printer::Printer;
use crate::{environment, interrupt};
use aquatint::hub::{Hub, ModelName, PullEvent};
use aquatint_network::families;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// How many characters of a commit are shown.
const SHORT: usize = 8;

pub(crate) fn run(arguments: &PullArguments, printer: &Printer) -> Result<(), Failure> {
    let hub = Hub::new(environment::hub())?;
    arguments.models.iter().try_for_each(|name| pull(&hub, name, printer))
}

fn pull(hub: &Hub, name: &ModelName, printer: &Printer) -> Result<(), Failure> {
    let mut shown = Shown { printer, name, bar: None, last: String::new() };
    let mut unreadable = None;
    let pulled = hub.pull(name, &mut |event| {
        if let PullEvent::Described { config } = event
            && let Err(failure) = readable(config)
        {
            unreadable = Some(failure);
            return ControlFlow::Break(());
        }
        shown.tell(&event);
        if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(bar) = shown.bar {
        bar.finish_and_clear();
    }
    if let Some(failure) = unreadable {
        return Err(failure.context(format!("`{name}` is not downloaded: it could not be opened here")));
    }
    let pulled = pulled?;
    let done = match pulled.downloaded {
        0 => "was complete".to_owned(),
        downloaded => format!("{} downloaded, hashes right", bytes(downloaded)),
    };
    printer.status(format_args!("{name}: {done}"));
    printer.data_line(pulled.folder.display())
}

/// Refuses what no family here knows, before its weights are downloaded.
fn readable(config: &Path) -> Result<(), Failure> {
    let text = std::fs::read(config).map_err(|error| Failure::of_file("read", config, &error))?;
    let config = serde_json::from_slice(&text).map_err(|error| Failure::new(format!("config.json: {error}")))?;
    families::from_config(&config)?;
    Ok(())
}

/// What is shown while a model is downloaded.
struct Shown<'a> {
    printer: &'a Printer,
    name: &'a ModelName,
    bar: Option<ProgressBar>,
    /// What was said last; it is said once.
    last: String,
}

impl Shown<'_> {
    fn tell(&mut self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Planned { commit, files, bytes: all, present } => {
                let there = if *present > 0 { format!(", {} of it there", bytes(*present)) } else { String::new() };
                let commit = &commit[..SHORT.min(commit.len())];
                self.printer.status(format_args!("{} at {commit}: {files} files, {}{there}", self.name, bytes(*all)));
                self.bar = self.printer.draws().then(|| bar(*all));
            }
            PullEvent::Progress { file, total_done, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_message((*file).to_owned());
                    bar.set_position(*total_done);
                }
            }
            PullEvent::Waiting { file } => self.say(format!("{file}: another process downloads it")),
            // A pause is counted down.
            PullEvent::Retrying { pause: Duration::ZERO, .. } => self.last.clear(),
            PullEvent::Retrying { file, reason, .. } => self.say(format!("{file}: {reason}; trying again")),
            PullEvent::Described { .. } => {}
        }
    }

    fn say(&mut self, text: String) {
        if text != self.last {
            match &self.bar {
                Some(bar) => bar.suspend(|| self.printer.note(&text)),
                None => self.printer.note(&text),
            }
            self.last = text;
        }
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let template = "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {msg:.dim}";
    // The template is fixed; a broken one would only look plain.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
