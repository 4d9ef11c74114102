//! Asks the terminal what it can, and waits for a moment.

use super::Answer;
#[cfg(unix)]
use rustix::termios::{OptionalActions, Termios, tcsetattr};
#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError};

/// The question: kitty's graphics (a picture of one pixel that is only looked at), the background (OSC 11), the size of a
/// cell (XTWINOPS 16), and what every terminal answers, its primary attributes, of which 4 is sixels. When that answer is
/// there, no other one comes.
#[cfg(unix)]
const QUERY: &str = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b]11;?\x1b\\\x1b[16t\x1b[c";

/// A terminal and its modes.
#[cfg(unix)]
type Modes = (File, Termios);

/// The modes that a terminal had before it was asked, while it is asked: meanwhile it shows nothing that is typed.
#[cfg(unix)]
static BEFORE: Mutex<Option<Modes>> = Mutex::new(None);

/// While it lives, a terminal is asked; then its modes are as before, however the asking ended.
#[cfg(unix)]
struct Asking(());

#[cfg(unix)]
impl Drop for Asking {
    fn drop(&mut self) {
        put_back(&mut BEFORE.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(unix)]
fn put_back(before: &mut Option<Modes>) {
    if let Some((terminal, modes)) = before.take() {
        // A terminal that is gone has no modes.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
    }
}

/// Gives the terminal its modes back where it is being asked, as the program ends. No terminal is asked behind this: the
/// lock is kept.
#[cfg(unix)]
pub(crate) fn give_back() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    put_back(&mut before);
    std::mem::forget(before);
}

#[cfg(not(unix))]
pub(crate) fn give_back() {}

/// The answer; `None` where nobody can be asked.
#[cfg(unix)]
pub(super) fn ask() -> Option<Answer> {
    use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp};
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    /// How long the whole answer may take.
    const PATIENCE: Duration = Duration::from_millis(500);
    /// How long a terminal may be silent, in tenths of a second.
    const SILENCE: u8 = 2;

    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    // A process in the background would be stopped.
    if tcgetpgrp(&terminal).ok()? != rustix::process::getpgrp() {
        return None;
    }
    let before = tcgetattr(&terminal).ok()?;
    let mut raw = before.clone();
    raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    raw.special_codes[SpecialCodeIndex::VMIN] = 0;
    raw.special_codes[SpecialCodeIndex::VTIME] = SILENCE;
    let asking = {
        let mut saved = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        *saved = Some((terminal.try_clone().ok()?, before));
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Asking(())
    };
    let (begun, mut bytes, mut chunk) = (Instant::now(), Vec::new(), [0; 256]);
    let mut answer = Answer::default();
    if terminal.write_all(QUERY.as_bytes()).is_ok() {
        while !answer.is_whole && begun.elapsed() < PATIENCE {
            match terminal.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
            answer = Answer::parse(&bytes);
        }
    }
    drop(asking);
    Some(answer)
}

/// Nobody is asked elsewhere: consoles have no such device.
#[cfg(not(unix))]
pub(super) fn ask() -> Option<Answer> {
    None
}
