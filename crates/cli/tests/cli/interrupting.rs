//! Requests to end: heard in every phase, and at once the second time.
#![cfg(unix)]

use crate::support::{ProgramOutput, model, program, recipe, room, story, text};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What "within a second" is on a machine that runs other tests too.
const SOON: Duration = Duration::from_secs(4);

fn started(arguments: &[&str]) -> Child {
    let mut command = program();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill is there").success());
}

/// Waits until the program ends, which it has to do soon.
#[track_caller]
fn ended(mut child: Child) -> ProgramOutput {
    let begun = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if begun.elapsed() > SOON {
            child.kill().expect("it can be killed");
            panic!("it is still running {SOON:?} after it was asked to end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output can be read").into()
}

/// The hidden files under a folder, which are those of unfinished writes.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => unfinished(&path),
            false => Vec::from_iter(path.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'.').then_some(path)),
        })
        .collect()
}

#[test]
fn preparing_is_stopped_soon_and_leaves_nothing() {
    let path = recipe("interrupt-preparing");
    // So many different words that learning a vocabulary takes much longer than a second.
    let mut words = String::new();
    let mut draw = 1u64;
    for number in 0..400_000 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let letter = |shift: u64| char::from(b'a' + ((draw >> shift) % 26) as u8);
        words.extend([20, 25, 30, 35, 40, 45, 50].map(letter));
        words.push(if number % 12 == 0 { '\n' } else { ' ' });
    }
    std::fs::write(room("interrupt-preparing").join("train/a.txt"), words).unwrap();
    for name in ["-TERM", "-INT"] {
        let mut child = started(&["train", text(&path), "--set", "data.vocabulary_size=30000"]);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "training a vocabulary"));
        std::thread::sleep(Duration::from_millis(200));
        signal(&child, name);
        let said: Vec<String> = lines.collect();
        let output = ended(child).expect(1);
        assert!(said.iter().any(|line| line.starts_with("error: ")), "{said:?}");
        assert_eq!(output.out, "");
        assert_eq!(unfinished(&room("interrupt-preparing")), [] as [PathBuf; 0]);
    }
}

#[test]
fn what_was_filled_of_many_is_said_with_its_seeds() {
    let arguments = ["generate", "The [[6]]", "-m", model(), "--seed", "7", "--count", "1000000", "--format", "jsonl"];
    let mut child = started(&arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut last = lines.next().unwrap();
    signal(&child, "-INT");
    lines.for_each(|line| last = line);
    let output = ended(child).expect(1);
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    let seeds = format!(", seeds 7 to {}", last["seed"]);
    assert!(output.err.lines().any(|line| line.ends_with(&seeds)), "{seeds}: {}", output.err);
}

#[test]
fn a_command_that_waits_for_input_is_ended_soon() {
    let child = started(&["generate", "-"]);
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-TERM");
    assert_eq!(ended(child).expect(1).err, "error: interrupted\n");
}

#[test]
fn a_prompt_outlives_ctrl_c_and_ends_by_sigterm() {
    // `script` gives the program a terminal.
    let command = format!("echo $$; exec {} run {}", env!("CARGO_BIN_EXE_aquatint"), model());
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script is there");
    let mut shown = BufReader::new(child.stdout.take().expect("there is a pipe"));
    let mut first = String::new();
    shown.read_line(&mut first).expect("the shell shows its number");
    let process = first.trim().to_owned();
    let send = |name: &str| Command::new("kill").args([name, &process]).status().expect("kill is there").success();
    let mut until = |words: &str| {
        let mut text = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&text).ends_with(words) {
            std::io::Read::read_exact(&mut shown, &mut byte).expect("there is more to read");
            text.push(byte[0]);
        }
    };
    until(">>> ");
    assert!(send("-INT"));
    until("Ctrl-D or /bye leaves.\r\n>>> ");
    assert!(send("-TERM"));
    assert_eq!(ended(child).code, 1);
}

#[cfg(target_os = "linux")]
#[test]
fn nohup_keeps_a_program_alive_after_a_logout() {
    // Whoever runs the tests may ignore SIGHUP.
    let hung_up = |disposition: &str| {
        let mut command = Command::new("env");
        command.args([disposition, env!("CARGO_BIN_EXE_aquatint"), "generate", "-"]).stdin(Stdio::piped());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(500));
        signal(&child, "-HUP");
        child
    };
    assert_eq!(ended(hung_up("--default-signal=HUP")).expect(1).err, "error: interrupted\n");
    let mut child = hung_up("--ignore-signal=HUP");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "the hangup ended it");
    signal(&child, "-TERM");
    assert_eq!(ended(child).expect(1).err, "error: interrupted\n");
}

#[test]
fn all_ranks_of_an_interrupted_run_end_alike() {
    let path = recipe("interrupt-ranks");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().to_string();
    let rank = |rank: &str| {
        let mut command = program();
        command.args(["train", text(&path), "--threads", "1", "--set", "run.steps=1000000"]);
        command.envs([("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")]);
        command.env("MASTER_PORT", &port).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (mut first, second) = (rank("0"), rank("1"));
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("network: ")), "training does not begin");
    // Only one of them is asked to end.
    signal(&first, "-INT");
    let said: Vec<String> = lines.collect();
    assert!(said.iter().any(|line| line.starts_with("error: interrupted at step ")), "{said:?}");
    ended(first).expect(1);
    ended(second).expect(1);
}

#[test]
fn a_second_request_does_not_wait_for_the_save() {
    let path = recipe("interrupt-twice");
    std::fs::write(room("interrupt-twice").join("train/a.txt"), story(4000)).unwrap();
    // One pass takes longer than this test.
    let set = ["network.width=512", "network.layers=4", "network.feed_forward_width=2048", "network.heads=8"];
    let set = set.into_iter().chain(["network.head_size=64", "data.canvas_length=512", "optimiser.batch=24"]);
    let arguments: Vec<&str> =
        ["train", text(&path), "--threads", "1"].into_iter().chain(set.flat_map(|set| ["--set", set])).collect();
    let mut child = started(&arguments);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("network: ")), "training does not begin");
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "-INT");
    assert_eq!(lines.next().as_deref(), Some("the run is saved first; a second Ctrl-C ends at once"));
    assert!(child.try_wait().unwrap().is_none(), "the first request waits for the step");
    signal(&child, "-INT");
    assert_eq!(lines.next().as_deref(), Some("error: interrupted"));
    ended(child).expect(1);
}

#[test]
fn a_long_generation_stops_with_what_it_has() {
    let trace = room("interrupt-trace").join("trace.jsonl");
    let many = ["generate", "The fox", "-m", model(), "-n", "16", "--policy", "ancestral", "--steps", "1000000"];
    for name in ["-TERM", "-INT"] {
        let mut child = started(&[&many[..], &["--format", "jsonl", "--trace", text(&trace)]].concat());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.next().is_some_and(|line| line.contains("\"started\"")));
        signal(&child, name);
        assert!(lines.last().is_some_and(|line| line.contains("\"finish_reason\":\"cancelled\"")), "{name}");
        ended(child).expect(1);
        assert_eq!(unfinished(&room("interrupt-trace")), [] as [PathBuf; 0]);
    }
}

#[test]
fn measuring_ends_where_it_is() {
    let data = room("interrupt-data").join("a.txt");
    std::fs::write(&data, crate::support::story(40)).unwrap();
    let bench = ["bench", model(), "--repeat", "1000000000", "-v"];
    let eval = ["eval", "likelihood", "-m", model(), "--samples", "100000000", "-v", "--data", text(&data)];
    for (arguments, moment) in [(&bench[..], "measuring "), (&eval[..], " canvases on ")] {
        for name in ["-TERM", "-INT"] {
            let mut child = started(arguments);
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
            assert!(lines.any(|line| line.contains(moment)), "{arguments:?}");
            signal(&child, name);
            assert_eq!(lines.last().as_deref(), Some("error: interrupted"), "{arguments:?}");
            ended(child).expect(1);
        }
    }
}

/// Runs a program at a terminal of its own that does not answer, waits until it is queried, asks it twice to end, and says
/// whether the terminal shows what is typed, meanwhile and when the program has ended.
const AT_A_TERMINAL: &str = r#"
import fcntl, os, pty, signal, sys, termios
master, terminal = pty.openpty()
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)
    os.execve(sys.argv[2], sys.argv[2:], {"TERM": "xterm-256color", "XDG_CACHE_HOME": sys.argv[1]})
echoes = lambda: bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
said = b""
while b"\x1b[16t\x1b[c" not in said:
    said += os.read(master, 4096)
asked = echoes()
os.kill(child, signal.SIGTERM)
os.kill(child, signal.SIGINT)
os.waitpid(child, 0)
print("while it is asked:", asked, "behind it:", echoes())
"#;

#[test]
fn a_terminal_that_is_queried_shows_again_what_is_typed() {
    let python = Command::new("python3").arg("-c").arg("import fcntl, pty, termios").status();
    if !python.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 is missing; .ci/run installs it");
        return writeln!(std::io::stderr(), "skipped: a terminal that is asked: python3 is missing").unwrap();
    }
    let mut command = Command::new("python3");
    command.args(["-c", AT_A_TERMINAL, text(&room("cache"))]).arg(program().get_program());
    let output = command.args(["generate", "[[picture]]", "--seed", "7", "-m", crate::media::joint()]).output();
    let output: ProgramOutput = output.expect("python3 starts").into();
    assert_eq!(output.expect(0).out, "while it is asked: False behind it: True\n");
}
