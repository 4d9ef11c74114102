//! Learnt orders: completions take fewer passes where passes have a price, and a run is a function of its recipe.

use crate::ranks::run_among;
use crate::rewards::{initial, prompts};
use crate::support::{device, recipe, run};
use aquatint_checkpoint::{Checkpoint, CheckpointError, is_order};
use aquatint_diffusion::{Canvas, TokenId};
use aquatint_evaluate::Writer;
use aquatint_train::{Overrides, Recipe, RecipeError, Resolved, StepFigures, TrainError};
use aquatint_vocabulary::Role;
use std::collections::BTreeMap;
use std::path::Path;

fn parsed(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Result<Resolved, RecipeError> {
    let text = format!(
        "output = '{}'\ninitial = '{}'\nseed = 7\n[data]\ntrain = [{{ path = '{}' }}]\ncanvas_length = 16\n\
         [objective]\nkind = 'order'\n[reward]\nterms = [{{ name = 'length:12' }}]\ncompletions = 4\n\
         completion_length = 6\nsteps = 6\nscale = 'reward'\n[order]\nprice = 2.0\nthreshold = 0.02\nwidth = 4\n[optimiser]\nbatch = 16\n\
         kind = 'adamw'\nwarm_up = 1\nlr_schedule = 'constant'\nema = 0.0\nweight_decay = 0.0\nlearning_rate = 0.1\n\
         [run]\nsteps = 40\nlog_every = 1\nsave_every = 100\nsample_every = 0\n",
        output.display(),
        initial.display(),
        data.display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap())?.resolve()
}

pub(crate) fn ordered(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Resolved {
    parsed(output, initial, data, set).unwrap()
}

fn own(figures: &[StepFigures]) -> Vec<BTreeMap<&'static str, f64>> {
    figures.iter().map(|step| BTreeMap::from_iter(step.own.iter().copied())).collect()
}

/// The files of a learnt order.
fn files(folder: &Path) -> [Vec<u8>; 2] {
    ["order.json", "order.safetensors"].map(|file| std::fs::read(folder.join("order").join(file)).unwrap())
}

/// What a model writes by a policy, and the passes that it takes.
fn written(name: &str, policy: &str) -> (Vec<TokenId>, usize) {
    let checkpoint = Checkpoint::open(name).unwrap();
    let network = checkpoint.network(device()).unwrap();
    let order = checkpoint.generation.order.clone();
    let writer = Writer::new(&network, &checkpoint.vocabulary).unwrap().with_order(order);
    let mut canvas = Canvas::new();
    canvas.push_given(&checkpoint.vocabulary.encode("The fox").unwrap());
    canvas.push_open(6, false, checkpoint.vocabulary.role(Role::Mask).unwrap());
    let settings = writer.settings().steps(6).policy_named(policy).temperature(0.0).build().unwrap();
    let outcomes = writer.fill(&[writer.request(canvas, settings)], &mut |_, _| true).unwrap();
    (outcomes[0].tokens.clone(), outcomes[0].statistics.forward_passes)
}

#[test]
fn a_price_of_passes_teaches_to_take_fewer_and_none_leaves_them() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let output = folder.path().join("run");
    let (_, figures) = run(&ordered(&output, &initial, &data, &[]), false).unwrap();
    let figures = own(&figures);
    let mean = |some: &[BTreeMap<&str, f64>]| some.iter().map(|of| of["passes"]).sum::<f64>() / some.len() as f64;
    let (first, last) = (mean(&figures[..3]), mean(&figures[figures.len() - 3..]));
    assert!(first > 4.0 && last < first - 2.0, "{first} {last}");
    // The same order is there when the model is opened with it: by its own folder, and within the model's.
    assert!(is_order(&output) && !is_order(&initial));
    let beside = format!("{}+{}", initial.display(), output.display());
    let learnt = written(&beside, "learnt");
    assert!(learnt.1 < 4, "{learnt:?}");
    assert_eq!(written(&beside, "confidence").1, 6);
    std::fs::create_dir(initial.join("order")).unwrap();
    for file in ["order.json", "order.safetensors"] {
        std::fs::copy(output.join("order").join(file), initial.join("order").join(file)).unwrap();
    }
    assert_eq!(written(&initial.display().to_string(), "learnt"), learnt);
    // What is saved again keeps it.
    let merged = folder.path().join("merged");
    Checkpoint::open(&beside).unwrap().merge(&merged, aquatint_checkpoint::Storage::F32).unwrap();
    assert_eq!(files(&merged), files(&output));
    let alone = Checkpoint::open(&output.display().to_string()).unwrap_err();
    assert!(matches!(alone, CheckpointError::OrderAlone { .. }), "{alone}");
}

#[test]
fn a_run_that_is_stopped_goes_on_bit_for_bit_and_ranks_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let straight = folder.path().join("straight");
    let (_, expected) = run(&ordered(&straight, &initial, &data, &["run.steps=6"]), false).unwrap();
    let broken = folder.path().join("broken");
    run(&ordered(&broken, &initial, &data, &["run.steps=3"]), false).unwrap();
    let (_, second) = run(&ordered(&broken, &initial, &data, &["run.steps=6"]), true).unwrap();
    assert_eq!(own(&second), own(&expected)[3..]);
    assert_eq!(files(&straight), files(&broken));
    let shared = run_among(2, &ordered(&folder.path().join("2"), &initial, &data, &["run.steps=6"]), false).unwrap();
    assert_eq!(own(&shared)[0], own(&expected)[0]);
    // Later steps have other roundings behind them.
    for (one, two) in expected.iter().zip(&shared).take(2) {
        assert!((one.loss - two.loss).abs() < 1e-5 && (one.gradient_norm / two.gradient_norm - 1.0).abs() < 1e-3);
    }
}

#[test]
fn held_out_prompts_are_measured_and_the_best_order_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let valid = folder.path().join("valid.jsonl");
    std::fs::write(&valid, "{\"text\": \"The cat and the\"}\n{\"text\": \"A dog and a\"}").unwrap();
    let output = folder.path().join("run");
    let set = [&format!("data.valid=[{{ path = '{}' }}]", valid.display()), "run.steps=4", "run.validate_every=2"];
    run(&ordered(&output, &initial, &data, &set), false).unwrap();
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let held_out = metrics.lines().filter(|line| line.contains("held_out_passes") && line.contains("held_out_reward"));
    assert_eq!(held_out.count(), 2, "{metrics}");
    assert!(is_order(&output.join("best")));
}

#[test]
fn rewards_that_are_never_there_end_the_run_and_saved_passes_alone_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let small = ["optimiser.batch=2", "reward.completions=2", "run.steps=120"];
    let never = [&small[..], &["reward.terms=[{ name = 'regex:never' }]"]].concat();
    let refused = run(&ordered(&folder.path().join("never"), &initial, &data, &never), false).unwrap_err();
    assert!(matches!(refused, TrainError::FlatRewards { rollouts: 100, step: 99 }), "{refused}");
    let always = [&small[..], &["reward.terms=[{ name = 'regex:(?s).*' }]"]].concat();
    run(&ordered(&folder.path().join("always"), &initial, &data, &always), false).unwrap();
}

#[test]
fn recipes_that_cannot_learn_an_order_are_refused_with_what_is_allowed() {
    let path = Path::new("x");
    let refused = |set: &[&str]| parsed(path, path, path, set).unwrap_err().to_string();
    for (set, expected) in [
        (&["order.width=0"][..], "`order.width` is 0; allowed: 1 to 256"),
        (&["order.width=257"], "`order.width` is 257; allowed: 1 to 256"),
        (&["order.threshold=1.0"], "`order.threshold` is 1; allowed: 0.0001 to 0.9999"),
        (&["order.price=-1.0"], "`order.price` is -1; allowed: 0 or more"),
        (&["size=1m"], "`size` is set; allowed: nothing where `objective.kind` is \"order\""),
        (&["network.logit_shift=true"], "`network` is a table; allowed: nothing where"),
        (&["objective.schedule=cosine"], "`objective.schedule` is set; allowed: nothing where"),
        (&["reward.estimator=bound"], "`reward.estimator` is set; allowed: nothing where"),
        (&["reward.updates=2"], "`reward.updates` is set; allowed: nothing where"),
        (&["reward.policy=margin"], "`reward.policy` is set; allowed: nothing where"),
        (&["adapter={ rank = 4 }"], "`adapter` is a table; allowed: nothing where"),
        (&["objective.given_share=0.5"], "`objective.given_share` is set; allowed: nothing where"),
        (&["objective.kind=reward"], "`order` is a table; allowed: nothing but where `objective.kind` is \"order\""),
        (
            &["objective.kind=diffusion", "data.valid=[{ path = 'y' }]"],
            "`reward` is a table; allowed: nothing but where",
        ),
    ] {
        let message = refused(set);
        assert!(message.starts_with(expected), "{message}");
    }
    // Nothing but the order is drawn at temperature 0.
    assert_eq!(parsed(path, path, path, &["reward.temperature=0.0"]).unwrap().reward.unwrap().temperature, 0.0);
}

#[test]
fn rewards_are_learned_from_what_the_learnt_order_of_the_model_draws() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let rewarded = |initial: &str| {
        let set = ["objective.kind=reward", "reward.policy=learnt", "run.steps=1"];
        let mut recipe = parsed(&folder.path().join("rewarded"), Path::new(initial), &data, &[]).unwrap();
        recipe.order = None;
        let text = recipe.to_toml().unwrap();
        Recipe::parse(&text, &Overrides::parse(&set).unwrap()).unwrap().resolve().unwrap()
    };
    let refused = run(&rewarded(&initial.display().to_string()), false).unwrap_err().to_string();
    assert!(refused.contains("the model has no learnt order"), "{refused}");
    let order = folder.path().join("order");
    run(&ordered(&order, &initial, &data, &[]), false).unwrap();
    let (_, figures) = run(&rewarded(&format!("{}+{}", initial.display(), order.display())), false).unwrap();
    assert!(own(&figures)[0]["passes"] < 6.0);
}

#[test]
fn other_processes_have_no_learnt_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = prompts(folder.path());
    let there = folder.path().join("uniform");
    run(&recipe(&there, &["objective.process=uniform", "run.steps=1", "run.validate_every=100"]), false).unwrap();
    let refused = run(&ordered(&folder.path().join("run"), &there, &data, &[]), false).unwrap_err().to_string();
    assert!(refused.starts_with("`objective.process` is \"uniform\"; allowed: \"masked\" where"), "{refused}");
}
