//! Learning from rewards: completions become worth more under every estimator, and a run is a function of its recipe.

use crate::ranks::run_among;
use crate::support::{device, fingerprint, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_train::recipe::Data;
use aquatint_train::{AvailableMemory, Overrides, Recipe, RecipeError, Resolved, StepFigures, TrainError, Training};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model that has read a few texts.
pub(crate) fn initial(folder: &Path) -> PathBuf {
    let output = folder.join("initial");
    run(&recipe(&output, &["run.steps=1", "run.validate_every=100"]), false).unwrap();
    output
}

pub(crate) fn prompts(folder: &Path) -> PathBuf {
    let path = folder.join("prompts.jsonl");
    let words = ["fox", "hen", "barn", "hill", "sun", "dog"];
    let rows = words.iter().map(|word| format!("{{\"text\": \"The {word} and the\"}}"));
    std::fs::write(&path, rows.collect::<Vec<_>>().join("\n")).unwrap();
    path
}

fn parsed(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Result<Resolved, RecipeError> {
    let text = format!(
        "output = '{}'\ninitial = '{}'\nseed = 7\n[data]\ntrain = [{{ path = '{}' }}]\ncanvas_length = 16\n\
         [objective]\nkind = 'reward'\n[reward]\nterms = [{{ name = 'length:12' }}]\ncompletions = 8\n\
         completion_length = 4\nsteps = 4\npolicy = 'random'\n[optimiser]\nbatch = 16\nkind = 'adamw'\nwarm_up = 1\n\
         lr_schedule = 'constant'\nema = 0.9\nweight_decay = 0.0\nlearning_rate = 5e-3\n\
         [run]\nsteps = 40\nlog_every = 1\nsave_every = 100\nsample_every = 0\nstorage = 'f32'\n",
        output.display(),
        initial.display(),
        data.display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap())?.resolve()
}

fn rewarded(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Resolved {
    parsed(output, initial, data, set).unwrap()
}

/// What each step says of its rewards.
fn rewards(figures: &[StepFigures]) -> Vec<BTreeMap<&'static str, f64>> {
    let of = |step: &StepFigures| BTreeMap::from_iter(step.own.iter().copied());
    let all: Vec<BTreeMap<_, _>> = figures.iter().map(of).collect();
    assert!(all.iter().all(|step| step.contains_key("reward")), "every step has figures of its rewards");
    all
}

fn mean(figures: &[BTreeMap<&'static str, f64>]) -> f64 {
    figures.iter().map(|figures| figures["reward"]).sum::<f64>() / figures.len() as f64
}

#[test]
fn completions_become_worth_more_under_every_estimator() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    for (name, set) in [
        ("mean-field", &["reward.estimator=mean-field"][..]),
        ("coupled", &["reward.estimator=coupled", "reward.updates=2", "reward.kl=0.01"]),
        ("bound", &["reward.estimator=bound", "reward.kl=0.01", "reward.kl_estimator=k2"]),
        ("trace", &["reward.estimator=trace", "reward.readings=4", "reward.updates=2"]),
        ("two-sided", &["reward.estimator=two-sided", "reward.surrogate=plain", "reward.scale=reward"]),
        ("wd1", &["reward.estimator=mean-field", "reward.surrogate=weighted", "reward.scale=reward"]),
    ] {
        let recipe = rewarded(&folder.path().join(name), &initial, &data, set);
        let (_, figures) = run(&recipe, false).unwrap();
        assert!(figures.iter().all(|step| step.loss.is_finite() && step.bits_per_byte.is_none()));
        let rewards = rewards(&figures);
        let (first, last) = (mean(&rewards[..4]), mean(&rewards[rewards.len() - 4..]));
        assert!(last > first + 0.15, "{name}: {first} {last}");
        assert!(rewards.iter().all(|step| (1.0..=4.0).contains(&step["completion_length"])));
        assert_eq!(rewards[0].contains_key("kl"), recipe.reward.unwrap().kl > 0.0);
    }
}

#[test]
fn entropy_that_falls_below_its_floor_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let entropy = |name: &str, floor: &str| {
        let floor = format!("reward.entropy_floor={floor}");
        let set = ["reward.estimator=trace", "reward.readings=4", "run.steps=150", &floor];
        let (_, figures) = run(&rewarded(&folder.path().join(name), &initial, &data, &set), false).unwrap();
        rewards(&figures).iter().map(|step| step["entropy"]).collect::<Vec<_>>()
    };
    // A floor that nothing reaches only measures.
    let (free, held) = (entropy("free", "1e-9"), entropy("held", "3"));
    assert_eq!([free.len(), held.len()], [150, 150]);
    assert_eq!(free[0], held[0], "the first rollout is the same");
    let end = |entropies: &[f64]| entropies[130..].iter().sum::<f64>() / 20.0;
    assert!(end(&free) < 3.0 && end(&held) > end(&free) + 0.3, "{} {}", end(&free), end(&held));
}

#[test]
fn a_run_that_is_stopped_between_two_updates_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let set = ["reward.updates=3", "reward.kl=0.02", "reward.entropy_floor=100", "run.steps=8"];
    let straight = folder.path().join("straight");
    let (_, expected) = run(&rewarded(&straight, &initial, &data, &set), false).unwrap();
    let broken = folder.path().join("broken");
    let (_, first) = run(&rewarded(&broken, &initial, &data, &[&set[..], &["run.steps=4"]].concat()), false).unwrap();
    let (_, second) = run(&rewarded(&broken, &initial, &data, &set), true).unwrap();
    let found: Vec<_> = [rewards(&first), rewards(&second)].concat();
    assert_eq!(found, rewards(&expected));
    // There is nothing held out, and so no best model.
    let of = |folder: &Path| weights(folder);
    assert!(of(&straight) == of(&broken));
}

/// The weights and the state of a run without a best model.
fn weights(folder: &Path) -> Vec<(String, Vec<u32>)> {
    std::fs::create_dir_all(folder.join("best")).unwrap();
    std::fs::copy(folder.join("model.safetensors"), folder.join("best/model.safetensors")).unwrap();
    fingerprint(folder)
}

#[test]
fn while_the_weights_stay_all_ratios_are_one_and_nothing_diverges() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    for estimator in ["mean-field", "coupled", "bound", "trace", "two-sided"] {
        let set = [
            &format!("reward.estimator={estimator}"),
            "reward.updates=3",
            "reward.clip=1e-9",
            "reward.kl=1.0",
            "optimiser.learning_rate=0.0",
            "run.steps=3",
        ];
        let recipe = rewarded(&folder.path().join(estimator), &initial, &data, &set);
        let (_, figures) = run(&recipe, false).unwrap();
        for (step, rewards) in figures.iter().zip(rewards(&figures)) {
            assert_eq!((rewards["clipped"], rewards["kl"]), (0.0, 0.0), "{estimator}");
            // Advantages sum to zero, and so does what they are multiplied by 1.
            assert!(step.loss.abs() < 1e-12, "{estimator}: {}", step.loss);
        }
    }
}

#[test]
fn ranks_share_the_rollouts_and_learn_what_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let set = ["reward.updates=2", "run.steps=4", "optimiser.accumulate=2"];
    let (_, expected) = run(&rewarded(&folder.path().join("1"), &initial, &data, &set), false).unwrap();
    let found = run_among(2, &rewarded(&folder.path().join("2"), &initial, &data, &set), false).unwrap();
    assert_eq!(rewards(&found)[0], rewards(&expected)[0]);
    for (one, two) in expected.iter().zip(&found) {
        assert!((one.loss - two.loss).abs() < 1e-4 && (one.gradient_norm / two.gradient_norm - 1.0).abs() < 1e-2);
    }
}

#[test]
fn a_text_may_hold_its_own_completion() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    // A program that sees what the text holds behind its prompt gives 1 for each completion.
    let script = folder.path().join("reference.sh");
    let found = "while read -r line; do case \"$line\" in *'\"reference\":\"'[!\\\"]*) echo 1;; *) echo 0;; esac; done";
    std::fs::write(&script, found).unwrap();
    let program = format!("reward.terms=[{{ name = 'program:/bin/sh {}' }}]", script.display());
    let set = [&*program, "reward.completion_length=0", "objective.prompt=2", "run.steps=2", "data.canvas_length=12"];
    let (_, figures) = run(&rewarded(&folder.path().join("run"), &initial, &data, &set), false).unwrap();
    let rewards = rewards(&figures);
    assert!(rewards.iter().map(|step| step["completion_length"]).all(|length| length > 1.0 && length < 12.0));
    assert!(rewards.iter().all(|step| step["reward"] == 1.0), "{rewards:?}");
}

#[cfg(unix)]
#[test]
fn a_reward_that_fails_ends_the_run_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    for (name, lines, reason) in [
        ("dies", "echo no more >&2; exit 3", "numbers and ended with exit status: 3: no more"),
        ("nan", "while read -r line; do echo nan; done", "allowed: a finite number"),
    ] {
        let script = folder.path().join(format!("{name}.sh"));
        std::fs::write(&script, lines).unwrap();
        let program = format!("reward.terms=[{{ name = 'program:/bin/sh {}' }}]", script.display());
        let recipe = rewarded(&folder.path().join(name), &initial, &data, &[&program]);
        for ranks in [1, 2] {
            let refused = match ranks {
                1 => run(&recipe, false).map(drop).unwrap_err(),
                _ => run_among(ranks, &recipe, false).map(drop).unwrap_err(),
            };
            assert!(format!("{refused:?} {refused}").contains(reason), "{name}, {ranks}: {refused:?} {refused}");
        }
    }
}

#[test]
fn rewards_move_an_adapter_away_from_the_model_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let set = ["adapter={ rank = 4 }", "reward.kl=0.01", "run.steps=6", "optimiser.learning_rate=3e-3"];
    let output = folder.path().join("run");
    let (_, figures) = run(&rewarded(&output, &initial, &data, &set), false).unwrap();
    let rewards = rewards(&figures);
    assert_eq!(rewards[0]["kl"], 0.0, "an adapter begins where it adds nothing");
    assert!(rewards[5]["kl"] > 0.0, "what it has learned is away from the model that has none");
    assert!(output.join("adapter_model.safetensors").is_file());
}

#[test]
fn held_out_prompts_are_measured_by_the_same_numbers_and_the_best_model_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let valid = folder.path().join("valid.jsonl");
    std::fs::write(&valid, "{\"text\": \"The cat and the\"}\n{\"text\": \"A dog and a\"}").unwrap();
    let output = folder.path().join("run");
    let valid = format!("data.valid=[{{ path = '{}' }}]", valid.display());
    let set = [&valid, "optimiser.learning_rate=0.0", "run.steps=4", "run.validate_every=2"];
    run(&rewarded(&output, &initial, &data, &set), false).unwrap();
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let held_out: Vec<(f64, f64)> =
        lines.filter_map(|line| Some((line["held_out_reward"].as_f64()?, line["held_out_loss"].as_f64()?))).collect();
    // The weights stay, and so do the numbers by which the completions are drawn.
    assert!(held_out.len() == 2 && held_out[0] == held_out[1] && held_out[0].0 == -held_out[0].1, "{metrics}");
    assert!(output.join("best/model.safetensors").is_file());
}

#[test]
fn rewards_that_never_differ_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let set = ["reward.terms=[{ name = 'regex:never' }]", "run.steps=200", "optimiser.batch=2", "reward.completions=2"];
    let refused = run(&rewarded(&folder.path().join("run"), &initial, &data, &set), false).unwrap_err();
    assert!(matches!(refused, TrainError::FlatRewards { rollouts: 100, step: 99 }), "{refused}");
    // While entropy is raised the run does learn.
    let set = [&set[..], &["run.steps=101", "reward.entropy_floor=100"]].concat();
    let (_, figures) = run(&rewarded(&folder.path().join("raised"), &initial, &data, &set), false).unwrap();
    assert_eq!(figures.len(), 101, "it goes on where the other run ended");
    assert!(figures.iter().all(|step| step.gradient_norm > 0.0));
}

#[test]
fn prompts_without_room_are_reported_and_too_few_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let set = ["reward.completion_length=15", "run.steps=1"];
    let refused = run(&rewarded(&folder.path().join("run"), &initial, &data, &set), false).unwrap_err().to_string();
    assert_eq!(refused, "`data.train` gives 0 canvases of 16 tokens, 2 are needed");
}

#[test]
fn nothing_is_a_prompt_with_and_without_a_begin_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("nothing.jsonl");
    std::fs::write(&data, "{\"text\": \"\"}\n{\"text\": \"\"}\n").unwrap();
    for begins in [false, true] {
        let begin = format!("data.add_bos_token={begins}");
        let initial = folder.path().join(format!("initial-{begins}"));
        run(&recipe(&initial, &["run.steps=1", "run.validate_every=100", &begin]), false).unwrap();
        for estimator in ["mean-field", "coupled", "bound", "trace", "two-sided"] {
            let output = folder.path().join(format!("{estimator}-{begins}"));
            let estimator = format!("reward.estimator={estimator}");
            let set = ["run.steps=2", "reward.kl=0.1", "reward.updates=2", "reward.surrogate=plain", &estimator];
            let (_, figures) = run(&rewarded(&output, &initial, &data, &set), false).unwrap();
            assert!(rewards(&figures).iter().all(|step| step["completion_length"] >= 1.0));
            assert!(figures.iter().all(|step| step.gradient_norm > 0.0 && step.gradient_norm.is_finite()));
        }
    }
}

#[test]
fn rollouts_never_write_what_the_model_suppresses() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), prompts(folder.path()));
    let vocabulary = Checkpoint::open(initial.to_str().unwrap()).unwrap().vocabulary;
    let is_allowed = |id: &u32| matches!(&*vocabulary.decode(&[*id]), "a" | "b");
    let others: Vec<u32> = (0..vocabulary.len() as u32).filter(|id| !is_allowed(id)).collect();
    assert_eq!(vocabulary.len() - others.len(), 2);
    let advice = initial.join("generation_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&advice).unwrap()).unwrap();
    config["suppress_tokens"] = others.into();
    std::fs::write(&advice, serde_json::to_vec(&config).unwrap()).unwrap();
    let terms = "reward.terms=[{ name = 'regex:[ab]{4}' }, { name = 'regex:a*b*' }]";
    for estimator in ["mean-field", "trace"] {
        let output = folder.path().join(estimator);
        let set = [terms, "run.steps=12", "reward.updates=2", &format!("reward.estimator={estimator}")];
        let (_, figures) = run(&rewarded(&output, &initial, &data, &set), false).unwrap();
        let rewards = rewards(&figures);
        assert!(rewards.iter().all(|step| step["completion_length"] == 4.0 && step["reward"] >= 1.0), "{rewards:?}");
        let (first, last) = (mean(&rewards[..4]), mean(&rewards[8..]));
        assert!(last > first, "{estimator}: {first} {last}");
        // What is saved gives the same advice.
        let saved = Checkpoint::open(output.to_str().unwrap()).unwrap().generation.suppress_tokens.unwrap();
        assert_eq!(saved.len(), vocabulary.len() - 2);
    }
}

#[test]
fn recipes_that_cannot_learn_are_refused_with_what_is_allowed() {
    let path = Path::new("x");
    let refused = |set: &[&str]| parsed(path, path, path, set).unwrap_err().to_string();
    for (set, expected) in [
        (&["reward.completions=3"][..], "`reward.completions` is 3; allowed: a divisor of `optimiser.batch`"),
        (&["reward.completions=1"], "`reward.completions` is 1; allowed: 2 or more"),
        (
            &["reward.completion_length=16"],
            "`reward.completion_length` is 16; allowed: fewer than `data.canvas_length`",
        ),
        (&["reward.completion_length=0"], "`objective.prompt` is 0; allowed: 1 or more"),
        (&["objective.prompt=3"], "`objective.prompt` is 3; allowed: 0 with `reward.completion_length`"),
        (&["reward.estimator=bound", "reward.readings=3"], "`reward.readings` is 3; allowed: 1 or an even number"),
        (
            &["reward.estimator=two-sided", "reward.entropy_floor=1.5"],
            "`reward.entropy_floor` is 1.5; allowed: 0 under",
        ),
        (&["reward.temperature=0.0"], "`reward.temperature` is 0; allowed: above 0"),
        (&["objective.given_share=0.5"], "`objective.given_share` is set; allowed: nothing where"),
        (&["objective.kind=diffusion", "data.valid=[{ path = 'y' }]"], "`reward` is a table; allowed: nothing but"),
        (&["reward.policy=surest"], "the recipe cannot be understood: `reward.policy`: `policy` is \"surest\""),
        (
            &["reward.terms=[{ name = 'beauty' }]"],
            "the recipe cannot be understood: `reward.terms`: `beauty` is no reward",
        ),
        (
            &["reward.terms=[]"],
            "the recipe cannot be understood: `reward.terms`: `[]` is no reward; allowed: one reward",
        ),
        (&["reward.terms=[{ name = 'sudoku', weight = inf }]"], "`reward.terms.weight` is inf for `sudoku`"),
    ] {
        let message = refused(set);
        assert!(message.starts_with(expected), "{message}");
    }
    let alone = "output = 'x'\n[data]\ntrain = [{ path = 'x' }]\n[objective]\nkind = 'reward'\n\
                 [reward]\nterms = [{ name = 'sudoku' }]\ncompletion_length = 4\n";
    let refused = Recipe::parse(alone, &Overrides::default()).unwrap().resolve().unwrap_err().to_string();
    assert!(refused.contains("a model learns to write before it is rewarded"), "{refused}");
    // Other objectives still need something that is held out.
    let Data { valid, .. } = parsed(path, path, path, &[]).unwrap().data;
    assert!(valid.is_empty());
}

#[test]
fn networks_of_other_processes_are_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let data = prompts(folder.path());
    for (name, set, expected) in [
        ("uniform", "objective.process=uniform", "`objective.process` is \"uniform\"; allowed: \"masked\""),
        ("conditioned", "network.self_conditioning=true", "`network.self_conditioning` is true; allowed: false"),
    ] {
        let there = folder.path().join(name);
        run(&recipe(&there, &[set, "run.steps=1", "run.validate_every=100"]), false).unwrap();
        let output = folder.path().join("run");
        let recipe = rewarded(&output, &there, &data, &[]);
        let training = Training::new(&recipe).memory(AvailableMemory::default());
        let refused = training.check(&device(), &mut |_| {}).unwrap_err().to_string();
        assert!(refused.starts_with(expected) && !output.exists(), "{refused}");
    }
}
