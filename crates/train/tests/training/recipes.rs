//! What a recipe may contain, and the messages for what it may not.

use aquatint_train::recipe::{NetworkPlan, SampleData};
use aquatint_train::{Overrides, Recipe, RecipeError, RecipeKind, Resolved, Size, TrainError};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const SMALL: &str = "output = 'runs/x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";

fn resolve(text: &str, set: &[&str]) -> Result<Resolved, RecipeError> {
    Recipe::parse(text, &Overrides::parse(set)?)?.resolve()
}

#[test]
fn one_dial_sets_the_rest_and_each_part_can_be_overridden() {
    let small = resolve(SMALL, &["size=1m"]).unwrap();
    let large = resolve(SMALL, &["size=60m"]).unwrap();
    let described = |recipe: &Resolved| match &recipe.network {
        NetworkPlan::Described(network) => network.clone(),
        NetworkPlan::Initial(_) => panic!("there is no model to take the network from"),
    };
    let (narrow, wide) = (described(&small), described(&large));
    assert!(narrow.width < wide.width && narrow.layers < wide.layers);
    assert!(small.optimiser.learning_rate > large.optimiser.learning_rate);
    assert!(small.optimiser.batch < large.optimiser.batch);

    let set = ["size=1m", "network.width=192", "optimiser.learning_rate=0.01", "run.steps=7", "optimiser.kind=adamw"];
    let changed = resolve(SMALL, &set).unwrap();
    assert_eq!((described(&changed).width, described(&changed).heads, changed.run.steps), (192, 3, 7));
    assert_eq!(changed.optimiser.learning_rate, 0.01);
    assert_eq!(changed.size, Some(Size::OneMillion));
}

#[test]
fn the_network_of_an_initial_model_is_left_to_its_files_where_there_is_no_size() {
    let left = resolve(SMALL, &["initial=a"]).unwrap();
    assert_eq!((left.size, &left.network), (None, &NetworkPlan::default()));
    assert_eq!((&left.objective.process, left.optimiser.learning_rate), (&None, 2.5e-5));
    let text = left.to_toml().unwrap();
    assert!(!text.contains("[network]") && !text.contains("\nsize"), "{text}");
    let stated = resolve(SMALL, &["initial=a", "network.attention=block:8", "objective.process=uniform"]).unwrap();
    for recipe in [&left, &stated] {
        let text = recipe.to_toml().unwrap();
        assert_eq!(resolve(&text, &[]).unwrap(), *recipe);
        assert_eq!(toml::from_str::<Resolved>(&text).unwrap(), *recipe);
    }
    // With a size the recipe describes it, as without a model.
    let described = resolve(SMALL, &["initial=a", "size=4m"]).unwrap();
    assert_eq!(described.network, resolve(SMALL, &[]).unwrap().network);
    assert_eq!(toml::from_str::<Resolved>(&described.to_toml().unwrap()).unwrap(), described);
    let refused = resolve(SMALL, &["initial=a", "data.add_bos_token=true"]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "`data.add_bos_token` is true; allowed: nothing without `size`, since texts begin as those of `initial`"
    );
    let refused = resolve(SMALL, &["initial=a", "data.vocabulary=b.json"]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "`data.vocabulary` is \"b.json\"; allowed: nothing without `size`, since the tokenizer is that of `initial`"
    );
}

#[test]
fn a_resolved_recipe_says_everything_and_resolves_to_itself() {
    let resolved =
        resolve(SMALL, &["optimiser.ema=0.9", "run.max_minutes=2.5", "run.activation_memory=1.5GiB"]).unwrap();
    let text = resolved.to_toml().unwrap();
    assert!(text.contains("learning_rate") && text.contains("feed_forward_width"), "{text}");
    assert_eq!(resolve(&text, &[]).unwrap(), resolved);
    let group = "[[optimiser.groups]]\nparameters = 'model.layers.*'\ntrainable = false\n";
    let resolved = resolve(&format!("{SMALL}{group}"), &[]).unwrap();
    assert_eq!(resolve(&resolved.to_toml().unwrap(), &[]).unwrap(), resolved);
}

#[test]
fn mistakes_are_reported_with_their_place_or_what_is_allowed() {
    let message = |text: &str, set: &[&str]| resolve(text, set).unwrap_err().to_string();
    let unknown = message(&format!("{SMALL}[run]\nstep = 5\n"), &[]);
    assert!(unknown.contains("unknown field `step`") && unknown.contains("line 6"), "{unknown}");
    assert!(message(SMALL, &["optimiser.lr=1"]).contains("unknown field `lr`"));
    assert!(message(SMALL, &["size=5m"]).contains("`150m`"));
    assert!(message(SMALL, &["nonsense"]).contains("expected key=value"));
    assert!(message(SMALL, &["output.x=1"]).contains("no table"));
    assert!(message(SMALL, &["optimiser.schedule=wsd"]).contains("unknown field"));
    assert_eq!(
        message(SMALL, &["optimiser.accumulate=3"]),
        "`optimiser.accumulate` is 3; allowed: a divisor of `optimiser.batch`"
    );
    assert_eq!(
        message(SMALL, &["objective.time_range=[0.5, 0.2]"]),
        "`objective.time_range` is [0.5, 0.2]; allowed: two times in [0, 1], the earlier first"
    );
    assert_eq!(
        message(SMALL, &["network.window=0"]),
        "`network.window` is 0; allowed: 1 or more; 1 is a position alone"
    );
    let smiles = "data.pre_tokenizer=smiles";
    assert_eq!(
        message(SMALL, &[smiles, "data.vocabulary=b.json"]),
        "`data.pre_tokenizer` is \"smiles\"; allowed: nothing where no vocabulary is trained: with `data.vocabulary` or \
         `initial`"
    );
    let selfies = message(SMALL, &["data.pre_tokenizer=selfies"]);
    assert!(selfies.contains("unknown pre-tokenizer `selfies`; allowed: prose, smiles"), "{selfies}");
    assert_eq!(
        message(SMALL, &["data.canvases=filled", "objective.kind=instruct"]),
        "`data.canvases` is \"filled\"; allowed: nothing but where `objective.kind` is \"diffusion\" or \"causal\""
    );
    let begin = "data.add_bos_token=true";
    let molecules = resolve(SMALL, &["data.canvases=filled", smiles, begin]).unwrap();
    assert_eq!(resolve(&molecules.to_toml().unwrap(), &[]).unwrap(), molecules);
    assert_eq!(
        message(SMALL, &[begin, "objective.kind=causal"]),
        "`data.add_bos_token` is true; allowed: nothing under a causal objective, whose texts all begin with that token"
    );
    assert_eq!(
        message(SMALL, &["data.add_bos_token=false", "objective.kind=instruct"]),
        "`data.add_bos_token` is false; allowed: nothing for conversations, which begin as their template says"
    );
    let types = |types: &str| {
        message(SMALL, &["network.layers=3", "network.window=8", &format!("network.layer_types={types}")])
    };
    assert_eq!(types("[]"), "`network.layer_types` is []; allowed: 1 or more types, at most `network.layers`");
    let full = "\"full_attention\"";
    let four = types(&format!("[{full}, {full}, {full}, {full}]"));
    assert!(four.ends_with("\"full_attention\"]; allowed: 1 or more types, at most `network.layers`"), "{four}");
    assert_eq!(
        types(&format!("[{full}]")),
        "`network.layer_types` is [\"full_attention\"]; allowed: one \"sliding_attention\" or more, as only such \
         layers have the `network.window`"
    );
    let unknown = types("[\"local_attention\"]");
    assert!(unknown.contains("unknown variant `local_attention`, expected `full_attention` or `sliding_attention`"));
    assert_eq!(
        message(SMALL, &["network.layer_types=[\"sliding_attention\"]"]),
        "`network.layer_types` is [\"sliding_attention\"]; allowed: nothing without `network.window`"
    );
    let group = |text: &str| message(&format!("{SMALL}[[optimiser.groups]]\n{text}"), &[]);
    assert_eq!(
        group("parameters = 'role:heads'"),
        "`optimiser.groups.parameters` is \"role:heads\"; allowed: a name with `*`, or role:matrix, role:router, \
         role:embedding, role:unit-vectors, role:head, role:vector, role:adapter"
    );
    assert_eq!(group("parameters = '*'\nrate = 0"), "`optimiser.groups.rate` is 0; allowed: above 0, at most 1000000");
    assert_eq!(
        group("parameters = '*.bias'\nrate = 0.5\ntrainable = false"),
        "`optimiser.groups.rate` is 0.5 for `*.bias`; allowed: nothing where `trainable` is false"
    );
    assert_eq!(
        group("parameters = '*.mlp.*'\nprecision = 'int8'\n"),
        "`optimiser.groups.precision` is \"int8\" for `*.mlp.*`; allowed: nothing where parameters learn"
    );
    assert_eq!(
        group("parameters = '*.mlp.*'\ntrainable = false\nprecision = 'int5'\n"),
        "`optimiser.groups.precision` is \"int5\"; allowed: bf16, int8, int4, int4:GROUP"
    );
    let four = |parameters: &str, group: usize| {
        format!("parameters = '{parameters}'\ntrainable = false\nprecision = 'int4:{group}'\n")
    };
    assert_eq!(
        group(&format!("{}[[optimiser.groups]]\n{}", four("*.mlp.*", 32), four("*.self_attn.*", 64))),
        "`optimiser.groups.precision` is int4:32 and int4:64; allowed: groups of one size wherever it is int4"
    );
    assert!(group("parameter = '*'").contains("unknown field `parameter`"));
    let budget = message(SMALL, &["run.activation_memory=2GB"]);
    assert!(budget.contains("\"2GB\" is no amount of memory; allowed: a number and one of the units"), "{budget}");
    let twice = message(SMALL, &["run.activation_memory=2GiB", "optimiser.recompute=true"]);
    assert!(twice.starts_with("`run.activation_memory` is 2GiB; allowed: nothing where"), "{twice}");
    assert!(message(SMALL, &["objective.schedule=square"]).contains("`objective.schedule`"));
    assert!(message("output = 'x'\n[data]\ntrain = []\nvalid = [{ path = 'b' }]", &[]).contains("`data.train`"));
}

#[test]
fn advice_stands_beside_the_message() {
    let hint = |text: &str, set: &[&str]| resolve(text, set).unwrap_err().hint();
    let still = hint(&format!("{SMALL}[[optimiser.groups]]\nparameters = '*'\nrate = 0"), &[]);
    assert_eq!(still.as_deref(), Some("`trainable = false` leaves parameters as they are"));
    assert_eq!(hint(SMALL, &["nonsense"]).as_deref(), Some("for example run.steps=100"));
    let schedule = hint(SMALL, &["objective.schedule=polynomial:-1"]);
    assert_eq!(schedule.as_deref(), Some("`polynomial` takes a number above 0"));
    let behind = TrainError::from(resolve(SMALL, &["nonsense"]).unwrap_err());
    assert_eq!(behind.hint(), hint(SMALL, &["nonsense"]));
    assert_eq!(hint(SMALL, &["optimiser.accumulate=3"]), None);
}

/// Every recipe below a folder.
fn recipes(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(recipes(&path));
        } else if path.extension().is_some_and(|e| e == "toml") {
            all.push(path);
        }
    }
    all
}

fn of_samples(data: SampleData) -> Vec<PathBuf> {
    data.train.into_iter().map(|source| source.path).collect()
}

/// What a recipe of any kind learns from.
fn sources(recipe: &Path) -> Vec<PathBuf> {
    match RecipeKind::load(recipe, &Overrides::default()).unwrap() {
        RecipeKind::Language(recipe) => {
            let data = recipe.resolve().unwrap().data;
            let sources = data.train.into_iter().chain(data.valid);
            sources.flat_map(|source| [Some(source.path), source.media]).flatten().chain(data.codecs).collect()
        }
        RecipeKind::Pictures(recipe) => of_samples(recipe.resolve().unwrap().data),
        RecipeKind::Sounds(recipe) => of_samples(recipe.resolve().unwrap().data),
        RecipeKind::Matcher(recipe) => {
            let data = recipe.resolve().unwrap().data;
            data.train.into_iter().chain(data.valid).flat_map(|source| [source.path, source.media]).collect()
        }
    }
}

#[test]
fn the_recipes_of_this_repository_can_be_followed_in_a_fresh_clone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all = recipes(&root.join("recipes"));
    let (bases, whole): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| path.ends_with("base.toml"));
    assert!(bases.len() == 2 && whole.len() >= 18, "{bases:?} {whole:?}");
    for path in whole {
        for source in sources(&path) {
            // What is not here is made by the program, in a folder for runs.
            let made = source.starts_with("runs");
            assert!(made || root.join(&source).exists(), "{}: {}", path.display(), source.display());
        }
    }
}

/// Writes recipe files into a folder.
fn files(texts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in texts {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &tempfile::TempDir, name: &str, set: &[&str]) -> Result<Resolved, RecipeError> {
    Recipe::load(&folder.path().join(name), &Overrides::parse(set).unwrap())?.resolve()
}

#[test]
fn a_recipe_extends_another_beside_it() {
    let folder = files(&[
        ("base.toml", &format!("{SMALL}[run]\nsteps = 10\nlog_every = 3\n")),
        ("deep/middle.toml", "extends = '../base.toml'\nsize = '1m'\n[run]\nsteps = 20\n[optimiser]\nbatch = 2\n"),
        ("deep/child.toml", "extends = 'middle.toml'\noutput = 'runs/child'\ndata.train = [{ path = 'c' }]\n"),
    ]);
    let child = load(&folder, "deep/child.toml", &[]).unwrap();
    assert_eq!((child.size, child.output.as_path()), (Some(Size::OneMillion), Path::new("runs/child")));
    assert_eq!((child.run.steps, child.run.log_every, child.optimiser.batch), (20, 3, 2));
    // An array is replaced, the table around it is not.
    assert_eq!((child.data.train[0].path.as_path(), child.data.train.len()), (Path::new("c"), 1));
    assert_eq!(child.data.valid[0].path, Path::new("b"));
    let set = ["run.steps=30", "optimiser={ accumulate = 2 }"];
    let child = load(&folder, "deep/child.toml", &set).unwrap();
    // What is set is set as a whole.
    assert_eq!((child.run.steps, child.optimiser.batch, child.optimiser.accumulate), (30, 32, 2));
}

#[test]
fn mistakes_are_reported_with_the_file_that_holds_them() {
    let folder = files(&[
        ("base.toml", &format!("{SMALL}[run]\nsteps = 10\nstep = 5\n")),
        ("child.toml", "extends = 'base.toml'\nsize = '1m'\n"),
        ("broken.toml", "extends = 'base.toml'\nsize = \n"),
        ("grandchild.toml", "extends = 'child.toml'\n\n[network]\nwidth = 'large'\n"),
        ("orphan.toml", "extends = 'nowhere.toml'\n"),
        ("number.toml", "extends = 3\n"),
        ("one.toml", "extends = 'two.toml'\n"),
        ("two.toml", "extends = './one.toml'\n"),
    ]);
    let message = |name: &str, set: &[&str]| {
        let folder_name = format!("{}/", folder.path().display());
        load(&folder, name, set).unwrap_err().to_string().replace(&folder_name, "")
    };
    let unknown = message("child.toml", &[]);
    assert!(unknown.contains("in `base.toml`, which it extends: TOML parse error at line 7, column 1\n"), "{unknown}");
    assert!(unknown.contains("\n7 | step = 5\n  | ^^^^\nunknown field `step`, expected one of `steps`"), "{unknown}");
    assert!(message("broken.toml", &[]).starts_with("the recipe cannot be understood: TOML parse error at line 2"));
    let kind = message("grandchild.toml", &["run={ steps = 1 }"]);
    assert!(kind.starts_with("the recipe cannot be understood: TOML parse error at line 4, column 9\n"), "{kind}");
    assert!(kind.ends_with("invalid type: string \"large\", expected usize"), "{kind}");
    let set = message("child.toml", &["run={ steps = 1 }", "seed=-1"]);
    assert!(set.starts_with("the recipe cannot be understood: `--set seed=-1`: "), "{set}");
    assert!(
        message("orphan.toml", &[])
            .starts_with("could not read the recipe `nowhere.toml`, which `orphan.toml` extends")
    );
    assert!(message("number.toml", &[]).contains("line 1, column 11"));
    assert_eq!(
        message("one.toml", &[]),
        "`extends` leads from `one.toml` to `two.toml` to `./one.toml`; allowed: a chain without a circle"
    );
    let long: Vec<(String, String)> =
        (0..9).map(|i| (format!("{i}.toml"), format!("extends = '{}.toml'\n", i + 1))).collect();
    let folder = files(&long.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>());
    let deep = load(&folder, "0.toml", &[]).unwrap_err();
    assert!(matches!(&deep, RecipeError::Chain { chain, .. } if chain.len() == 9), "{deep}");
    let text = resolve("extends = 'base.toml'", &[]).unwrap_err().to_string();
    assert!(text.starts_with("`extends` is base.toml; allowed: in a file"), "{text}");
}

/// Keys with values that make sense together, whichever of them are there.
const KEYS: [&str; 10] = [
    "size=1m",
    "seed=9",
    "run.steps=77",
    "run.sample_prompt='A fox'",
    "run.activation_memory=3MiB",
    "optimiser.batch=6",
    "optimiser.kind=adamw",
    "objective.time_range=[0.25, 0.75]",
    "objective.process=uniform",
    "network.layers=2",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_recipe_cut_into_files_is_the_same_recipe(
        homes in prop::collection::vec(0usize..4, KEYS.len()),
        shadows in prop::collection::vec(0usize..4, KEYS.len()),
    ) {
        // File 0 is the last base. A key in a file is also set, to something else, in those below it.
        let mut tables = vec![toml::Table::new(); 4];
        for ((pair, home), shadow) in KEYS.iter().zip(&homes).zip(&shadows) {
            let (key, value) = pair.split_once('=').unwrap();
            let value: toml::Value = toml::from_str::<toml::Table>(&format!("x = {value}"))
                .map_or_else(|_| toml::Value::String(value.into()), |mut table| table.remove("x").unwrap());
            let mut put = |file: usize, value: toml::Value| {
                let (table, name) = key.split_once('.').unwrap_or(("", key));
                match table {
                    "" => tables[file].insert(name.into(), value),
                    _ => tables[file]
                        .entry(table)
                        .or_insert_with(|| toml::Table::new().into())
                        .as_table_mut()
                        .unwrap()
                        .insert(name.into(), value),
                };
            };
            put(*home, value);
            if shadow < home {
                put(*shadow, "what the files above it hide".into());
            }
        }
        let small: toml::Table = toml::from_str(SMALL).unwrap();
        for (key, value) in small {
            tables[0].insert(key, value);
        }
        let mut texts = Vec::new();
        for (file, table) in tables.into_iter().enumerate() {
            let extends = if file > 0 { format!("extends = '{}.toml'\n", file - 1) } else { String::new() };
            texts.push((format!("{file}.toml"), extends + &table.to_string()));
        }
        let folder = files(&texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>());
        prop_assert_eq!(load(&folder, "3.toml", &[]).unwrap(), resolve(SMALL, &KEYS).unwrap());
    }
}
