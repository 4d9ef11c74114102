//! `aquatint train`: from a recipe to a run folder.

use crate::arguments::{DeviceArguments, DeviceChoice, TrainArguments};
use crate::failure::Failure;
use crate::interrupt;
use crate::model::Plan;
use crate::printer::Printer;
use crate::training::TrainingScreen;
use aquatint_train::recipe::Resolved;
use aquatint_train::{Ending, Overrides, Recipe, RecipeError, TrainError, TrainingEvent};

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
    let plan = Plan::resolve(&device(arguments, &recipe)?)?;
    if arguments.dry_run {
        return printer.data(recipe.to_toml()?);
    }
    printer.detail(plan.precision_reason());
    let mut screen = TrainingScreen::new(*printer);
    interrupt::listen(|| {});
    let summary = plan.train(&recipe, arguments.resume, interrupt::flag(), &mut |event: TrainingEvent<'_>| {
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

impl From<RecipeError> for Failure {
    fn from(error: RecipeError) -> Self {
        Self::advised(&error)
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        Self::advised(&error)
    }
}
