//! A program of one's own: it reads one attempt a line, as JSON, and writes one number a line.
//!
//! It is started for each call and has a process group of its own, so that what it started ends with it. It ends by
//! itself when its input does; where it takes longer than it may, all of the group is killed.

use crate::{Attempt, Reward, RewardError};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Between two checks whether it has ended.
const POLL: Duration = Duration::from_millis(2);
/// How long what it wrote may still be on its way when it has ended.
const AFTER: Duration = Duration::from_secs(1);
/// Bytes of a line of its output: more is no number.
const LINE: u64 = 4096;
/// Bytes of its standard error that are reported.
const COMPLAINT: u64 = 2048;

/// A command without a shell: blanks separate its arguments.
#[derive(Debug)]
pub(super) struct Program {
    command: String,
    time: Duration,
}

impl Program {
    pub(super) fn new(command: &str, time: Duration) -> Self {
        Self { command: command.trim().to_owned(), time }
    }

    fn failed(&self, reason: impl Into<String>) -> RewardError {
        RewardError::Program { reward: self.name(), reason: reason.into() }
    }

    fn start(&self) -> Result<Running, RewardError> {
        let mut words = self.command.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| self.failed(format!("could not be started: {error}")))?;
        Ok(Running { child, status: None })
    }
}

impl Reward for Program {
    fn name(&self) -> String {
        format!("program:{}", self.command)
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        let mut input = Vec::new();
        for attempt in attempts {
            serde_json::to_writer(&mut input, attempt).map_err(|error| self.failed(error.to_string()))?;
            input.push(b'\n');
        }
        let until = Instant::now() + self.time;
        let mut running = self.start()?;
        if let Some(mut pipe) = running.child.stdin.take() {
            // A program that reads nothing breaks the pipe, which is no failure of its own.
            std::thread::spawn(move || drop(pipe.write_all(&input)));
        }
        // One line more than is wanted says that there are too many.
        let most = attempts.len() + 1;
        let complaint = running.child.stderr.take().map(|pipe| collect(move |out| drop(out.send(beginning(pipe)))));
        let lines = running.child.stdout.take().map(|pipe| collect(move |out| read_lines(pipe, most, &out)));
        let mut values = Vec::with_capacity(attempts.len());
        let late = |what: &str| self.failed(format!("did not {what} within {} seconds", self.time.as_secs_f64()));
        while let Some(lines) = lines.as_ref().filter(|_| values.len() < attempts.len()) {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let refused = |_| self.failed(format!("wrote {:?} where a number was expected", line.trim()));
                    values.push(line.trim().parse::<f64>().map_err(refused)?);
                }
                Err(RecvTimeoutError::Timeout) => return Err(late("answer")),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = running.wait(until).ok_or_else(|| late("end"))?;
        // All of the group is gone, and with it the other ends of the pipes.
        if lines.is_some_and(|lines| lines.recv_timeout(AFTER).is_ok()) {
            return Err(self.failed(format!("wrote more than {} lines", attempts.len())));
        }
        if !status.success() || values.len() < attempts.len() {
            let complaint = complaint.and_then(|complaint| complaint.recv_timeout(AFTER).ok());
            let complaint = complaint.unwrap_or_default();
            let said = complaint.trim().lines().last().map(|last| format!(": {last}")).unwrap_or_default();
            let (written, of) = (values.len(), attempts.len());
            return Err(self.failed(format!("wrote {written} of {of} numbers and ended with {status}{said}")));
        }
        Ok(values)
    }
}

/// Does something in a thread of its own, which ends at the latest when the pipe that it reads does.
fn collect(work: impl FnOnce(std::sync::mpsc::Sender<String>) + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || work(sender));
    receiver
}

/// The first lines of a pipe; the rest is read and dropped, so that nobody waits and nothing piles up.
fn read_lines(pipe: impl Read, most: usize, out: &std::sync::mpsc::Sender<String>) {
    let mut reader = BufReader::new(pipe);
    for _ in 0..most {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(read) if read > 0 && out.send(String::from_utf8_lossy(&line).into_owned()).is_ok() => {}
            _ => return,
        }
    }
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
}

/// The first bytes of a pipe; the rest is read and dropped, so that nobody waits.
fn beginning(mut pipe: impl Read) -> String {
    let mut first = Vec::new();
    let _ = pipe.by_ref().take(COMPLAINT).read_to_end(&mut first);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    String::from_utf8_lossy(&first).into_owned()
}

/// A process that does not outlive this value, and neither does its group.
struct Running {
    child: Child,
    status: Option<ExitStatus>,
}

impl Running {
    /// How it ended; `None` where it has not by then.
    #[cfg(unix)]
    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let pid = Pid::from_child(&self.child);
        // Its end is noticed and it is not reaped, so that its number still is that of its group when that is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while !matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))) {
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(POLL);
        }
        self.end();
        self.status
    }

    /// How it ended; `None` where it has not by then.
    #[cfg(not(unix))]
    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.status = Some(status);
                return self.status;
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills what is left of it and of what it started, and reaps it.
    fn end(&mut self) {
        if self.status.is_some() {
            return;
        }
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        #[cfg(not(unix))]
        let _ = self.child.kill();
        self.status = self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const TIME: Duration = Duration::from_secs(20);

    fn script(folder: &Path, text: &str) -> String {
        let path = folder.join("program.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Not run as a file of its own: one that was just written may still be open in a process that forks beside.
        format!("/bin/sh {}", path.display())
    }

    fn attempts() -> [Attempt<'static>; 2] {
        ["a \"b\"\n", "c"].map(|completion| Attempt { prompt: "p", completion, ..Attempt::default() })
    }

    fn run(text: &str, time: Duration) -> Result<Vec<f64>, RewardError> {
        let folder = tempfile::tempdir().unwrap();
        Program::new(&script(folder.path(), text), time).rewards(&attempts())
    }

    #[test]
    fn each_line_is_an_attempt_and_each_answer_its_reward() {
        let counting =
            "while read -r line; do case \"$line\" in *'\"completion\":\"c\"'*) echo 0.5;; *) echo -2;; esac; done";
        assert_eq!(run(counting, TIME).unwrap(), [-2.0, 0.5]);
    }

    #[test]
    fn what_is_no_answer_is_refused_with_what_was_there() {
        for (text, reason) in [
            ("echo 1; echo two", "wrote \"two\" where a number was expected"),
            (
                "echo 1; echo 'no such rule' >&2; exit 3",
                "wrote 1 of 2 numbers and ended with exit status: 3: no such rule",
            ),
            ("echo 1; echo 2; echo 3", "wrote more than 2 lines"),
            ("cat > /dev/null; exit 0", "wrote 0 of 2 numbers and ended with exit status: 0"),
        ] {
            let refused = run(text, TIME).unwrap_err().to_string();
            assert!(refused.ends_with(reason), "{refused}");
        }
        let missing = Program::new("/nowhere/program", TIME).rewards(&attempts()).unwrap_err().to_string();
        assert!(missing.contains("could not be started"), "{missing}");
    }

    /// Whether a process is there and not only waiting to be reaped.
    fn is_alive(pid: &str) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        state.is_ok_and(|state| !state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    }

    fn ends(pid: &str) -> bool {
        let until = Instant::now() + TIME;
        while is_alive(pid) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let child = folder.path().join("child");
        let hangs = format!("sleep 1000 & echo $! > {}; echo 1; wait", child.display());
        let command = script(folder.path(), &hangs);
        let begun = Instant::now();
        let refused = Program::new(&command, Duration::from_millis(500)).rewards(&attempts()).unwrap_err().to_string();
        assert!(refused.ends_with("did not answer within 0.5 seconds"), "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(500));
        let pid = std::fs::read_to_string(&child).unwrap();
        assert!(ends(pid.trim()), "its child outlives it");
    }

    #[test]
    fn a_program_that_answers_and_does_not_end_is_killed() {
        let refused = run("echo 1; echo 0; sleep 1000", Duration::from_millis(500)).unwrap_err().to_string();
        assert!(refused.ends_with("did not end within 0.5 seconds"), "{refused}");
    }

    #[test]
    fn a_program_that_writes_without_end_is_killed_and_nothing_piles_up() {
        let refused = run("while :; do echo 1; done", Duration::from_millis(500)).unwrap_err().to_string();
        assert!(refused.ends_with("did not end within 0.5 seconds"), "{refused}");
        let (sender, lines) = channel();
        read_lines(std::io::repeat(b'\n').take(1 << 20), 3, &sender);
        assert_eq!(lines.try_iter().count(), 3);
    }

    #[test]
    fn what_a_program_leaves_behind_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let child = folder.path().join("child");
        let leaves = format!("sleep 1000 > /dev/null & echo $! > {}; echo 1; echo 0", child.display());
        let command = script(folder.path(), &leaves);
        assert_eq!(Program::new(&command, TIME).rewards(&attempts()).unwrap(), [1.0, 0.0]);
        let pid = std::fs::read_to_string(&child).unwrap();
        assert!(ends(pid.trim()), "its child outlives it");
    }
}
