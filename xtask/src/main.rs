//! Project tasks: `cargo xtask tidy` checks what the compiler and the tests cannot, `cargo xtask gpu-bundle` packs what a
//! machine with a GPU needs.
//!
//! This crate may print and exit, like the program itself; nothing that is shipped depends on it.
#![forbid(unsafe_code)]

mod gpu_bundle;
mod repository;
mod rust;
mod shell;
mod tidy;

use repository::Repository;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy [--reading]
       cargo xtask gpu-bundle [FOLDER [FILE...]]

tidy        check all rules of xtask/src/tidy/
--reading   only the rules that read files, not those that run commands
gpu-bundle  pack for benches/gpu/run.sh, into FOLDER (target/gpu-bundle), with each FILE as data of a training";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = Repository::open().and_then(|repository| match words.as_slice() {
        ["tidy"] => Ok(tidy::run(&repository, true)),
        ["tidy", "--reading"] => Ok(tidy::run(&repository, false)),
        ["gpu-bundle"] => gpu_bundle::make(&repository.root, Path::new("target/gpu-bundle"), &[]).map(|()| true),
        ["gpu-bundle", folder, data @ ..] => gpu_bundle::make(&repository.root, Path::new(folder), data).map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2)
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
