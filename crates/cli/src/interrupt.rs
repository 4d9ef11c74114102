//! Ctrl-C as a flag that long work reads between two steps.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static PRESSED: AtomicUsize = AtomicUsize::new(0);
static WAITING: AtomicBool = AtomicBool::new(false);
static LISTENING: OnceLock<bool> = OnceLock::new();

/// After so many presses the program does not wait for the end of the step.
const PATIENCE: usize = 3;

/// Begins to catch Ctrl-C and polite requests to end, and forgets earlier ones. At a prompt (see [`waiting`]) `remind`
/// is called instead; the third press during work ends the process with exit code 1.
pub(crate) fn listen(remind: fn()) {
    reset();
    LISTENING.get_or_init(|| {
        let caught = ctrlc::set_handler(move || {
            if WAITING.load(Ordering::SeqCst) {
                return remind();
            }
            STOP.store(true, Ordering::SeqCst);
            if PRESSED.fetch_add(1, Ordering::SeqCst) + 1 >= PATIENCE {
                std::process::exit(1);
            }
        });
        // Without a handler Ctrl-C ends the process, which is what it did before.
        caught.is_ok()
    });
}

/// The flag that is set by Ctrl-C.
pub(crate) fn flag() -> &'static AtomicBool {
    &STOP
}

/// Whether Ctrl-C was pressed since the last [`reset`].
pub(crate) fn pressed() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Forgets earlier presses, before new work begins.
pub(crate) fn reset() {
    STOP.store(false, Ordering::SeqCst);
    PRESSED.store(0, Ordering::SeqCst);
}

/// Says whether the program waits for someone to type, when there is no work to stop.
pub(crate) fn waiting(waits: bool) {
    WAITING.store(waits, Ordering::SeqCst);
}
