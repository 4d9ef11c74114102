//! Says of each line of standard input whether it is a molecule: `1` and of how many parts, or `0` and why.
//!
//! Run with: `printf 'CCO\nC1CC\n' | cargo run --release -p aquatint-molecule --example valid`

use aquatint_molecule::Molecule;
use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        match Molecule::parse(line?.trim_end()) {
            Ok(molecule) => writeln!(out, "1\t{}", molecule.parts())?,
            Err(error) => writeln!(out, "0\t{error}")?,
        }
    }
    out.flush()
}
