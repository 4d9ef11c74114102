//! Adapters that learn beside a model that does not.

use crate::families::Room;
use crate::support::{device, root, run};
use aquatint_checkpoint::{Checkpoint, Weights};
use aquatint_compute::WeightFormat;
use aquatint_testing::{Golden, some_logits};
use aquatint_train::{StepFigures, TrainError, TrainingEvent, train};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The bits of what a run saves.
fn saved(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    for file in ["adapter_model.safetensors", "state/run.safetensors"] {
        let weights = Weights::open_file(&folder.join(file)).unwrap();
        for name in weights.names().filter(|name| weights.storage(name).as_deref() != Some("I8")) {
            all.push((format!("{file} {name}"), weights.read(name).unwrap().into_iter().map(f32::to_bits).collect()));
        }
    }
    assert!(all.iter().any(|(name, _)| name.contains("first.model.layers.0.self_attn.q_proj.lora_A")));
    assert!(!all.iter().any(|(name, _)| name.contains("self_attn.q_proj.weight")), "the base is where it was");
    all
}

#[test]
fn an_adapter_learns_alone_resumes_exactly_and_is_opened_with_its_base() {
    for (name, precision) in [("dream", "f32"), ("llada", "int8")] {
        let (room, base) = (Room::new(), Golden::folder(name));
        let table = match precision {
            "f32" => "adapter={ rank = 2, alpha = 4.0 }".to_owned(),
            precision => format!(
                "adapter={{ rank = 2, targets = ['q_proj', 'ff_out', 'down_proj'], precision = '{precision}' }}"
            ),
        };
        let set = [
            table.replace("'ff_out', ", ""),
            "run.steps=12".into(),
            "run.save_every=6".into(),
            "optimiser.learning_rate=0.02".into(),
        ];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let whole = room.recipe(("whole", &base), &set);
        let (summary, figures) = run(&whole, false).unwrap();
        assert_eq!(summary.step, 12);
        let (first, last) = (figures[0].loss, figures[11].loss);
        assert!(last < first, "{name}: {first} to {last}");

        let halves = room.recipe(("halves", &base), &set);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&halves, device(), false, &AtomicBool::new(false), &mut |event| {
                if let TrainingEvent::Step(StepFigures { step: 9, .. }) = event {
                    panic!("killed");
                }
            })
        }));
        assert!(killed.is_err());
        run(&halves, true).unwrap();
        assert_eq!(saved(&room.path("halves")), saved(&room.path("whole")), "{name}");

        // The folder of the adapter alone is enough, since it names its base.
        assert!(
            !room.path("whole").join("model.safetensors").exists() && !room.path("whole").join("config.json").exists()
        );
        let adapted = Checkpoint::open(&room.path("whole").display().to_string()).unwrap();
        let network = adapted.inference_network(device(), WeightFormat::F32).unwrap();
        let alone = Checkpoint::load(&base).unwrap().inference_network(device(), WeightFormat::F32).unwrap();
        assert_eq!(
            some_logits(&network.with_adapter(None).unwrap()),
            some_logits(&alone),
            "{name}: the base is what it was"
        );
        assert_ne!(some_logits(&network), some_logits(&alone), "{name}");

        let again = run(&room.recipe(("whole", &base), &set), false).unwrap_err();
        assert!(matches!(again, TrainError::Exists { .. } | TrainError::HoldsModel { .. }), "{again}");
    }
}

#[test]
fn adapters_that_cannot_be_learned_are_refused_before_any_work() {
    let (room, base) = (Room::new(), Golden::folder("dream"));
    let refused_of = |base: &Path, set: &[&str]| {
        let recipe = room.recipe(("run", base), set);
        let error = run(&recipe, false).unwrap_err().to_string();
        assert!(!room.path("run").exists());
        error
    };
    let error = refused_of(&base, &["adapter={ targets = ['query'] }"]);
    assert!(error.starts_with("`targets` is query; allowed: `down_proj`, `gate_proj`"), "{error}");
    let own = root().join("crates/cli/tests/cli/fixtures/tales-3m");
    let error = refused_of(&own, &["adapter={}", "network.self_conditioning=true"]);
    assert!(
        error.starts_with("`adapter` is a table beside `network.self_conditioning`; allowed: a table where"),
        "{error}"
    );
    let given = Room::new();
    run(&given.recipe(("first", &base), &["adapter={}", "run.steps=1"]), false).unwrap();
    let beside = format!("{}+{}", base.display(), given.path("first").display());
    let error = run(&given.recipe(("second", &base), &[&format!("initial='{beside}'")]), false).unwrap_err();
    assert_eq!(error.to_string(), format!("`{beside}` has adapters, which stay in folders of their own"));
    assert!(!given.path("second").exists());
    let parsed = |set: &str| {
        let text = format!("output = 'x'\n{set}\n[data]\ntrain = [{{ path = 'a' }}]\nvalid = [{{ path = 'b' }}]\n");
        let recipe = aquatint_train::Recipe::parse(&text, &aquatint_train::Overrides::parse::<&str>(&[]).unwrap());
        recipe.and_then(aquatint_train::Recipe::resolve).unwrap_err().to_string()
    };
    for (set, expected) in [
        ("adapter = { rank = 4 }", "`adapter` is a table; allowed: nothing but with `initial`, and without `size`"),
        (
            "initial = 'tales'\nsize = '4m'\nadapter = {}",
            "`adapter` is a table; allowed: nothing but with `initial`, and without `size`",
        ),
        (
            "initial = 'tales'\nadapter = {}\ndistillation = { steps = 8, rounds = 2 }",
            "`distillation` is a table; allowed: nothing where an adapter learns",
        ),
        ("initial = 'tales'\nadapter = { rank = 0 }", "`adapter.rank` is 0; allowed: 1 or more, at most 131072"),
        ("initial = 'tales'\nadapter = { alpha = 0 }", "`adapter.alpha` is 0; allowed: above 0, at most 1000000"),
        (
            "initial = 'tales'\nadapter = { precision = 'int3' }",
            "`optimiser.groups.precision` is \"int3\"; allowed: bf16, int8, int4, int4:GROUP",
        ),
        (
            "initial = 'tales'\nadapter = {}\noptimiser = { groups = [{ parameters = '*' }] }",
            "`optimiser.groups` is 1 groups; allowed: nothing where an adapter learns: `adapter.precision` says in which numbers the model is kept",
        ),
    ] {
        assert_eq!(parsed(set), expected);
    }
}
