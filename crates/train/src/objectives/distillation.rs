//! Distillation into fewer steps: a student learns to predict at once what its teacher predicts two steps later.
//!
//! From a canvas that is noisy at the beginning of one of the student's `S` steps, the teacher takes two of its `2S`
//! along the process's own walk back; the student learns its prediction about every position from the noisy canvas
//! alone, by `KL(teacher ‖ student)`. A position that the teacher makes final in its first step is predicted as it was
//! then. After a round the student is the teacher of the next, with half as many steps.
//!
//! For masked diffusion that is self-distillation through time (SDTT, 2410.21035, section 3); for a field, where the
//! walk without churn is the probability flow, it is progressive distillation (Salimans & Ho, 2202.00512) of the
//! prediction, which makes it consistent along the flow (consistency models, 2303.01469).
//!
//! Deviation: all positions of a canvas weigh alike, and each canvas as much as any other, whatever its time.

mod lesson;

use super::Registered;
use super::diffusion::{Diffusion, canvases_together};
use crate::objective::{
    Figure, HeldOutCost, Objective, ObjectiveState, PER_TOKEN, Pass, PassCost, Setting, Step, TrainedModel,
};
use crate::parallel::barrier;
use crate::recipe::{Distil, ObjectiveKind, Resolved};
use crate::{RecipeError, TrainError};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Key, Process, TimeDensity, divergence};
use aquatint_network::{Denoiser, Learner, ProcessSpec, RowSlots};
use lesson::Teacher;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Stream of randomness under the run's seed.
const LESSONS: u64 = 5;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |recipe| recipe.distillation.is_some(),
    check,
    canvases_together,
    begin: |setting| Ok(Box::new(Distillation::begin(setting)?)),
};

fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    let wrong = |given: String, allowed| Err(RecipeError::value("distillation", given, allowed));
    let Some(distil) = recipe.distillation else { return Ok(()) };
    if recipe.initial.is_none() || recipe.objective.kind != ObjectiveKind::Diffusion {
        return wrong("set".into(), "with `initial`, the teacher, and a diffusion objective");
    }
    if distil.rounds == 0 || distil.rounds > 20 || distil.steps >> distil.rounds == 0 {
        let given = format!("{} steps, {} rounds", distil.steps, distil.rounds);
        return wrong(given, "1 round or more, and so many steps that each can halve them");
    }
    Ok(())
}

/// A student's lessons.
struct Distillation {
    diffusion: Diffusion,
    recipe: Distil,
    teacher: Box<dyn Denoiser>,
    /// Rounds that have begun after the first.
    round: u64,
    key: Key,
    run_steps: u64,
    /// The run's folder, where the teachers of later rounds are kept, so that a resumed run has the same.
    output: PathBuf,
}

/// What the run's state keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    round: u64,
}

impl Distillation {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let recipe = setting.recipe;
        let (Some(distil), Some(initial)) = (recipe.distillation, &recipe.initial) else {
            let allowed = "a table with `steps` and `rounds`, and `initial`, the teacher";
            return Err(RecipeError::value("distillation", "unset", allowed).into());
        };
        let round = setting.saved::<Counted>()?.map_or(0, |saved| saved.round);
        let output = recipe.output.clone();
        let folder = if round == 0 { initial.clone() } else { teacher_folder(&output, round) };
        Ok(Self {
            teacher: same_process(setting.open(&folder)?, &setting.spec.process)?,
            diffusion: Diffusion::begin(setting)?,
            recipe: distil,
            round,
            key: Key::new(recipe.seed).fold(LESSONS),
            run_steps: recipe.run.steps,
            output,
        })
    }

    /// Makes the averaged weights the teacher when a new round begins.
    fn change_teacher(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<(), TrainError> {
        let round = step.number * self.recipe.rounds / self.run_steps.max(1);
        if round == self.round {
            return Ok(());
        }
        let folder = teacher_folder(&self.output, round);
        model.save_average(step.ranks, &folder, &|defaults| self.describe_generation(defaults))?;
        barrier(step.ranks)?;
        let teacher = model.open(&folder)?;
        self.teacher = same_process(teacher, &self.teacher.spec().process)?;
        self.round = round;
        Ok(())
    }

    fn teacher(&self) -> Teacher<'_> {
        Teacher {
            network: self.teacher.as_ref(),
            process: self.diffusion.process.as_ref(),
            key: self.key,
            student_steps: (self.recipe.steps >> (self.round + 1)).max(1),
            prompt: self.diffusion.recipe.prompt,
        }
    }
}

impl Objective for Distillation {
    fn process(&self) -> Option<&dyn Process> {
        Some(self.diffusion.process.as_ref())
    }

    fn batch(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        self.change_teacher(step, model)?;
        self.diffusion.batch(step)
    }

    /// The divergence of the pass's canvases, divided by the canvases of the step.
    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let lesson = self.teacher().lesson(pass)?;
        let prediction = self.diffusion.self_conditioning.predict(model, pass, &lesson.noisy)?;
        let spec = model.spec().clone();
        let input = lesson.noisy.input(pass.rows, &spec, prediction.as_deref());
        let canvases = pass.canvases as f64;
        let slots = RowSlots::new(lesson.targets.len());
        model.forward_backward_with(&input, &lesson.noisy.rows(), &|index, probabilities| {
            let weight = lesson.weights[index] / canvases;
            slots.set(index, weight * divergence(&lesson.targets[index], probabilities, weight));
        })?;
        Ok(PassCost { nats: slots.into_vec()?.into_iter().sum(), observed: Vec::new() })
    }

    fn observe(&mut self, _: &[f64]) {}

    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        self.diffusion.validate(model, progress)
    }

    fn unit(&self) -> &'static str {
        PER_TOKEN
    }

    fn means(&mut self) -> Vec<Figure> {
        Vec::new()
    }

    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        // What a divergence costs says nothing of the times of the bound.
        self.diffusion.describe_generation(defaults, &TimeDensity::new());
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        ObjectiveState::new(&Counted { round: self.round })
    }
}

/// Where the teacher of a later round is kept.
fn teacher_folder(output: &Path, round: u64) -> PathBuf {
    output.join(format!("teacher-{round}"))
}

/// The teacher, which has to undo the same process as the student.
fn same_process(teacher: Box<dyn Denoiser>, student: &ProcessSpec) -> Result<Box<dyn Denoiser>, TrainError> {
    let found = &teacher.spec().process;
    if found != student {
        return Err(TrainError::OtherNetwork {
            field: "process",
            found: format!("{} ({})", found.kind, found.schedule),
            expected: format!("{} ({})", student.kind, student.schedule),
        });
    }
    Ok(teacher)
}
