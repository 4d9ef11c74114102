//! What people may write in a recipe, and what they are told when they may not.

use aquatint_train::{Overrides, Recipe, RecipeError, Resolved, Size};

const SMALL: &str = "output = 'runs/x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";

fn resolve(text: &str, set: &[&str]) -> Result<Resolved, RecipeError> {
    Recipe::parse(text, &Overrides::parse(set)?)?.resolve()
}

#[test]
fn one_dial_sets_the_rest_and_each_part_can_be_overridden() {
    let small = resolve(SMALL, &["size=1m"]).unwrap();
    let large = resolve(SMALL, &["size=60m"]).unwrap();
    assert!(small.network.width < large.network.width && small.network.layers < large.network.layers);
    assert!(small.optimiser.learning_rate > large.optimiser.learning_rate);
    assert!(small.optimiser.batch < large.optimiser.batch);

    let set = ["size=1m", "network.width=192", "optimiser.learning_rate=0.01", "run.steps=7", "optimiser.kind=adamw"];
    let changed = resolve(SMALL, &set).unwrap();
    assert_eq!((changed.network.width, changed.network.heads, changed.run.steps), (192, 3, 7));
    assert_eq!(changed.optimiser.learning_rate, 0.01);
    assert_eq!(changed.size, Size::OneMillion);
}

#[test]
fn a_resolved_recipe_says_everything_and_resolves_to_itself() {
    let resolved =
        resolve(SMALL, &["optimiser.ema=0.9", "run.max_minutes=2.5", "run.activation_memory=1.5GiB"]).unwrap();
    let text = resolved.to_toml().unwrap();
    assert!(text.contains("learning_rate") && text.contains("feed_forward_width"), "{text}");
    assert_eq!(resolve(&text, &[]).unwrap(), resolved);
}

#[test]
fn mistakes_are_told_with_their_place_or_what_is_allowed() {
    let told = |text: &str, set: &[&str]| resolve(text, set).unwrap_err().to_string();
    let unknown = told(&format!("{SMALL}[run]\nstep = 5\n"), &[]);
    assert!(unknown.contains("unknown field `step`") && unknown.contains("line 6"), "{unknown}");
    assert!(told(SMALL, &["optimiser.lr=1"]).contains("unknown field `lr`"));
    assert!(told(SMALL, &["size=5m"]).contains("`150m`"));
    assert!(told(SMALL, &["nonsense"]).contains("expected key=value"));
    assert!(told(SMALL, &["output.x=1"]).contains("no table"));
    assert!(told(SMALL, &["optimiser.schedule=wsd"]).contains("unknown field"));
    assert_eq!(
        told(SMALL, &["optimiser.accumulate=3"]),
        "`optimiser.accumulate` is 3; allowed: a divisor of `optimiser.batch`"
    );
    assert_eq!(
        told(SMALL, &["objective.time_range=[0.5, 0.2]"]),
        "`objective.time_range` is [0.5, 0.2]; allowed: two times in [0, 1], the earlier first"
    );
    let budget = told(SMALL, &["run.activation_memory=2GB"]);
    assert!(budget.contains("\"2GB\" is no amount of memory; allowed: a number and one of the units"), "{budget}");
    let twice = told(SMALL, &["run.activation_memory=2GiB", "optimiser.recompute=true"]);
    assert!(twice.starts_with("`run.activation_memory` is 2GiB; allowed: nothing where"), "{twice}");
    assert!(told(SMALL, &["objective.schedule=square"]).contains("`objective.schedule`"));
    assert!(told("output = 'x'\n[data]\ntrain = []\nvalid = [{ path = 'b' }]", &[]).contains("`data.train`"));
}

#[test]
fn the_recipes_of_this_repository_can_be_followed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            Recipe::load(&path, &Overrides::default()).unwrap().resolve().unwrap();
            count += 1;
        }
    }
    assert!(count >= 2);
}
