//! Runs as people start, kill and move them: one owner for each folder, nothing left of killed saves, and nothing done that
//! was refused.
#![cfg(unix)]

use crate::support::{ProgramOutput, aquatint, piped, program, recipe, room, text};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn train(path: &Path, more: &[&str]) -> ProgramOutput {
    aquatint(&[&["train", text(path), "--threads", "1"][..], more].concat())
}

/// The files under a folder whose names begin with a dot.
fn hidden(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let inside = |path: PathBuf| match path.is_dir() {
        true => hidden(&path),
        false if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) => vec![path],
        false => Vec::new(),
    };
    entries.map(|entry| entry.expect("the folder can be read").path()).flat_map(inside).collect()
}

#[test]
fn a_second_process_is_refused_while_the_first_one_trains() {
    let path = recipe("own-two");
    let endless = ["train", text(&path), "--set", "run.steps=1000000", "--set", "run.log_every=1", "--threads", "1"];
    let mut first = program().args(endless).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("step 2 ")), "the run does not begin");
    let refused = train(&path, &["-q"]).expect(2).err;
    let held = format!("is in use by process {}", first.id());
    assert!(refused.starts_with("error: `") && refused.contains(&held), "{refused}");
    assert!(refused.contains("\n\nhint: wait until it ends"), "{refused}");
    // A kill leaves the lock file, which is no lock any more.
    assert!(Command::new("kill").args(["-KILL", &first.id().to_string()]).status().unwrap().success());
    first.wait().unwrap();
    let run = room("own-two").join("run");
    assert!(run.join("state/lock").is_file());
    train(&path, &["-q", "--set", "run.steps=3"]).expect(0);
    assert!(!run.join("state/lock").exists());
}

#[test]
fn what_is_killed_while_it_saves_goes_on_and_leaves_no_litter() {
    let path = recipe("own-kill");
    let run = room("own-kill").join("run");
    let state = run.join("state/run.safetensors");
    let endless = ["--set", "run.steps=1000000", "--set", "run.save_every=1", "--set", "run.log_every=1000000"];
    let (mut kills, mut litter) = (0, 0);
    // Until a kill has hit a save in the middle, which most do here.
    while litter == 0 && kills < 30 {
        let resume: &[&str] = if state.is_file() { &["--resume"] } else { &[] };
        let begun = state.metadata().and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut command = program();
        command.args(["train", text(&path), "-q", "--threads", "1"]).args(endless).args(resume);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while state.metadata().and_then(|about| about.modified()).is_ok_and(|now| now <= begun) || !state.is_file() {
            assert!(child.try_wait().unwrap().is_none(), "the run ends by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(3 * kills));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        litter = hidden(&run).len();
    }
    assert!(litter > 0, "no kill hit a save");
    let saved = aquatint(&["train", text(&path), "--resume", "-q", "--set", "run.steps=1"]).expect(0);
    assert_eq!(saved.err, "");
    aquatint(&["train", text(&path), "--resume", "--set", "run.steps=1000000", "--set", "run.max_minutes=0.001"])
        .expect(0);
    assert_eq!(hidden(&run), [] as [PathBuf; 0]);
}

#[test]
fn a_dry_run_refuses_what_the_run_would_refuse() {
    let path = recipe("own-dry");
    let run = room("own-dry").join("run");
    for (set, expected) in [
        ("objective.process=gausian:16", "`objective.process`"),
        ("network.rope_theta=-5", "`network.rope_theta` is -5; allowed: more than 1"),
        ("network.time_conditioning=3", "`network.time_conditioning` is 3; allowed: an even number"),
        ("data.vocabulary_size=10", "`data.vocabulary_size` is 10; allowed: 260"),
        ("data.train=[{path=\"nowhere\"}]", "could not read `nowhere`"),
        ("data.vocabulary=nowhere.json", "could not read `nowhere.json`"),
        ("initial=nowhere", "no checkpoint `nowhere`"),
        ("optimiser.epsilon=-1", "`optimiser.epsilon` is -1; allowed: above 0"),
        ("run.max_minutes=nan", "`run.max_minutes` is NaN; allowed: 0 or more"),
        ("network.layers=60000", "of memory on the machine"),
        ("optimiser.groups=[{parameters='nothing'}]", "chooses nothing by `nothing`"),
    ] {
        // A network so wide that no machine holds it, where the system says what this one has.
        let wide = set.contains("layers");
        if wide && cfg!(not(target_os = "linux")) {
            continue;
        }
        let more: &[&str] =
            if wide { &["--set", "network.width=65536", "--set", "network.feed_forward_width=262144"] } else { &[] };
        let dry = train(&path, &[&["--dry-run", "--set", set], more].concat()).expect(2);
        assert_eq!(dry.out, "", "{set}");
        assert!(dry.err.contains(expected), "{set}: {}", dry.err);
        let real = train(&path, &[&["-q", "--set", set], more].concat()).expect(2);
        assert_eq!(real.err, dry.err, "{set}");
        assert!(!run.exists(), "{set} left a folder");
    }
    train(&path, &["--set", "run.steps=1", "-q"]).expect(0);
    let again = train(&path, &["--dry-run"]).expect(2).err;
    assert!(again.contains("already holds a run at step 1"), "{again}");
    train(&path, &["--dry-run", "--resume"]).expect(0);
    let other = train(&path, &["--dry-run", "--resume", "--set", "seed=2"]).expect(2).err;
    assert!(other.contains("is another one: `seed` is 1 there and 2 here"), "{other}");
}

#[test]
fn held_out_text_that_is_trained_on_is_warned_of_in_a_dry_run_too() {
    let path = recipe("own-overlap");
    let room = room("own-overlap");
    std::fs::copy(room.join("train/a.txt"), room.join("valid/b.txt")).unwrap();
    for more in [&["--dry-run"][..], &["--set", "run.steps=1"]] {
        let output = train(&path, more).expect(0);
        assert!(output.err.contains("warning: 1 of 2 held-out files are also trained on, such as `"), "{}", output.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_while_a_run_is_saved_is_a_failure_and_the_run_stays() {
    let path = recipe("own-full");
    train(&path, &["-q"]).expect(0);
    let state = room("own-full").join("run/state/run.safetensors");
    let before = std::fs::read(&state).unwrap();
    // Files may grow to 8 blocks of 512 or 1024 bytes; what would be written beyond is refused.
    let line = "ulimit -f 8; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_aquatint"), "train", text(&path), "--resume", "-q"]);
    let output = ProgramOutput::from(command.args(["--set", "run.steps=8"]).output().unwrap()).expect(1);
    assert!(output.err.contains("could not write"), "{}", output.err);
    assert!(output.err.contains("hint: a file may not be that large here"), "{}", output.err);
    assert!(std::fs::read(&state).unwrap() == before, "the state from before is gone");
    train(&path, &["-q", "--resume", "--set", "run.steps=8"]).expect(0);
}

#[test]
fn a_recipe_may_come_through_a_pipe() {
    let path = recipe("own-pipe");
    let written = std::fs::read(&path).unwrap();
    piped(&["train", "/dev/stdin", "--dry-run"], &written).expect(0);
}
