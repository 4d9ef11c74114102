//! What a model has to beat, on the texts that its recipe names: n-grams trained on the same text, and the held-out
//! text itself for compressors. `baselines/run.sh` prints the whole table. The n-grams also judge generated texts:
//! `models/sampling.sh` compares sampling settings by them.
//!
//! This crate may print and exit; nothing that is shipped depends on it.
#![forbid(unsafe_code)]

mod grams;
mod judge;
mod kneser_ney;
mod symbols;

use aquatint_train::recipe::SourceRecipe;
use aquatint_train::{Overrides, Recipe};
use aquatint_vocabulary::Vocabulary;
use kneser_ney::KneserNey;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use symbols::{Unit, each_passage};

/// Excerpts of held-out text that stand beside generated ones.
const EXCERPTS: usize = 256;

const USAGE: &str = "usage: baselines text RECIPE                         held-out text to standard output
       baselines n-grams RECIPE ORDER                over bytes
       baselines n-grams RECIPE ORDER TOKENIZER.json over the tokens of a vocabulary
       baselines judge RECIPE ORDER TOKENIZER.json TEXTS.jsonl...
                                                     generated texts: likelihood under the n-grams, and variety";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["text", recipe] => text(recipe),
        ["n-grams", recipe, order] => n_grams(recipe, order, None),
        ["n-grams", recipe, order, tokenizer] => n_grams(recipe, order, Some(tokenizer)),
        ["judge", recipe, order, tokenizer, texts @ ..] if !texts.is_empty() => {
            judge_texts(recipe, order, tokenizer, texts)
        }
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The held-out documents, a line feed between two.
fn text(recipe: &str) -> Result<(), Box<dyn Error>> {
    let recipe = Recipe::load(Path::new(recipe), &Overrides::default())?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut between = false;
    each_passage(&recipe.data.valid, &mut |text, ends_document| {
        if std::mem::replace(&mut between, false) {
            out.write_all(b"\n")?;
        }
        out.write_all(text.as_bytes())?;
        between = ends_document;
        Ok(())
    })?;
    Ok(out.flush()?)
}

/// Trains on the training texts and prints what the held-out ones cost.
fn n_grams(recipe: &str, order: &str, tokenizer: Option<&str>) -> Result<(), Box<dyn Error>> {
    let data = Recipe::load(Path::new(recipe), &Overrides::default())?.data;
    let unit = match tokenizer {
        None => Unit::Bytes,
        Some(path) => Unit::Tokens(Box::new(Vocabulary::from_file(Path::new(path))?)),
    };
    let (model, name) = (trained(&data.train, &unit, order)?, unit.name());
    let valid = unit.read(&data.valid)?;
    let cost = model.cost(&valid.symbols);
    let bits_per_byte = cost.bits / valid.bytes as f64;
    println!(
        "| {order}-gram over {name}, modified Kneser-Ney | {bits_per_byte:.4} | {:.3} nats per symbol, {} symbols, {} bytes |",
        cost.bits * std::f64::consts::LN_2 / cost.symbols as f64,
        cost.symbols,
        valid.bytes
    );
    Ok(())
}

/// Trains on the training texts and prints what it makes of generated ones, a line for each file.
fn judge_texts(recipe: &str, order: &str, tokenizer: &str, files: &[&str]) -> Result<(), Box<dyn Error>> {
    let data = Recipe::load(Path::new(recipe), &Overrides::default())?.data;
    let unit = Unit::Tokens(Box::new(Vocabulary::from_file(Path::new(tokenizer))?));
    let model = trained(&data.train, &unit, order)?;
    println!(
        "| texts | nats/token | entropy | distinct 2-grams | repeated 4-grams | passes/token | canvases read/token |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for file in files {
        println!("{}", judge::judge(&model, &unit, Path::new(file))?);
    }
    println!("{}", judge::held_out(&model, &unit.read(&data.valid)?.symbols, EXCERPTS)?);
    Ok(())
}

/// n-grams of some order over the texts of a recipe.
fn trained(texts: &[SourceRecipe], unit: &Unit, order: &str) -> Result<KneserNey, Box<dyn Error>> {
    let order: usize = order.parse().map_err(|_| format!("`ORDER` is {order}; allowed: a number from 1"))?;
    let begun = Instant::now();
    let train = unit.read(texts)?;
    eprintln!(
        "read {} documents, {} bytes, {} {} ({:.0} s)",
        train.documents,
        train.bytes,
        train.symbols.len(),
        unit.name(),
        begun.elapsed().as_secs_f64()
    );
    let model =
        KneserNey::train(train.symbols, order, unit.count(), unit.end()?).map_err(|refusal| refusal.to_string())?;
    eprintln!("n-grams of each order: {:?} ({:.0} s)", model.sizes(), begun.elapsed().as_secs_f64());
    Ok(model)
}
