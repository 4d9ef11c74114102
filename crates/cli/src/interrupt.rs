//! Ctrl-C and polite requests to end (SIGINT, SIGTERM, SIGHUP), heard within a second whatever the program does.
//!
//! A first one sets a flag that long work reads where it can stop cleanly. Work that has nothing to lose is ended from
//! here where it does not stop within a moment; work that is worth it ([`keep`]) is waited for. A second one
//! ends the program at once. Whichever way it ends, the exit code is 1, no temporary file is left, and the terminal shows
//! again what is typed.
//!
//! SIGHUP does nothing where whoever started the program ignores it: `nohup` keeps a run alive after a logout.
//! SIGXFSZ does nothing either, so that a file beyond `ulimit -f` is a failed write like that on a full disk.

use crate::failure::Failure;
use crate::printer::Printer;
use crate::terminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long work with nothing to lose may take to stop by itself.
const GRACE: Duration = Duration::from_millis(800);

static STOP: AtomicBool = AtomicBool::new(false);
/// How often the program was asked to end since the last [`reset`].
static HEARD: AtomicUsize = AtomicUsize::new(0);
/// How often [`reset`] was called: work that has begun since is not ended for what was heard before.
static EPOCH: AtomicUsize = AtomicUsize::new(0);
/// What each [`Keep`] says.
static RETAINED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
static AT_PROMPT: AtomicBool = AtomicBool::new(false);
static LISTENING: OnceLock<bool> = OnceLock::new();

/// What the program is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// SIGINT, which someone at the keyboard sends: to stop what is going on.
    Interrupt,
    /// SIGTERM or SIGHUP: to end.
    #[cfg_attr(not(unix), expect(dead_code, reason = "elsewhere the two are told apart by nobody"))]
    End,
}

/// Begins to listen. `printer` says what is going on.
pub(crate) fn listen(printer: Printer) {
    // Without a handler a signal ends the process, which is what it did before.
    LISTENING.get_or_init(|| on_request(move |signal| heard(&printer, signal)).is_ok());
}

#[cfg(unix)]
fn on_request(heard: impl Fn(Signal) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    let hangup = (!ignores_hangup()).then_some(SIGHUP);
    let signals = [SIGINT, SIGTERM, SIGXFSZ].into_iter().chain(hangup);
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    let listener = std::thread::Builder::new().name("signals".to_owned());
    let kind = |signal| if signal == SIGINT { Signal::Interrupt } else { Signal::End };
    listener.spawn(move || {
        signals.forever().filter(|signal| *signal != SIGXFSZ).for_each(|signal| heard(kind(signal)));
    })?;
    Ok(())
}

/// Whether the program was started with SIGHUP ignored. Only Linux tells without unsafe code, by a mask in hexadecimal
/// digits whose lowest bit is signal 1; elsewhere the answer is "no".
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
fn on_request(heard: impl Fn(Signal) + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || heard(Signal::Interrupt))
}

fn heard(printer: &Printer, signal: Signal) {
    if AT_PROMPT.load(SeqCst) {
        match signal {
            Signal::Interrupt => return printer.draw("\nCtrl-D or /bye leaves.\n>>> "),
            // Nobody types any more, and there is nothing to lose.
            Signal::End => end(printer),
        }
    }
    STOP.store(true, SeqCst);
    if HEARD.fetch_add(1, SeqCst) > 0 {
        end(printer);
    }
    if let Some(what) = retained().last() {
        return printer.note(format_args!("{what}; a second Ctrl-C ends at once"));
    }
    // A thread of its own, so that a second signal is heard meanwhile.
    let (epoch, printer) = (EPOCH.load(SeqCst), *printer);
    std::thread::spawn(move || {
        std::thread::sleep(GRACE);
        if EPOCH.load(SeqCst) == epoch && retained().is_empty() {
            end(&printer);
        }
    });
}

fn retained() -> MutexGuard<'static, Vec<&'static str>> {
    RETAINED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(printer: &Printer) -> ! {
    aquatint_files::discard_unfinished();
    terminal::give_back();
    let failure = Failure::interrupted("interrupted");
    printer.failure(&failure);
    std::process::exit(failure.ending().code().into());
}

/// The flag that is set when the program is asked to end.
pub(crate) fn flag() -> &'static AtomicBool {
    &STOP
}

/// Whether the program was asked to end, since the last prompt where there was one.
pub(crate) fn pressed() -> bool {
    STOP.load(SeqCst)
}

/// Forgets what was heard before, as new work begins after work that was stopped.
fn reset() {
    EPOCH.fetch_add(1, SeqCst);
    STOP.store(false, SeqCst);
    HEARD.store(0, SeqCst);
}

/// Something that is worth waiting for: while it lives, only a second signal ends the program from here.
#[derive(Debug)]
pub(crate) struct Keep(());

/// Says what comes first when the program is asked to end, until the value is dropped: "the run is saved first".
pub(crate) fn keep(what: &'static str) -> Keep {
    retained().push(what);
    Keep(())
}

impl Drop for Keep {
    fn drop(&mut self) {
        retained().pop();
    }
}

/// Waits for someone to type, when there is no work to stop: Ctrl-C only says how to leave. What is typed is new work.
pub(crate) fn at_prompt<T>(read: impl FnOnce() -> T) -> T {
    AT_PROMPT.store(true, SeqCst);
    let typed = read();
    AT_PROMPT.store(false, SeqCst);
    reset();
    typed
}
