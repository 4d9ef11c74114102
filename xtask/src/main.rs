//! Project tasks: `cargo xtask tidy` checks what the compiler and the tests cannot.
//!
//! This crate may print and exit, like the program itself; nothing that is shipped depends on it.
#![forbid(unsafe_code)]

mod repository;
mod rust;
mod shell;
mod tidy;

use repository::Repository;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy [--reading]

tidy        check all rules of xtask/src/tidy/
--reading   only the rules that read files, not those that run commands";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let running = match words.as_slice() {
        ["tidy"] => true,
        ["tidy", "--reading"] => false,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match Repository::open() {
        Ok(repository) if tidy::run(&repository, running) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
