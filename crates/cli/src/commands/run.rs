//! `aquatint run`: one answer, or a conversation.

use crate::arguments::{MediaArguments, RunArguments, SamplingArguments};
use crate::conversation::{HELP, Typed, set};
use crate::failure::{Ending, Failure};
use crate::live::LiveCanvas;
use crate::media::MediaOut;
use crate::printer::Printer;
use crate::screen::CanvasView;
use crate::session::{Session, broken_line, closing_line};
use crate::{interrupt, machine, media, model, wire};
use aquatint::{MediaFile, Template};
use aquatint_generate::FinishReason;
use std::io::{BufRead, IsTerminal};
use std::ops::ControlFlow;

const PROMPT: &str = ">>> ";
const MORE: &str = "... ";

pub(crate) fn run(arguments: &RunArguments, printer: &Printer) -> Result<(), Failure> {
    let model = arguments.model.as_deref().or(arguments.model_flag.as_deref());
    let words = arguments.words.as_deref().or(arguments.prompt.as_deref());
    let guards = arguments.guard.read(printer)?;
    let session = Session::open(model, &arguments.device, printer)?.with_guards(guards);
    let RunArguments { sampling, media, .. } = arguments;
    let answerer = Answerer { session: &session, sampling, media, printer };
    if let Some(words) = words.filter(|words| *words != "-") {
        return answerer.answer(Template::parse(words)?).map(drop);
    }
    if words.is_some() || !std::io::stdin().is_terminal() {
        return answerer.answer(Template::parse(&super::generate::read_input()?)?).map(drop);
    }
    for (flag, path) in [("picture-out", &media.picture_out), ("sound-out", &media.sound_out)] {
        if path.is_some() {
            printer.warn(format_args!("`--{flag}` has no effect: in a conversation /save keeps what was made"));
        }
    }
    converse(&session, sampling.clone(), printer)
}

/// What answers texts.
struct Answerer<'a> {
    session: &'a Session,
    sampling: &'a SamplingArguments,
    media: &'a MediaArguments,
    printer: &'a Printer,
}

impl Answerer<'_> {
    /// Fills one template, continues one text, or answers it where the model converses, drawing it where it can be drawn. Returns the pictures and sounds that were
    /// made.
    fn answer(&self, template: Template) -> Result<Vec<MediaFile>, Failure> {
        let Self { session, sampling, media, printer } = self;
        let turn = session.prepare_turn(&template, sampling, printer)?;
        let is_turn = turn.is_some();
        let prepared = match turn {
            Some(prepared) => prepared,
            None => session.prepare(template, sampling, printer)?,
        };
        let out = MediaOut::create(&prepared.template_canvas, media)?;
        let mut view = CanvasView::new(session, &prepared.template_canvas, **printer);
        let mut live = printer.draws().then(|| LiveCanvas::new(**printer));
        let filled = session.fill(&prepared, &mut |event| {
            if let Some(live) = &mut live
                && view.follow(event)
                && live.is_due()
            {
                let (cells, status) = view.frame();
                live.draw(&cells, status);
            }
            if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(live) = &mut live {
            live.clear();
        }
        let filled = filled?;
        let pieces = session.output(&prepared, &filled)?;
        let outcome = session.report(&prepared, &filled, &pieces);
        let places = out.write(&pieces, filled.outcome.reason)?;
        match outcome.pieces.is_empty() {
            true if is_turn => printer.text(outcome.filled.concat().trim())?,
            true => printer.text(&outcome.text)?,
            false => media::print(&pieces, &places, printer)?,
        }
        broken_line(outcome.broken_bytes).into_iter().for_each(|line| printer.note(line));
        printer.note(closing_line(&outcome));
        model::tell_of_graphs(session.runtime(), printer);
        match filled.outcome.reason {
            FinishReason::Cancelled => Err(Failure::interrupted("stopped before the canvas was full")),
            FinishReason::Filled | FinishReason::End => Ok(media::made(pieces)),
        }
    }
}

/// What goes on at the prompt.
struct Conversation<'a> {
    session: &'a Session,
    printer: &'a Printer,
    sampling: SamplingArguments,
    /// The pictures and sounds that were made last.
    made: Vec<MediaFile>,
}

/// Answers line after line until the input ends or `/bye`.
fn converse(session: &Session, sampling: SamplingArguments, printer: &Printer) -> Result<(), Failure> {
    let (parameters, _) = super::show::weight(session.checkpoint());
    printer.status(format_args!(
        "{}: {} parameters on {}. /help says what can be typed.",
        session.checkpoint().origin,
        machine::count(parameters),
        session.runtime().describe_device()
    ));
    let mut conversation = Conversation { session, printer, sampling, made: Vec::new() };
    loop {
        let Some(line) = read_line(PROMPT, printer)? else {
            // Ctrl-D leaves the cursor behind the prompt.
            printer.status("");
            return Ok(());
        };
        // A conversation goes on after a text that was stopped.
        let keeping = interrupt::keep("the present step is finished first");
        let done = conversation.obey(&line);
        drop(keeping);
        match done {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(()),
            // What was typed can be typed better; only a terminal that is gone ends the conversation.
            Err(failure) if failure.ending() == Ending::Silent => return Err(failure),
            Err(failure) => printer.failure(&failure),
        }
    }
}

impl Conversation<'_> {
    fn obey(&mut self, line: &str) -> Result<ControlFlow<()>, Failure> {
        let (session, printer) = (self.session, self.printer);
        match Typed::parse(line)? {
            Typed::Nothing => {}
            Typed::Help => printer.status(HELP),
            Typed::Show => {
                printer.data(super::show::describe(session.checkpoint()))?;
                let resolved = self.sampling.options()?.resolve(session.generation())?;
                let seed = self.sampling.seed.map_or_else(|| "drawn afresh".to_owned(), |seed| seed.to_string());
                printer.data_line(format_args!("{:<12}{}", "settings", wire::Settings::of(resolved.settings())))?;
                printer.data_line(format_args!("{:<12}{}", "max-tokens", resolved.max_tokens()))?;
                printer.data_line(format_args!("{:<12}{seed}", "seed"))?;
            }
            Typed::Set(name, value) => {
                let mut changed = self.sampling.clone();
                set(&mut changed, &name, &value)?;
                // A value that cannot be used is refused now and not at the next text.
                changed.options()?.resolve(session.generation())?;
                self.sampling = changed;
            }
            Typed::Clear => {
                if printer.draws() {
                    printer.draw("\x1b[2J\x1b[H");
                }
            }
            Typed::Bye => return Ok(ControlFlow::Break(())),
            Typed::Prompt(text) => self.answer(Template::parse(&text)?)?,
            Typed::Media(kind, text) => self.answer(media::template_of(kind, &text)?)?,
            Typed::Save(path) => {
                media::save(&self.made, &path)?;
                printer.note(format_args!("wrote {}", path.display()));
            }
            Typed::Opening(first) => {
                let Some(text) = read_more(first, printer)? else { return Ok(ControlFlow::Break(())) };
                self.answer(Template::parse(&text)?)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn answer(&mut self, template: Template) -> Result<(), Failure> {
        let Self { session, printer, sampling, .. } = self;
        let made = Answerer { session, sampling, media: &MediaArguments::default(), printer }.answer(template)?;
        if !made.is_empty() {
            self.made = made;
        }
        Ok(())
    }
}

/// Reads on until the line that ends in `"""`; `None` where the input ends before it.
fn read_more(first: String, printer: &Printer) -> Result<Option<String>, Failure> {
    let mut text = first;
    loop {
        let Some(line) = read_line(MORE, printer)? else { return Ok(None) };
        text.push('\n');
        if let Some(last) = line.trim_end().strip_suffix("\"\"\"") {
            text.push_str(last);
            return Ok(Some(text));
        }
        text.push_str(line.trim_end_matches(['\n', '\r']));
    }
}

/// One line from the terminal; `None` at its end.
fn read_line(prompt: &str, printer: &Printer) -> Result<Option<String>, Failure> {
    let mut line = String::new();
    // Who reads the prompt may press Ctrl-C at once, so it is shown when that already has its meaning here.
    let read = interrupt::at_prompt(|| {
        printer.draw(prompt);
        std::io::stdin().lock().read_line(&mut line)
    });
    match read {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(line)),
        Err(error) => Err(Failure::of_input(&error)),
    }
}
