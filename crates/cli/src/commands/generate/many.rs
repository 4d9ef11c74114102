//! `aquatint generate --count N`: one template filled several times, with seeds that follow each other.
//!
//! Each is what a run of its own with that seed gives; the network reads many of them together. What is done is written
//! batch by batch, so that a long run has given what it has when it is stopped.

use super::{Steps, Written, follow, print, request_of, written};
use crate::arguments::{Format, GenerateArguments};
use crate::credentials::Signing;
use crate::failure::Failure;
use crate::files_out::FilesOut;
use crate::printer::Printer;
use crate::session::{Filled, Session, broken_line, rate};
use crate::source_report::counted;
use crate::{interrupt, watermark};
use aquatint::provenance::SchemeKind;
use aquatint::{DenoisingEvent, Prepared};
use aquatint_generate::{FinishReason, GenerateError};
use std::ops::ControlFlow;
use std::time::Instant;

/// Positions of the canvases that are filled together: enough for large products, few enough for any machine.
const POSITIONS: usize = 1 << 13;
/// Canvases that are filled together, at most.
const CANVASES: usize = 256;

/// Refuses what holds one canvas only.
pub(super) fn check(arguments: &GenerateArguments) -> Result<(), Failure> {
    let Some(count) = arguments.count else { return Ok(()) };
    let refuse = |allowed: &str| Err(Failure::new(format!("`--count` is {count}; allowed: {allowed}")));
    if count == 0 {
        return refuse("1 or more");
    }
    if count > 1 && arguments.format == Format::Json {
        return refuse("1 with --format json, which is one object")
            .map_err(|failure| failure.hint("--format jsonl writes one for each"));
    }
    if arguments.trace.is_some() {
        return Err(Failure::new("`--trace` is with `--count`; allowed: without, since a trace is of one canvas"));
    }
    Ok(())
}

/// Warns where a watermark has fewer offsets than there are canvases.
fn warn_of_period((arguments, count): (&GenerateArguments, u64), printer: &Printer) -> Result<(), Failure> {
    let Some(path) = &arguments.sampling.watermark else { return Ok(()) };
    match watermark::read(path)?.kind() {
        SchemeKind::Gumbel { period } if count > u64::from(period) => printer.warn(format_args!(
            "`--count` is {count}, and the key of the watermark has a period of {period}: what comes behind the first \
             {period} may repeat them; `aquatint watermark-key --period` makes a key of more"
        )),
        _ => {}
    }
    Ok(())
}

/// What all of them took.

#[derive(Default)]
struct Sum {
    filled: u64,
    refused: u64,
    tokens: usize,
    broken_bytes: usize,
    /// The seed of the last one that was filled.
    last: Option<u64>,
}

/// Fills the template and prints each result.
pub(super) fn run(
    (arguments, count): (&GenerateArguments, u64),
    (session, first): (&Session, Prepared),
    signing: Option<&Signing>,
    printer: &Printer,
) -> Result<(), Failure> {
    let seed = first.settings.seed();
    if seed.checked_add(count - 1).is_none() {
        return Err(Failure::new(format!(
            "`--seed` is {seed}; allowed: at most {} with --count {count}",
            u64::MAX - (count - 1)
        )));
    }
    warn_of_period((arguments, count), printer)?;
    let together = (POSITIONS / first.template_canvas.canvas().len().max(1)).clamp(1, CANVASES) as u64;
    let begun = Instant::now();
    let mut sum = Sum::default();
    for start in (0..count).step_by(together as usize) {
        let numbers = start..count.min(start + together);
        let batch: Vec<Prepared> = numbers.clone().map(|number| first.clone().with_seed(seed + number)).collect();
        let files = numbers.map(|number| FilesOut::create(&first.template_canvas, arguments, signing, (number, count)));
        let files = files.collect::<Result<Vec<FilesOut<'_>>, Failure>>()?;
        for ((prepared, out), filled) in batch.iter().zip(files).zip(fill(arguments, session, &batch)?) {
            let (filled, steps) = match filled {
                Ok(filled) => filled,
                // Another seed may write what passes.
                Err(error @ aquatint::Error::Generate(GenerateError::Refused { .. })) => {
                    printer.note(format_args!("seed {}: {error}", prepared.settings.seed()));
                    sum.refused += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if filled.outcome.reason != FinishReason::Cancelled {
                let Written { pieces, outcome, abstained } = written(arguments, session, (prepared, &filled, steps))?;
                let places = out.write((&outcome, &pieces), filled.outcome.reason)?;
                print((arguments, printer), (&outcome, &pieces), &places)?;
                abstained.iter().for_each(|line| printer.note(format_args!("seed {}: {line}", outcome.seed)));
                sum.filled += 1;
                sum.tokens += outcome.tokens;
                sum.broken_bytes += outcome.broken_bytes;
                sum.last = Some(outcome.seed);
            }
        }
        if interrupt::pressed() {
            break;
        }
    }
    if arguments.tokens.is_none() || arguments.format != Format::Human {
        broken_line(sum.broken_bytes).into_iter().for_each(|line| printer.note(line));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let seeds = sum.last.map(|last| format!(", seeds {seed} to {last}")).unwrap_or_default();
    printer.note(format_args!(
        "{}, {}, {seconds:.2} s, {:.1} tokens/s, {:.1} templates/s{seeds}",
        counted(sum.filled, "template"),
        counted(sum.tokens as u64, "token"),
        rate(sum.tokens, seconds),
        rate(sum.filled as usize, seconds),
    ));
    match (sum.filled == count, sum.filled + sum.refused == count) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::new(format!("{} of {count} were refused", sum.refused))),
        (false, false) => Err(Failure::interrupted(format!("stopped when {} of {count} were filled", sum.filled))),
    }
}

/// A canvas that was filled, with all tokens after each step, or why it was not.
type OneFilled = Result<(Filled, Steps), aquatint::Error>;

/// Fills some canvases together. Of canvases of ids all tokens after each step come with them.
///
/// # Errors
/// When a guard refuses what is given, which is the same of all of them.
fn fill(
    arguments: &GenerateArguments,
    session: &Session,
    batch: &[Prepared],
) -> Result<Vec<OneFilled>, aquatint::Error> {
    let requests = batch.iter().map(|prepared| request_of(arguments, session, prepared));
    let requests: Vec<_> = requests.collect::<Result<_, _>>()?;
    let tokens = |prepared: &Prepared| vec![prepared.template_canvas.canvas().tokens().to_vec()];
    let mut steps: Vec<Steps> = batch.iter().map(tokens).collect();
    let keeps_steps = arguments.tokens.is_some() && arguments.format != Format::Human;
    let begun = Instant::now();
    let mut seconds = vec![0.0; batch.len()];
    let outcomes = session.fill_all(&requests, &mut |number, event| {
        match event {
            DenoisingEvent::Step { changes, .. } if keeps_steps => follow(&mut steps[number], changes),
            DenoisingEvent::Finished { .. } => seconds[number] = begun.elapsed().as_secs_f64(),
            _ => {}
        }
        if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let each = outcomes.into_iter().zip(seconds).zip(steps);
    let filled = each.map(|((outcome, seconds), steps)| {
        let (outcome, certainties) = outcome?;
        Ok((Filled { outcome, seconds, certainties }, steps))
    });
    Ok(filled.collect())
}
