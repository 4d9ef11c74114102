//! `cargo xtask gpu-bundle`: what a machine with a GPU and no toolchain needs beside a checkout, to run
//! `benches/gpu/run.sh`.
//!
//! | in `bundle.tar.xz` | what |
//! |---|---|
//! | `bin/` | the program, and the tests of operations, networks and training |
//! | `processor/` | what the processor finds in the work of `benches/gpu/cases.sh` |
//! | `libprofile.so` | the profiler by kernel, where CUPTI could be had |
//! | `root`, `commit` | where tests look for their data, and what was built |
//!
//! Data of a training travel in `data/`, which recipes there name `bundle/FILE`: `.jsonl` compressed as `.jsonl.xz`, all
//! else as it is.

use cargo_metadata::Message;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The tests that are run on a GPU: package, target, and what they are called in the bundle.
const TESTS: [(&str, &str, &str); 3] = [
    ("aquatint-compute", "aquatint_compute", "test-compute"),
    ("aquatint-network", "networks", "test-network"),
    ("aquatint-train", "training", "test-train"),
];
const PROGRAM: &str = "aquatint";
const ARCHIVE: &str = "bundle.tar.xz";
/// Headers and library of CUPTI, which profiles by kernel, by their packages on PyPI.
const CUPTI: [&str; 3] = ["nvidia-cuda-cupti==13.0.85", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88"];

/// Makes the bundle in a folder, with these files as `data/`.
///
/// # Errors
/// What could not be built, copied or packed.
pub(crate) fn make(root: &Path, folder: &Path, data: &[&str]) -> Result<(), String> {
    let (target, bundle) = (root.join("target"), root.join(folder));
    let staged = target.join("gpu-bundle.staged");
    if staged.exists() {
        fs::remove_dir_all(&staged).map_err(failed("clear", &staged))?;
    }
    for folder in [staged.join("bin"), bundle.clone()] {
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
    }
    println!("building");
    run(Command::new("cargo").args(["build", "--release", "--locked"]).current_dir(root))?;
    let program = target.join("release").join(PROGRAM);
    copy(&program, &staged.join("bin").join(PROGRAM))?;
    for (name, path) in tests(root)? {
        copy(&path, &staged.join("bin").join(name))?;
    }
    let commit = output(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root))?;
    write(&staged.join("commit"), &commit)?;
    write(&staged.join("root"), &format!("{}\n", root.display()))?;
    if let Err(reason) = profiler(root, &target, &staged) {
        println!("without profiles by kernel: {reason}");
    }
    processor(root, &target, &program, &staged)?;
    println!("packing");
    let stripped = fs::read_dir(staged.join("bin")).map_err(failed("list", &staged))?;
    for program in stripped.filter_map(Result::ok) {
        run(Command::new("strip").arg(program.path()))?;
    }
    let archive = bundle.join(ARCHIVE);
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "-C"]).arg(&staged).arg("-cJf").arg(&archive).arg(".");
    // The programs have much in common, which a dictionary finds that is larger than each of them.
    run(tar.env("XZ_OPT", "--lzma2=preset=6,dict=64MiB"))?;
    let beside = bundle.join("data");
    if !data.is_empty() {
        fs::create_dir_all(&beside).map_err(failed("make", &beside))?;
    }
    for file in data {
        let path = Path::new(file);
        let name = path.file_name().ok_or_else(|| format!("`{file}` is no file"))?;
        let copied = beside.join(name);
        copy(path, &copied)?;
        if copied.extension().is_some_and(|extension| extension == "jsonl") {
            run(Command::new("xz").args(["--force", "-9", "--"]).arg(&copied))?;
        }
    }
    println!("{}: {}", bundle.display(), output(Command::new("du").args(["-sh", "--"]).arg(&bundle))?.trim());
    Ok(())
}

/// The executables of the tests, by what they are called in the bundle.
fn tests(root: &Path) -> Result<Vec<(&'static str, PathBuf)>, String> {
    let mut command = Command::new("cargo");
    command.args(["test", "--release", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(TESTS.iter().flat_map(|(package, ..)| ["-p", package]));
    command.args(["--lib", "--test", "networks", "--test", "training"]).current_dir(root).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cargo could not be started: {error}"))?;
    let printed = child.stdout.take().ok_or("cargo has no output")?;
    let built = executables(BufReader::new(printed))?;
    match child.wait() {
        Ok(status) if status.success() => {}
        _ => return Err("the tests could not be built".to_owned()),
    }
    let of = |(_, target, name): &(&str, &str, &'static str)| {
        let found = built.iter().find(|(built, _)| built == target);
        found.map(|(_, path)| (*name, path.clone())).ok_or_else(|| format!("no executable of `{target}` was built"))
    };
    TESTS.iter().map(of).collect()
}

/// The executables of tests in cargo's messages, with the names of their targets.
fn executables(messages: impl std::io::BufRead) -> Result<Vec<(String, PathBuf)>, String> {
    let mut all = Vec::new();
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artifact) = message.map_err(|error| error.to_string())?
            && let Some(path) = artifact.executable
            && artifact.profile.test
        {
            all.push((artifact.target.name, path.into_std_path_buf()));
        }
    }
    Ok(all)
}

/// Compiles the profiler, with the headers of CUPTI's package.
fn profiler(root: &Path, target: &Path, staged: &Path) -> Result<(), String> {
    let packages = target.join("cupti");
    let cupti = packages.join("nvidia/cu13");
    if !cupti.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&packages).args(CUPTI);
        run(&mut pip)?;
    }
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-shared", "-fPIC"]).arg("-I").arg(cupti.join("include"));
    cc.arg(root.join("benches/gpu/profile.c")).arg("-o").arg(staged.join("libprofile.so"));
    run(cc.arg(cupti.join("lib/libcupti.so.13")).arg("-lpthread"))
}

/// What the processor finds, once for each program.
fn processor(root: &Path, target: &Path, program: &Path, staged: &Path) -> Result<(), String> {
    let (script, cached) = (root.join("benches/gpu/cases.sh"), target.join("gpu-processor"));
    let results = staged.join("processor");
    for folder in [&cached, &results] {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
    }
    let names = output(Command::new("bash").arg(&script).arg("names").current_dir(root))?;
    for name in names.split_whitespace() {
        let found =
            |extension: &str| Some(cached.join(format!("{name}.{extension}"))).filter(|path| is_newer(path, program));
        if ["jsonl", "txt"].iter().find_map(|extension| found(extension)).is_none() {
            println!("on the processor: {name}");
            let mut case = Command::new("bash");
            case.arg(&script).arg(name).arg(program).arg("cpu").arg(&cached).current_dir(root);
            run(case.stdout(Stdio::null()).stderr(Stdio::null()))?;
        }
        let path = ["jsonl", "txt"].iter().find_map(|extension| found(extension));
        let path = path.ok_or_else(|| format!("the case `{name}` left no result"))?;
        copy(&path, &results.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Whether a file is there and was written after another one.
fn is_newer(path: &Path, other: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    written(path).is_some_and(|time| Some(time) > written(other))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed: {status}")),
        Err(error) => Err(format!("{command:?} could not be started: {error}")),
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?} could not be started: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?} failed: {}", output.status)),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(|_| ()).map_err(failed("copy", from))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(failed("write", path))
}

fn failed<'a>(action: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> String + 'a {
    move |error| format!("could not {action} `{}`: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_of_tests_are_found_in_messages_of_cargo() {
        let artifact = |name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/c/Cargo.toml","target":{{"kind":["lib"],"crate_types":["lib"],"name":"{name}","src_path":"/c/src/lib.rs","edition":"2024","doc":true,"doctest":true,"test":true}},"profile":{{"opt_level":"3","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":{test}}},"features":[],"filenames":[],"executable":{executable},"fresh":true}}"#
            )
        };
        let messages = [
            artifact("aquatint_compute", false, "null"),
            artifact("aquatint_compute", true, "\"/t/one\""),
            artifact("aquatint", false, "\"/t/program\""),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let found = executables(messages.join("\n").as_bytes()).unwrap();
        assert_eq!(found, [("aquatint_compute".to_owned(), PathBuf::from("/t/one"))]);
    }

    #[test]
    fn a_file_that_is_not_there_is_not_newer() {
        let room = std::env::temp_dir().join(format!("gpu-bundle-{}", std::process::id()));
        fs::create_dir_all(&room).unwrap();
        let (old, new) = (room.join("old"), room.join("new"));
        write(&old, "").unwrap();
        fs::File::open(&old).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        write(&new, "").unwrap();
        assert!(is_newer(&new, &old) && !is_newer(&old, &new) && !is_newer(&room.join("none"), &old));
        fs::remove_dir_all(&room).unwrap();
    }
}
