//! Follows a recipe: `cargo run --release -p aquatint-train --example run -- RECIPE [--resume] [key=value …]`.

use aquatint_compute::{Cpu, CpuPath};
use aquatint_train::{Overrides, Recipe, TrainingEvent, train};
use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let resume = arguments.iter().any(|a| a == "--resume");
    arguments.retain(|a| a != "--resume");
    let (recipe, pairs) = arguments.split_first().ok_or("name a recipe")?;
    let recipe = Recipe::load(Path::new(recipe), &Overrides::parse(pairs)?)?.resolve()?;
    let threads = recipe.run.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let device = Cpu::<f32>::new(CpuPath::best(), threads.unwrap_or(1))?;
    train(&recipe, device, resume, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::Recipe(recipe) => println!("{}", recipe.to_toml().unwrap_or_default()),
        TrainingEvent::Step(f) => println!(
            "step {:6}  loss {:.4}  bits/byte {:.4}  norm {:.3}  rate {:.2e}  {:.0} tokens/s  epoch {:.3}  {:.0} s, {:.0} s left",
            f.step,
            f.loss,
            f.bits_per_byte,
            f.gradient_norm,
            f.learning_rate,
            f.tokens_per_second,
            f.epochs,
            f.seconds,
            f.seconds_left
        ),
        other => println!("{other:?}"),
    })?;
    Ok(())
}
