//! `aquatint train`: from a recipe to a run folder.

use crate::arguments::TrainArguments;
use crate::failure::Failure;
use crate::interrupt;
use crate::model;
use crate::printer::Printer;
use crate::training::TrainingScreen;
use aquatint::runtime::{DeviceChoice, Runtime, RuntimeSettings};
use aquatint_train::recipe::Run;
use aquatint_train::{
    Alone, Ending, Launch, Overrides, Ranks, RecipeError, RecipeKind, Ring, RunRecipe, Training, TrainingEvent,
};
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &TrainArguments, printer: &Printer) -> Result<(), Failure> {
    let overrides = Overrides::parse(&arguments.set)?;
    let recipe = RecipeKind::load(&arguments.recipe, &overrides).map_err(|error| {
        // Some of these errors name the file, the others do not know it.
        let named = matches!(error, RecipeError::Read { .. } | RecipeError::Override { .. });
        let failure = Failure::from(error);
        if named { failure } else { failure.context(format!("`{}` is no usable recipe", arguments.recipe.display())) }
    })?;
    match recipe {
        RecipeKind::Language(mut recipe) => {
            place(arguments, &mut recipe.output, &mut recipe.run)?;
            if let Some(initial) = recipe.initial.as_deref().and_then(Path::to_str) {
                // What was pulled from the Hub is named as it is there.
                recipe.initial = Some(model::resolve(initial)?.into());
            }
            train(arguments, &recipe.resolve()?, printer)
        }
        RecipeKind::Pictures(mut recipe) => {
            place(arguments, &mut recipe.output, &mut recipe.run)?;
            train(arguments, &recipe.resolve()?, printer)
        }
        RecipeKind::Sounds(mut recipe) => {
            place(arguments, &mut recipe.output, &mut recipe.run)?;
            train(arguments, &recipe.resolve()?, printer)
        }
        RecipeKind::Matcher(mut recipe) => {
            place(arguments, &mut recipe.output, &mut recipe.run)?;
            train(arguments, &recipe.resolve()?, printer)
        }
    }
}

/// Where the run lies and computes, as far as it was typed.
fn place(arguments: &TrainArguments, output: &mut PathBuf, run: &mut Run) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        output.clone_from(out);
    }
    if arguments.device.expert_memory.is_some() {
        return Err(Failure::new(
            "`--expert-memory` is for models that are run; what is trained is in memory as a whole",
        )
        .hint("leave it out"));
    }
    if arguments.device.threads.is_some() {
        run.threads = arguments.device.threads;
    }
    Ok(())
}

fn train<R: RunRecipe>(arguments: &TrainArguments, recipe: &R, printer: &Printer) -> Result<(), Failure> {
    let launch = Launch::from_environment(|name| std::env::var(name).ok())?;
    let mut settings = settings(arguments, recipe)?;
    if let Some(launch) = &launch {
        settings = settings.for_rank(launch);
    }
    let runtime = Runtime::new(&settings)?;
    arguments.device.warn_of_device(&runtime, printer);
    if arguments.dry_run {
        let training = Training::new(recipe).resume(arguments.resume).stop(interrupt::flag());
        let mut screen = TrainingScreen::new(*printer);
        let checked = runtime.check(training, &mut |event| {
            // What the run would do next is not done.
            if !matches!(event, TrainingEvent::Preparing(_)) {
                screen.show(&event);
            }
        });
        checked.map_err(model::training_failure)?;
        return printer.data(recipe.to_toml()?);
    }
    let ranks: Box<dyn Ranks> = match &launch {
        None => Box::new(Alone),
        Some(launch) => Box::new(join(launch, recipe)?),
    };
    let training = Training::new(recipe).ranks(ranks.as_ref()).resume(arguments.resume).stop(interrupt::flag());
    // From the first step on there is something to save.
    let mut keeping = None;
    let mut keep = |event: &TrainingEvent<'_>| {
        if matches!(event, TrainingEvent::Started(_)) {
            keeping = Some(interrupt::keep("the run is saved first"));
        }
    };
    // The first rank speaks for all; the others only end as it does.
    let mut screen = (ranks.rank() == 0).then(|| TrainingScreen::new(*printer));
    if screen.is_some() {
        printer.detail(runtime.describe_precision());
    }
    let summary = runtime.train(training, &mut |event: TrainingEvent<'_>| {
        keep(&event);
        if let Some(screen) = &mut screen {
            screen.show(&event);
        }
    });
    if let Some(screen) = &mut screen {
        screen.clear();
    }
    let summary = summary.map_err(model::training_failure)?;
    if screen.is_some() {
        model::tell_of_graphs(&runtime, printer);
        printer.data_line(recipe.output().display())?;
    }
    match summary.ending {
        Ending::Complete | Ending::TimeUp => Ok(()),
        Ending::Interrupted => {
            Err(Failure::interrupted(format!("interrupted at step {}; the run is saved", summary.step))
                .hint(resume_hint(arguments)))
        }
    }
}

/// Meets the other ranks, which have to have the same recipe but for where each computes.
fn join<R: RunRecipe>(launch: &Launch, recipe: &R) -> Result<Ring, Failure> {
    Ok(Ring::join(launch, recipe.without_threads().to_toml()?.as_bytes())?)
}

/// The command that goes on with the run.
fn resume_hint(arguments: &TrainArguments) -> String {
    let out = arguments.out.as_ref().map_or_else(String::new, |out| format!(" --out {}", out.display()));
    let quoted = |set: &String| format!(" --set '{}'", set.replace('\'', r"'\''"));
    let set: String = arguments.set.iter().map(quoted).collect();
    format!("aquatint train {}{out}{set} --resume goes on", arguments.recipe.display())
}

/// The device: what was typed, else what the recipe says. Threads that were typed are in the recipe already.
fn settings(arguments: &TrainArguments, recipe: &impl RunRecipe) -> Result<RuntimeSettings, Failure> {
    let typed = RuntimeSettings { threads: recipe.run_settings().threads, ..arguments.device.settings() };
    if typed.device != DeviceChoice::Auto {
        return Ok(typed);
    }
    let named = RuntimeSettings::for_recipe(recipe)
        .map_err(|allowed| Failure::new(format!("`run.device` is \"{}\"; {allowed}", recipe.run_settings().device)))?;
    Ok(RuntimeSettings { device: named.device, ..typed })
}
