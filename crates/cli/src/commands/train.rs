//! `aquatint train`: from a recipe to a run folder.

use crate::arguments::{DeviceArguments, DeviceChoice, TrainArguments};
use crate::failure::Failure;
use crate::model::Plan;
use crate::printer::Printer;
use crate::training::TrainingScreen;
use crate::{gpu, interrupt, machine};
use aquatint_train::recipe::Resolved;
use aquatint_train::{Alone, Ending, Launch, Overrides, Ranks, Recipe, RecipeError, Ring, TrainingEvent};

pub(crate) fn run(arguments: &TrainArguments, printer: &Printer) -> Result<(), Failure> {
    let overrides = Overrides::parse(&arguments.set)?;
    let mut recipe = Recipe::load(&arguments.recipe, &overrides).map_err(|error| {
        // Which file is wrong is for whoever knows its name to say.
        let named = matches!(error, RecipeError::Read { .. } | RecipeError::Override { .. });
        let failure = Failure::from(error);
        if named { failure } else { failure.context(format!("`{}` is no usable recipe", arguments.recipe.display())) }
    })?;
    if let Some(out) = &arguments.out {
        recipe.output.clone_from(out);
    }
    if arguments.device.threads.is_some() {
        recipe.run.threads = arguments.device.threads;
    }
    let recipe = recipe.resolve()?;
    let launch = Launch::from_environment(|name| std::env::var(name).ok())?;
    let mut device = device(arguments, &recipe)?;
    if let Some(launch) = &launch {
        device = share_machine(device, launch);
    }
    let plan = Plan::resolve(&device)?;
    if arguments.dry_run {
        return printer.data(recipe.to_toml()?);
    }
    let ranks: Box<dyn Ranks> = match &launch {
        None => Box::new(Alone),
        Some(launch) => Box::new(join(launch, &recipe)?),
    };
    interrupt::listen(|| {});
    if ranks.rank() > 0 {
        // The first rank speaks for all.
        plan.train(ranks.as_ref(), &recipe, arguments.resume, interrupt::flag(), &mut |_| {})?;
        return Ok(());
    }
    printer.detail(plan.precision_reason());
    let mut screen = TrainingScreen::new(*printer);
    let summary =
        plan.train(ranks.as_ref(), &recipe, arguments.resume, interrupt::flag(), &mut |event: TrainingEvent<'_>| {
            screen.show(&event);
        });
    screen.clear();
    let summary = summary?;
    printer.data_line(recipe.output.display())?;
    match summary.ending {
        Ending::Complete | Ending::TimeUp => Ok(()),
        Ending::Interrupted => Err(Failure::new(format!("interrupted at step {}; the run is saved", summary.step))
            .hint(resume_hint(arguments))
            .negative()),
    }
}

/// Meets the other ranks, which have to have the same recipe but for where each computes.
fn join(launch: &Launch, recipe: &Resolved) -> Result<Ring, Failure> {
    let mut common = recipe.clone();
    common.run.threads = None;
    Ok(Ring::join(launch, common.to_toml()?.as_bytes())?)
}

/// What a rank takes of its machine: the GPU of its local number, or its part of the processor.
fn share_machine(mut device: DeviceArguments, launch: &Launch) -> DeviceArguments {
    let own = launch.local_rank;
    device.device = match device.device {
        DeviceChoice::Cuda(0) => DeviceChoice::Cuda(own),
        DeviceChoice::Auto if gpu::count() > own => DeviceChoice::Cuda(own),
        device => device,
    };
    if device.threads.is_none() {
        device.threads = launch.local_size.map(|ranks| (machine::threads() / ranks.max(1)).max(1));
    }
    device
}

/// The command that goes on with the run.
fn resume_hint(arguments: &TrainArguments) -> String {
    let out = arguments.out.as_ref().map_or_else(String::new, |out| format!(" --out {}", out.display()));
    format!("aquatint train {}{out} --resume goes on", arguments.recipe.display())
}

/// The device: what was typed, else what the recipe says.
fn device(arguments: &TrainArguments, recipe: &Resolved) -> Result<DeviceArguments, Failure> {
    let mut device = arguments.device.clone();
    device.threads = recipe.run.threads;
    if device.device == DeviceChoice::Auto {
        device.device =
            recipe.run.device.parse().map_err(|allowed: String| {
                Failure::new(format!("`run.device` is \"{}\"; {allowed}", recipe.run.device))
            })?;
    }
    Ok(device)
}
