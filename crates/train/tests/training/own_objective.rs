//! An objective that no recipe knows, given as a value: this file is all there is of it.

use crate::order::ordered;
use crate::rewards::{initial, prompts};
use crate::support::{device, fingerprint};
use aquatint_batch::NoisyBatch;
use aquatint_checkpoint::{Checkpoint, GenerationDefaults};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Draws, Key, Process, TokenId};
use aquatint_evaluate::{Estimate, Likelihood};
use aquatint_network::Learner;
use aquatint_train::{
    Ending, Figure, HeldOutCost, Objective, ObjectiveState, Overrides, PER_TOKEN, Pass, PassCost, Recipe, Resolved,
    Setting, Step, StepFigures, Summary, TrainError, TrainedModel, Training, TrainingEvent,
};
use aquatint_vocabulary::{Role, Vocabulary};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const LENGTH: usize = 8;
const LETTERS: [TokenId; 4] = [10, 11, 12, 13];

/// Canvases that it draws itself, letter after letter; trained by left to right. The letters that cost the most come
/// more often, so that what it counts decides what it draws.
struct Alphabet {
    begin: TokenId,
    key: Key,
    /// The running cost of the letters, which the state keeps.
    costs: Vec<f64>,
}

impl Alphabet {
    fn begin(setting: &Setting<'_>) -> Result<Self, TrainError> {
        let saved = setting.saved::<Vec<u64>>()?;
        let costs = saved.map(|bits| bits.into_iter().map(f64::from_bits).collect());
        Ok(Self {
            begin: setting.vocabulary.required(Role::Begin)?,
            key: Key::new(setting.recipe.seed),
            costs: costs.unwrap_or_else(|| vec![1.0; LETTERS.len()]),
        })
    }

    fn letter(&self, draws: &mut Draws) -> usize {
        let mut left = draws.uniform() * self.costs.iter().sum::<f64>();
        self.costs
            .iter()
            .position(|cost| {
                left -= cost;
                left < 0.0
            })
            .unwrap_or(0)
    }
}

impl Objective for Alphabet {
    fn process(&self) -> Option<&dyn Process> {
        None
    }

    fn batch(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        assert!(model.denoiser().spec().context_length >= LENGTH);
        let mut tokens = Vec::new();
        for canvas in 0..step.canvases {
            let first = self.letter(&mut self.key.at(canvas as u64, step.number));
            tokens.extend((0..LENGTH).map(|place| LETTERS[(first + place) % LETTERS.len()]));
        }
        let documents = (0..tokens.len()).map(|place| (place / LENGTH) as u32).collect();
        let text_bytes = vec![1; tokens.len()];
        Ok(CanvasBatch { length: LENGTH, tokens, documents, text_bytes, spans: Vec::new(), given: Vec::new() })
    }

    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let weight = 1.0 / pass.tokens as f64;
        let noisy = NoisyBatch::causal(pass.rows, self.begin, weight);
        let spec = model.spec().clone();
        let costs = model.forward_backward(&noisy.input(pass.rows, &spec, None), &noisy.loss_rows().unwrap())?;
        let first = pass.rows.canvases.iter().map(|canvas| canvas.start);
        let observed = first.flat_map(|row| [f64::from(pass.rows.tokens[row]), costs[row]]).collect();
        Ok(PassCost { nats: costs.iter().map(|cost| weight * cost).sum(), observed })
    }

    fn observe(&mut self, observed: &[f64]) {
        for pair in observed.chunks_exact(2) {
            let letter = LETTERS.iter().position(|letter| f64::from(*letter) == pair[0]).unwrap();
            self.costs[letter] = 0.9 * self.costs[letter] + 0.1 * pair[1];
        }
    }

    fn validate(&self, _: &dyn Learner, _: &mut dyn FnMut(u64) -> bool) -> Result<Option<HeldOutCost>, TrainError> {
        let nats_per_token = self.costs.iter().sum::<f64>() / self.costs.len() as f64;
        Ok(Some(HeldOutCost::Text(Likelihood {
            nats_per_token,
            bits_per_byte: nats_per_token,
            perplexity: nats_per_token.exp(),
            standard_error: None,
            tokens: 4,
            bytes: 4,
            canvases: 1,
            documents: 1,
            codes: Vec::new(),
            estimate: Estimate::Exact,
        })))
    }

    fn unit(&self) -> &'static str {
        PER_TOKEN
    }

    fn means(&mut self) -> Vec<Figure> {
        vec![("first_letter", self.costs[0])]
    }

    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        defaults.max_new_tokens = Some(LENGTH);
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        ObjectiveState::new(&self.costs.iter().map(|cost| cost.to_bits()).collect::<Vec<_>>())
    }
}

fn recipe(folder: &Path, name: &str, set: &[&str]) -> Resolved {
    let tokenizer = folder.join("tokenizer.json");
    let vocabulary = Vocabulary::train(["abcd".to_owned()].into_iter(), 260).unwrap();
    std::fs::write(&tokenizer, vocabulary.to_json().unwrap()).unwrap();
    let text = format!(
        "output = '{}'\nseed = 5\n[data]\ncanvas_length = {LENGTH}\nvocabulary = '{}'\n\
         [network]\nwidth = 32\nlayers = 1\nhead_size = 16\n[objective]\nkind = 'causal'\n\
         [optimiser]\nbatch = 4\nwarm_up = 2\nema = 0.5\n[run]\nsteps = 40\nsave_every = 10\nlog_every = 10\n\
         validate_every = 20\nstorage = 'f32'\n",
        folder.join(name).display(),
        tokenizer.display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve_without_corpus().unwrap()
}

fn run(recipe: &Resolved, resume: bool, until: u64) -> (Summary, Vec<StepFigures>) {
    let (mut figures, stop) = (Vec::new(), AtomicBool::new(false));
    let begin = |setting: &mut Setting<'_>| Ok(Box::new(Alphabet::begin(setting)?) as Box<dyn Objective>);
    let training = Training::new(recipe).objective(&begin).resume(resume).stop(&stop);
    let summary = training.run(device(), &mut |event| {
        if let TrainingEvent::Step(step) = event {
            stop.store(step.step >= until, Ordering::Relaxed);
            figures.push(step);
        }
    });
    (summary.unwrap(), figures)
}

#[test]
fn an_objective_of_ones_own_learns_from_its_own_canvases_and_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let straight = recipe(folder.path(), "straight", &[]);
    let (summary, figures) = run(&straight, false, u64::MAX);
    assert_eq!((summary.ending, summary.step), (Ending::Complete, 40));
    assert!(figures[3].loss < 0.5 * figures[0].loss, "{figures:?}");
    assert!(figures.iter().all(|figures| figures.epochs.is_none()), "there are no texts to count epochs of");
    assert!(summary.last.unwrap() > 0.0 && straight.output.join("best/model.safetensors").is_file());
    let saved = Checkpoint::load(&straight.output).unwrap();
    assert_eq!((saved.generation.max_new_tokens, saved.generation.policy), (Some(LENGTH), None));

    let broken = recipe(folder.path(), "broken", &[]);
    assert_eq!(run(&broken, false, 20).0.ending, Ending::Interrupted);
    assert_eq!(run(&broken, true, u64::MAX).0.ending, Ending::Complete);
    assert!(fingerprint(&straight.output) == fingerprint(&broken.output));
}

#[test]
fn an_objective_of_ones_own_is_refused_where_the_recipe_trains_an_order() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let recipe = ordered(&folder.path().join("run"), &initial, &data, &[]);
    let begin = |_: &mut Setting<'_>| -> Result<Box<dyn Objective>, TrainError> { panic!("it is refused before") };
    let training = Training::new(&recipe).objective(&begin);
    let refusals = [training.check(&device(), &mut |_| {}), training.run(device(), &mut |_| {}).map(drop)];
    for refused in refusals {
        let message = refused.unwrap_err().to_string();
        assert!(
            message.starts_with("`objective.kind` is \"order\"; allowed: a kind that trains the model"),
            "{message}"
        );
    }
    assert!(!recipe.output.exists());
}

#[test]
fn without_texts_a_recipes_own_objective_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "run", &[]);
    let error = Training::new(&recipe).run(device(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("`data.train` is []; allowed: at least one source"), "{error}");
}
