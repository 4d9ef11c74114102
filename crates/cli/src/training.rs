//! Shows a training run: a bar with the latest figures on a terminal, plain lines elsewhere.

use crate::machine::{bytes, count};
use crate::printer::Printer;
use crate::source_report::{self, counted};
use aquatint_train::{
    CodeFigures, CorpusFigures, Figure, HeldOutPairs, Retrieved, ShardFigures, StartFigures, StepFigures, Summary,
    TrainingEvent,
};
use aquatint_vocabulary::UnknownText;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Prints the events of a run on standard error.
pub(crate) struct TrainingScreen {
    printer: Printer,
    bar: Option<ProgressBar>,
}

impl TrainingScreen {
    /// Nothing has been heard yet.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, bar: None }
    }

    /// Reports one event.
    pub(crate) fn show(&mut self, event: &TrainingEvent<'_>) {
        match event {
            TrainingEvent::Recipe(recipe) => {
                self.printer.note(recipe.trim_end());
            }
            TrainingEvent::Preparing(what) => self.line(what),
            TrainingEvent::Unread { path, files } => {
                self.pause(|printer| source_report::tell_unread(path, files, printer));
            }
            TrainingEvent::Warning(what) => self.pause(|printer| printer.warn(what)),
            TrainingEvent::Source { key, report } => {
                self.pause(|printer| source_report::tell(key, report, printer));
            }
            TrainingEvent::RoleAdded { role, token } => {
                self.line(&format!("the tokenizer has no {role} token: `{}` is added as token {token}", role.token()));
            }
            TrainingEvent::Corpus(figures) => self.corpus(figures),
            TrainingEvent::Started(figures) => self.started(figures),
            TrainingEvent::Step(figures) => self.step(figures),
            TrainingEvent::Validated { step, likelihood, codes, best } => {
                let best = if *best { "  best so far" } else { "" };
                let of_codes =
                    |codes: &CodeFigures| format!(", {:.3} nats/code of a {}", codes.nats_per_code, codes.domain);
                let codes: String = codes.iter().map(of_codes).collect();
                let text = crate::commands::likelihood::short(likelihood);
                self.line(&format!("step {step}  held out: {text}{codes}{best}"));
            }
            TrainingEvent::Measured { step, cost, figures, best } => {
                let best = if *best { "  best so far" } else { "" };
                self.line(&format!("step {step}  held out: loss {cost:.4}  {}{best}", named(figures)));
            }
            TrainingEvent::Samples(figures) => self.line(&format!(
                "{}: {} to learn, {} held out; {}, of {}",
                figures.kind,
                figures.train,
                figures.held_out,
                crate::commands::codec::rate(figures.rate),
                figures.vocabulary
            )),
            TrainingEvent::Reconstructed { step, held_out, best } => {
                let best = if *best { "  best so far" } else { "" };
                let figures = crate::commands::codec::short(held_out.cost, &held_out.reconstruction);
                self.line(&format!("step {step}  held out: {figures}{best}"));
            }
            TrainingEvent::Pairs(figures) => self.line(&format!(
                "pictures: {} of {} concepts to learn, {} held out; a vocabulary of {}",
                figures.train, figures.concepts, figures.held_out, figures.vocabulary
            )),
            TrainingEvent::Matched { step, held_out, best } => {
                let best = if *best { "  best so far" } else { "" };
                self.line(&format!("step {step}  {}{best}", matched(held_out)));
            }
            TrainingEvent::Sampled { step, text } => {
                self.line(&format!("step {step}  sample: {}", crate::frame::harmless(text)));
            }
            TrainingEvent::Saved { step, folder } => self.line(&format!("step {step}  saved to {}", folder.display())),
            TrainingEvent::Skipped { step } => {
                self.pause(|printer| printer.warn(format!("step {step} was left out: its gradient was not finite")));
            }
            TrainingEvent::Finished(summary) => self.finished(summary),
            // A newer trainer may report more than this screen can draw.
            _ => {}
        }
    }

    /// Takes the bar away, so that what follows stands on lines of its own.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn corpus(&mut self, figures: &CorpusFigures) {
        self.line(&format!(
            "corpus: {}, {} tokens in {} canvases, vocabulary of {}; held out: {} canvases, {:.3} nats per \
             token by frequency alone",
            counted(figures.train_documents, "document"),
            count(figures.train_tokens),
            figures.train_canvases,
            figures.vocabulary,
            figures.valid_canvases,
            figures.unigram_entropy,
        ));
        if !figures.unknown.is_empty() {
            let what = unknown(figures.unknown, Some(figures.text_bytes), "corpus");
            self.pause(|printer| printer.warn(&what));
        }
    }

    fn started(&mut self, figures: &StartFigures) {
        self.line(&format!(
            "network: {} parameters ({} in f32) on {}",
            count(figures.parameters),
            bytes(figures.parameters * 4),
            figures.device
        ));
        if let (recomputed @ 1.., layers) = figures.recomputed {
            self.line(&format!("activations of {recomputed} of {layers} layers are recomputed to save memory"));
        }
        if let Some(ShardFigures { bytes: shard, ranks }) = figures.shard {
            self.line(&format!("optimiser: {} of states on this rank, one of {ranks}", bytes(shard)));
        }
        if self.printer.draws() {
            let bar = ProgressBar::with_draw_target(Some(figures.steps), ProgressDrawTarget::stderr());
            // The template is a constant; were it wrong, the plain bar would do.
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}") {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_position(figures.step);
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, figures: &StepFigures) {
        let text = step_line(figures);
        match &self.bar {
            Some(bar) => {
                bar.set_position(figures.step);
                bar.set_message(text);
            }
            None => self.printer.status(format_args!("step {}  {text}", figures.step)),
        }
    }

    fn finished(&mut self, summary: &Summary) {
        self.clear();
        if summary.ending == aquatint_train::Ending::Interrupted {
            // The command itself says so, as its failure.
            return;
        }
        self.printer.status(summary_line(summary));
    }

    fn line(&self, text: &str) {
        self.pause(|printer| printer.status(text));
    }

    fn pause(&self, write: impl FnOnce(&Printer)) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write(&self.printer)),
            None => write(&self.printer),
        }
    }
}

/// Figures with their names, in one line.
fn named(figures: &[Figure]) -> String {
    figures.iter().map(|(name, value)| format!("{} {value:.4}", name.replace('_', " "))).collect::<Vec<_>>().join("  ")
}

/// The warning that the vocabulary cannot write a part of `what`, with its share where the bytes in all are known.
pub(crate) fn unknown(unknown: UnknownText, text_bytes: Option<u64>, what: &str) -> String {
    let share = text_bytes.map(|bytes| 100.0 * unknown.bytes as f64 / bytes.max(1) as f64);
    let share = share.map_or_else(String::new, |share| format!(", {share:.2} % of its bytes,"));
    let (characters, are, them) =
        if unknown.characters == 1 { ("character", "is", "it") } else { ("characters", "are", "them") };
    format!(
        "{} {characters} of the {what}{share} {are} unknown to the tokenizer: the model reads its unknown token for {them}, \
         or nothing",
        unknown.characters
    )
}

/// The figures that say how a run is going, in one line.
pub(crate) fn step_line(figures: &StepFigures) -> String {
    let imbalance = figures.expert_imbalance;
    let imbalance = imbalance.map_or_else(String::new, |most| format!("  busiest expert {most:.2}x"));
    let bits = figures.bits_per_byte.map_or_else(String::new, |bits| format!("  {bits:.3} bits/byte"));
    let own = if figures.own.is_empty() { String::new() } else { format!("  {}", named(&figures.own)) };
    format!(
        "loss {:.4}{bits}{own}{imbalance}  {} tokens/s  {} left",
        figures.loss,
        figures.tokens_per_second.round(),
        clock(figures.seconds_left)
    )
}

/// Where a run stands when it ends, in one line.
pub(crate) fn summary_line(summary: &Summary) -> String {
    let ending = match summary.ending {
        aquatint_train::Ending::Complete => "done",
        aquatint_train::Ending::Interrupted => "interrupted",
        aquatint_train::Ending::TimeUp => "time is up; --resume goes on",
    };
    let mut line =
        format!("{ending}: step {}, {} tokens in {}", summary.step, count(summary.tokens), clock(summary.seconds));
    if let Some(bits) = summary.bits_per_byte {
        line.push_str(&format!(", held out {bits:.3} bits/byte"));
    }
    if let Some((nats, step)) = summary.best {
        // Only text is measured in bits per byte, too.
        let unit = if summary.bits_per_byte.is_some() { " nats/token" } else { "" };
        line.push_str(&format!(", best {nats:.4}{unit} at step {step}"));
    }
    line
}

/// How well pictures and texts find each other, in one line.
fn matched(figures: &HeldOutPairs) -> String {
    let found = |of: &Retrieved| format!("{:.1} % found among {} names", 100.0 * of.hit_rate, of.concepts);
    let (held_out, trained) = (found(&figures.held_out), found(&figures.trained));
    format!("held out: {:.4} nats, {held_out}; trained on: {trained}", figures.cost)
}

/// Seconds as people read them: `42s`, `3m05s`, `2h07m`.
pub(crate) fn clock(seconds: f64) -> String {
    // A speed of zero leaves an endless time, which no Duration can hold.
    let Ok(duration) = Duration::try_from_secs_f64(seconds.max(0.0)) else { return "?".to_owned() };
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_objective_says_stands_behind_the_loss() {
        let figures = StepFigures {
            step: 3,
            loss: -0.125,
            bits_per_byte: None,
            gradient_norm: 1.0,
            learning_rate: 1e-3,
            expert_imbalance: None,
            own: vec![("reward", 0.5), ("flat_groups", 0.25)],
            tokens_per_second: 100.0,
            tokens: 300,
            epochs: None,
            seconds: 3.0,
            seconds_left: 42.0,
        };
        assert_eq!(step_line(&figures), "loss -0.1250  reward 0.5000  flat groups 0.2500  100 tokens/s  42s left");
    }

    #[test]
    fn unknown_text_is_reported_with_its_share() {
        assert_eq!(
            unknown(UnknownText { characters: 12, bytes: 25 }, Some(1000), "corpus"),
            "12 characters of the corpus, 2.50 % of its bytes, are unknown to the tokenizer: the model reads its unknown \
             token for them, or nothing"
        );
        assert_eq!(
            unknown(UnknownText { characters: 1, bytes: 2 }, None, "prompt"),
            "1 character of the prompt is unknown to the tokenizer: the model reads its unknown token for it, or nothing"
        );
    }

    #[test]
    fn retrieval_is_a_line() {
        let of = |concepts, hit_rate| Retrieved { pictures: 128, concepts, hit_rate };
        let figures = HeldOutPairs { cost: 3.25, held_out: of(90, 0.125), trained: of(2100, 0.5) };
        assert_eq!(
            matched(&figures),
            "held out: 3.2500 nats, 12.5 % found among 90 names; trained on: 50.0 % found among 2100 names"
        );
    }

    #[test]
    fn seconds_are_printed_as_a_clock() {
        assert_eq!([0.0, 59.9, 185.0, 7620.0].map(clock), ["0s", "59s", "3m05s", "2h07m"]);
        assert_eq!([f64::INFINITY, f64::NAN, -1.0].map(clock), ["?", "0s", "0s"]);
    }
}
