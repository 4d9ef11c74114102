//! Adapters beside models, from the command line.

use crate::support::{aquatint, room, text};
use std::path::Path;

/// A recipe that learns an adapter for a model in a few steps.
fn recipe(folder: &Path, initial: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sample = root.join("data/sample");
    let recipe = format!(
        "output = '{}'\ninitial = '{initial}'\n[data]\ntrain = [{{ path = '{sample}/train' }}]\nvalid = [{{ path = \
         '{sample}/valid' }}]\ncanvas_length = 64\ncache = '{}'\n[adapter]\nrank = 2\ntargets = ['q_proj', 'v_proj']\n\
         [optimiser]\nbatch = 1\nlearning_rate = 0.05\nlr_schedule = 'constant'\nema = 0.0\n[run]\nsteps = 3\n\
         validate_canvases = 1\nvalidate_times = 1\nsample_every = 0\n",
        folder.join("run").display(),
        folder.join("tokens").display(),
        sample = sample.display(),
    );
    let path = folder.join("adapter.toml");
    std::fs::write(&path, recipe).unwrap();
    path
}

#[test]
fn an_adapter_is_trained_shown_applied_and_merged() {
    let folder = room("adapters");
    let run = folder.join("run");
    aquatint(&["train", text(&recipe(&folder, "tales")), "--threads", "1"]).expect(0);
    let name = format!("tales+{}", run.display());
    let shown = aquatint(&["show", &name]).expect(0).out;
    assert!(shown.contains("adapter     run (rank 2, 18 matrices,"), "{shown}");
    let generate = |model: &str| {
        let given = ["generate", "Once upon a time", "-n", "24", "--steps", "6", "--seed", "3", "-t", "1", "-m", model];
        aquatint(&given).expect(0).out
    };
    let (adapted, alone) = (generate(&name), generate("tales"));
    assert_ne!(adapted, alone);
    // The folder names its base.
    assert_eq!(generate(text(&run)), adapted);
    let whole = folder.join("whole");
    let merged = aquatint(&["merge", &name, "--storage", "f32", "--out", text(&whole)]).expect(0);
    assert!(merged.err.contains("run         ") && merged.err.contains("parameters in 18 matrices"), "{}", merged.err);
    // Its matrices were integers, and are real numbers now: what it writes may differ.
    let shown = aquatint(&["show", text(&whole)]).expect(0).out;
    assert!(!shown.lines().any(|line| line.starts_with("adapter ") || line.starts_with("quantised ")), "{shown}");
    assert!(generate(text(&whole)).starts_with("Once upon a time"));
    aquatint(&["merge", &name, "--out", text(&whole)]).expect(2);
    let best = run.join("best");
    let both = format!("{name}+{}", best.display());
    let error = aquatint(&["generate", "Once", "-m", &both]).expect(2).err;
    assert!(error.contains("has the adapter `best` beside another one; allowed: one"), "{error}");
}

/// The recipe that is there, as short as it can be.
#[test]
fn an_adapter_of_conversations_answers_by_its_advice_and_so_does_what_it_is_merged_into() {
    let folder = room("adapters-instruct");
    let run = folder.join("run");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let recipe = root.join("recipes/instruct/adapter.toml");
    let data = |key, file| format!("data.{key}=[{{ path = '{}/data/sample/conversations/{file}' }}]", root.display());
    let (learned, held_out) = (data("train", "train.jsonl"), data("valid", "valid.jsonl"));
    let short =
        ["run.steps=2", "optimiser.batch=1", "run.validate_canvases=1", "run.validate_times=1", "adapter.rank=2"];
    let set = short.into_iter().chain([&*learned, &held_out]).flat_map(|set| ["--set", set]);
    let train: Vec<&str> =
        ["train", text(&recipe), "--out", text(&run), "--threads", "1"].into_iter().chain(set).collect();
    aquatint(&train).expect(0);
    let name = format!("tales+{}", run.display());
    let rows = folder.join("rows.jsonl");
    let row =
        r#"{"messages": [{"role": "user", "content": "Who ran?"}, {"role": "assistant", "content": "The fox."}]}"#;
    std::fs::write(&rows, row).unwrap();
    let shown = |model: &str| aquatint(&["show", model]).expect(0).out;
    let defaults = |model: &str| {
        let shown = shown(model);
        shown.lines().find(|line| line.starts_with("defaults ")).unwrap().to_owned()
    };
    assert!(defaults(&name).contains("temperature 0"), "{}", shown(&name));
    assert_ne!(defaults(&name), defaults("tales"));
    let answered = aquatint(&["eval", "answers", &name, "--data", text(&rows)]).expect(0);
    assert!(answered.out.lines().any(|line| line.starts_with(&format!("| {name} | all | 1 |"))), "{}", answered.out);
    // A merged model is used as the adapter was.
    let whole = folder.join("whole");
    aquatint(&["merge", &name, "--out", text(&whole)]).expect(0);
    assert_eq!(defaults(text(&whole)), defaults(&name));
    let config = std::fs::read_to_string(whole.join("tokenizer_config.json")).unwrap();
    assert!(config.contains("chat_template"), "{config}");
}

#[test]
fn what_is_no_adapter_of_a_model_is_refused_in_a_line() {
    let folder = room("adapters-refused");
    let refused = |model: &str| aquatint(&["generate", "Once", "-m", model]).expect(2).err;
    let missing = refused(&format!("tales+{}", folder.join("nothing").display()));
    assert!(missing.contains("adapter_config.json` is missing"), "{missing}");
    let plain = aquatint(&["merge", "tales", "--out", text(&folder.join("whole"))]).expect(2).err;
    assert!(plain.contains("the model has 0 adapters; allowed: the one that is merged into it"), "{plain}");
}
