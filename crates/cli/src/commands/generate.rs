//! `aquatint generate`: fills one canvas, or one template many times, and leaves.

mod many;

use crate::arguments::{Format, GenerateArguments};
use crate::credentials::Signing;
use crate::failure::Failure;
use crate::files_out::{self, FilesOut, OutPaths, sidecar_of};
use crate::live::LiveCanvas;
use crate::printer::Printer;
use crate::screen::CanvasView;
use crate::session::{Filled, Session, broken_line, closing_line};
use crate::written_files::begin;
use crate::{certainty, credentials, interrupt, media, model, token_canvas, wire};
use aquatint::{DenoisingEvent, OutputPiece, Prepared, Template};
use aquatint_diffusion::TokenId;
use aquatint_files::AtomicFile;
use aquatint_generate::{Change, FinishReason, Request};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &GenerateArguments, printer: &Printer) -> Result<(), Failure> {
    if let Some(below) = arguments.abstain.filter(|below| !(0.0..=1.0).contains(below)) {
        return Err(Failure::new(format!("`abstain` is {below}; allowed: 0 to 1")));
    }
    many::check(arguments)?;
    files_out::check(arguments)?;
    let signer = credentials::signer(&arguments.signing)?;
    let typed = typed(arguments)?;
    let (name, layout) = (arguments.model.as_deref(), arguments.layout.as_deref());
    let guards = arguments.guard.read(printer)?;
    let session = Session::open_with(name, layout, &arguments.device, printer)?.with_guards(guards);
    let mut signing = None;
    let prepared = match &arguments.tokens {
        None => {
            let template = Template::parse(&typed)?;
            let prepared = session.prepare(template.clone(), &arguments.sampling, printer)?;
            if let Some(signer) = signer {
                signing = Some(Signing::new(signer, &arguments.signing, &session, (&typed, &template), name)?);
            }
            prepared
        }
        Some(_) => session.prepare_tokens(&typed, &arguments.sampling, printer)?,
    };
    let signing = signing.as_ref();
    if arguments.abstain.is_some() && prepared.template_canvas.holes().next().is_none() {
        printer.warn("`--abstain` has no effect: no text is to be written");
    }
    if let Some(count) = arguments.count {
        return many::run((arguments, count), (&session, prepared), signing, printer);
    }
    let out = FilesOut::create(&prepared.template_canvas, arguments, signing, (0, 1))?;
    let mut steps = vec![prepared.template_canvas.canvas().tokens().to_vec()];
    let vocabulary = &session.checkpoint().vocabulary;
    let mut trace = arguments.trace.as_deref().map(Trace::create).transpose()?;
    let mut view = CanvasView::new(&session, &prepared.template_canvas, *printer);
    let mut live = printer.draws().then(|| LiveCanvas::new(*printer));
    let mut trouble = None;
    let mut watch = |event: &DenoisingEvent<'_>| {
        if let (Some(_), DenoisingEvent::Step { changes, .. }) = (&arguments.tokens, event) {
            follow(&mut steps, changes);
        }
        let mut tell = || -> Result<(), Failure> {
            if trace.is_some() || arguments.format == Format::Jsonl {
                let line = wire::Event::of(event, vocabulary).line()?;
                if let Some(trace) = &mut trace {
                    trace.line(&line)?;
                }
                if arguments.format == Format::Jsonl {
                    printer.data_line(line)?;
                }
            }
            if let Some(live) = &mut live
                && view.follow(event)
                && live.is_due()
            {
                let (cells, status) = view.frame();
                live.draw(&cells, status);
            }
            Ok(())
        };
        if let Err(failure) = tell() {
            trouble.get_or_insert(failure);
            return ControlFlow::Break(());
        }
        if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let filled = match &arguments.tokens {
        None => session.fill(&prepared, &mut watch),
        Some(_) => session.fill_tokens(&prepared, &mut watch),
    };
    if let Some(live) = &mut live {
        live.clear();
    }
    let filled = filled?;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    let Written { pieces, outcome, abstained } = written(arguments, &session, (&prepared, &filled, steps))?;
    print((arguments, printer), (&outcome, &pieces), &out.write((&outcome, &pieces), filled.outcome.reason)?)?;
    // The text first: a trace that cannot be written must not cost it.
    if let Some(trace) = trace {
        trace.finish(&wire::Event::Result(Box::new(outcome.clone())).line()?)?;
    }
    // Ids are printed whole.
    if arguments.tokens.is_none() || arguments.format != Format::Human {
        broken_line(outcome.broken_bytes).into_iter().for_each(|line| printer.note(line));
    }
    abstained.into_iter().for_each(|line| printer.note(line));
    printer.note(closing_line(&outcome));
    model::tell_of_graphs(session.runtime(), printer);
    match filled.outcome.reason {
        FinishReason::Cancelled => Err(Failure::interrupted("stopped before the canvas was full")),
        FinishReason::Filled | FinishReason::End => Ok(()),
    }
}

/// The tokens of a canvas of ids before the first step and after each.
type Steps = Vec<Vec<TokenId>>;

/// The request that fills what was typed.
fn request_of(
    arguments: &GenerateArguments,
    session: &Session,
    prepared: &Prepared,
) -> Result<Request, aquatint::Error> {
    match &arguments.tokens {
        None => session.request_of(prepared),
        Some(_) => Ok(session.request_of_tokens(prepared)),
    }
}

/// Adds the tokens after a step to those before it.
fn follow(steps: &mut Steps, changes: &[Change]) {
    let mut next = steps.last().cloned().unwrap_or_default();
    changes.iter().for_each(|change| next[change.position] = change.token);
    steps.push(next);
}

/// What was written.
struct Written {
    pieces: Vec<OutputPiece>,
    /// The result for scripts.
    outcome: wire::Outcome,
    /// A line for each span that was abstained from.
    abstained: Vec<String>,
}

/// What was written; the result of a canvas of ids has those after each step.
fn written(
    arguments: &GenerateArguments,
    session: &Session,
    (prepared, filled, steps): (&Prepared, &Filled, Steps),
) -> Result<Written, Failure> {
    let pieces = session.output(prepared, filled)?;
    let mut outcome = session.report(prepared, filled, &pieces);
    if arguments.tokens.is_some() {
        outcome.ids = Some(token_canvas::ids(&filled.outcome.canvas));
        outcome.steps = Some(steps);
    }
    let abstained = arguments.abstain.map(|below| certainty::abstain(&mut outcome.spans, below)).unwrap_or_default();
    Ok(Written { pieces, outcome, abstained })
}

/// Prints what was written.
fn print(
    (arguments, printer): (&GenerateArguments, &Printer),
    (outcome, pieces): (&wire::Outcome, &[OutputPiece]),
    places: &OutPaths,
) -> Result<(), Failure> {
    // With a sidecar of its own there are two.
    if let [path] = &places.text[..]
        && sidecar_of(path).exists()
    {
        let sidecar = sidecar_of(path).display().to_string();
        printer.warn(format_args!("{sidecar} has the content credentials of another file than {}", path.display()));
    }
    match arguments.format {
        Format::Human => {
            match &outcome.ids {
                Some(ids) => printer.text(&ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))?,
                None if outcome.pieces.is_empty() => printer.text(&outcome.text)?,
                None => media::print(pieces, &places.pieces, printer)?,
            }
            places.text.iter().for_each(|path| printer.note(format_args!("wrote {}", path.display())));
            Ok(())
        }
        Format::Json => printer.data_line(wire::json(outcome)?),
        Format::Jsonl => printer.data_line(wire::Event::Result(Box::new(outcome.clone())).line()?),
    }
}

/// The template, from the arguments or from standard input.
fn typed(arguments: &GenerateArguments) -> Result<String, Failure> {
    let given = arguments.template.as_ref().or(arguments.prompt.as_ref()).or(arguments.tokens.as_ref());
    let given = given.map_or("", String::as_str);
    if given != "-" {
        return Ok(given.to_owned());
    }
    read_input()
}

/// All of standard input, without the line end that every file ends with.
pub(crate) fn read_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| Failure::of_input(&error))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::of(&error).context("standard input is no UTF-8").hint("convert it to UTF-8 first"))?;
    Ok(without_line_end(text))
}

/// A text without its last line end, which every file ends with.
pub(crate) fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// A trace file: lines of JSON, which appear whole, so that no reader reads half a trace.
struct Trace {
    path: PathBuf,
    out: AtomicFile,
}

impl Trace {
    fn create(path: &Path) -> Result<Self, Failure> {
        let (path, out) = begin(path.to_path_buf())?;
        Ok(Self { path, out })
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(|error| Failure::of_file("write", &self.path, &error))
    }

    fn finish(mut self, line: &str) -> Result<(), Failure> {
        self.line(line)?;
        self.out.finish().map_err(|error| Failure::of_file("write", &self.path, &error))
    }
}
