//! Instruction tuning: what is given stays, answers are learned, and the model is saved with the template that it learned.

use crate::support::{device, fingerprint, recipe, root, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_train::{AvailableMemory, Overrides, Recipe, Resolved, TrainError, Training, TrainingEvent, train};
use aquatint_vocabulary::{ChatTemplate, Message};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A row in which a user asks and the assistant answers.
fn row(prompt: &str, answer: &str) -> String {
    json!({ "messages": [{ "role": "user", "content": prompt }, { "role": "assistant", "content": answer }] })
        .to_string()
}

/// Questions whose answer is the word that they name.
fn rows() -> String {
    let words = ["fox", "hen", "barn", "hill", "sun", "dog"];
    let rows = (0..48).map(|index| {
        let (one, other) = (words[index % 6], words[(index / 6 + index + 1) % 6]);
        row(&format!("{one} {other}?"), one)
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A model that has read a few texts.
fn initial(folder: &Path) -> PathBuf {
    let output = folder.join("initial");
    run(&recipe(&output, &["run.steps=1", "run.validate_every=100"]), false).unwrap();
    output
}

/// A run that begins with it and learns from conversations, with further keys.
fn tuned(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Resolved {
    parsed(output, initial, data, set).unwrap()
}

fn parsed(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Result<Resolved, aquatint_train::RecipeError> {
    let text = format!(
        "output = '{}'\ninitial = '{}'\nseed = 7\n[data]\ntrain = [{{ path = '{data}' }}]\nvalid = [{{ path = '{data}' }}]\n\
         canvas_length = 32\n[objective]\nkind = 'instruct'\n[optimiser]\nbatch = 4\nwarm_up = 4\nema = 0.9\n\
         learning_rate = 5e-3\n[run]\nsteps = 40\nlog_every = 5\nvalidate_every = 15\nvalidate_canvases = 8\n\
         validate_times = 2\nsave_every = 20\nsample_every = 0\nstorage = 'f32'\n",
        output.display(),
        initial.display(),
        data = data.display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap())?.resolve()
}

#[test]
fn answers_are_learned_resume_exactly_and_their_template_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), write(folder.path(), "rows.jsonl", &rows()));
    let set = [
        "objective.answer_length=6",
        "objective.packing=true",
        "objective.masking='complementary'",
        "optimiser.lr_schedule='constant'",
        "run.validate_every=20",
    ];
    let output = folder.path().join("tuned");
    let (_, figures) = run(&tuned(&output, &initial, &data, &set), false).unwrap();
    let (first, last) = (figures[0].loss, figures[figures.len() - 1].loss);
    assert!(last < 0.6 * first, "{first} {last}");
    let halved = folder.path().join("halved");
    run(&tuned(&halved, &initial, &data, &[&set[..], &["run.steps=20"]].concat()), false).unwrap();
    run(&tuned(&halved, &initial, &data, &set), true).unwrap();
    assert_eq!(fingerprint(&output), fingerprint(&halved));
    // What a program reads of its folder.
    let checkpoint = Checkpoint::load(&output).unwrap();
    let turns = [Message::new("user", "fox hen?")];
    assert_eq!(checkpoint.chat_template().unwrap().render(&turns, true).unwrap(), "Q: fox hen?\nA:");
    assert_eq!(checkpoint.generation.max_new_tokens, Some(6));
    assert_eq!((checkpoint.generation.temperature, checkpoint.generation.repetition_penalty), (Some(0.0), None));
    assert!(Checkpoint::load(&initial).unwrap().chat_template().is_err());
    // A run that begins with it keeps its template.
    let again = folder.path().join("again");
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    run(&tuned(&again, &output, &data, &["run.steps=1"]), false).unwrap();
    assert_eq!(
        Checkpoint::load(&again).unwrap().chat_template().unwrap().render(&turns, true).unwrap(),
        "Q: fox hen?\nA:"
    );
    let other = folder.path().join("other");
    let set = format!("objective.chat_template=\"{template}\"");
    run(&tuned(&other, &output, &data, &["run.steps=1", &set]), false).unwrap();
    assert_eq!(Checkpoint::load(&other).unwrap().chat_template().unwrap().render(&turns, true).unwrap(), "fox hen?");
}

#[test]
fn nothing_is_learned_of_what_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let initial = initial(folder.path());
    let data = write(folder.path(), "rows.jsonl", &rows());
    let mut observed = Vec::new();
    train(
        &tuned(&folder.path().join("tuned"), &initial, &data, &["run.steps=1", "run.log_every=1"]),
        device(),
        false,
        &AtomicBool::new(false),
        &mut |event| match event {
            TrainingEvent::Corpus(corpus) => {
                observed.push((corpus.train_tokens, corpus.text_bytes, corpus.train_canvases))
            }
            TrainingEvent::Step(step) => observed.push((step.tokens, 0, 0)),
            _ => {}
        },
    )
    .unwrap();
    // 48 conversations; the answers have their words and the blanks before them, in both sources.
    let bytes: usize = ["fox", "hen", "barn", "hill", "sun", "dog"].iter().map(|word| 8 * (word.len() + 1)).sum();
    assert_eq!((observed[0].1, observed[0].2), (2 * bytes as u64, 48));
    // Tokens of a step are all that it reads.
    assert!(observed[1].0 * 12 > observed[0].0 / 2 && observed[1].0 < observed[0].0, "{observed:?}");
}

#[test]
fn what_nothing_can_be_learned_from_is_refused_and_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let initial = initial(folder.path());
    let output = folder.path().join("tuned");
    let refused = |data: &Path, set: &[&str]| {
        let recipe = tuned(&output, &initial, data, set);
        let training = Training::new(&recipe).memory(AvailableMemory::default());
        let refused = training.check(&device(), &mut |_| {}).unwrap_err();
        assert!(!output.exists());
        match refused {
            TrainError::Corpus(error) => error.to_string(),
            other => other.to_string(),
        }
    };
    let unanswered = write(folder.path(), "unanswered.jsonl", r#"{"messages": [{"role": "user", "content": "Who?"}]}"#);
    let said = refused(&unanswered, &[]);
    assert!(said.contains("1 of 1 rows") && said.contains("there is no answer to learn"), "{said}");
    let text = root().join("data/sample/train");
    assert!(refused(&text, &[]).contains("conversations are read from JSON lines"));
    let data = write(folder.path(), "rows.jsonl", &rows());
    let said = refused(&data, &["objective.chat_template='{% for'"]);
    assert!(said.starts_with("the chat template cannot be read"), "{said}");
    // Rows that no canvas holds.
    let long = write(folder.path(), "long.jsonl", &row(&"Who? ".repeat(60), "A fox."));
    let refused = run(&tuned(&output, &initial, &long, &[]), false).unwrap_err().to_string();
    assert!(refused.ends_with("all 1 conversations are longer than a canvas of 32 tokens"), "{refused}");
}

#[test]
fn what_is_longer_than_a_canvas_is_reported_and_the_rest_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let initial = initial(folder.path());
    let long = row(&"Who? ".repeat(60), "A fox.");
    let data = write(folder.path(), "rows.jsonl", &format!("{long}\n{}\n{long}", rows()));
    let mut warnings = Vec::new();
    let recipe = tuned(&folder.path().join("tuned"), &initial, &data, &["run.steps=1"]);
    train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::Warning(warning) = event {
            warnings.push(warning.to_owned());
        }
    })
    .unwrap();
    let reported = warnings.iter().find(|warning| warning.starts_with("2 of 50 conversations")).unwrap();
    assert!(
        reported.contains("longer than `data.canvas_length`, which is 32") && reported.contains("(line 1 of"),
        "{reported}"
    );
}

#[test]
fn keys_of_conversations_are_for_conversations_and_need_a_model_to_begin_with() {
    let path = Path::new("x");
    let refused = |set: &[&str]| parsed(path, path, path, set).unwrap_err().to_string();
    for key in ["objective.answer_length=4", "objective.packing=true", "objective.chat_template=''"] {
        let said = refused(&["objective.kind='diffusion'", key]);
        let name = key.split('=').next().unwrap();
        assert_eq!(said, format!("`{name}` is set; allowed: nothing but where `objective.kind` is \"instruct\""));
    }
    let said = refused(&["objective.answer_length=33"]);
    assert_eq!(said, "`objective.answer_length` is 33; allowed: 0 or more, at most `data.canvas_length`");
    let said = refused(&["distillation={ steps = 8, rounds = 1 }"]);
    assert!(said.starts_with("`distillation` is set"), "{said}");
    let said = refused(&["data.valid=[{ path = 'x', media = 'y' }]"]);
    assert!(said.ends_with("conversations are text"), "{said}");
    let alone =
        "output = 'x'\n[data]\ntrain = [{ path = 'x' }]\nvalid = [{ path = 'x' }]\n[objective]\nkind = 'instruct'\n";
    let said = Recipe::parse(alone, &Overrides::default()).unwrap().resolve().unwrap_err().to_string();
    assert!(said.contains("a model learns to write before it learns to answer"), "{said}");
}

/// Folders of other people's families, with the template of their own or of their family.
#[test]
fn other_families_learn_by_their_own_templates_and_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = write(folder.path(), "rows.jsonl", &[row("hi", "fox"), row("ho", "hen"), row("he", "ran")].join("\n"));
    for family in ["llada", "dream", "sdar", "a2d_qwen3", "llada2_moe"] {
        let initial = root().join("golden").join(family);
        let there = Checkpoint::load(&initial).unwrap();
        let output = folder.path().join(family);
        let canvas = format!("data.canvas_length={}", there.spec.context_length.min(96));
        let set = [&canvas, "optimiser.batch=2", "run.steps=3", "run.log_every=1", "optimiser.kind='adamw'"];
        let (_, figures) = run(&tuned(&output, &initial, &data, &set), false).unwrap();
        assert!(figures.iter().all(|step| step.loss.is_finite() && step.loss > 0.0), "{family}");
        let saved = Checkpoint::load(&output).unwrap();
        assert_eq!(saved.family.facts().model_type, there.family.facts().model_type);
        let turns = [Message::new("user", "hi"), Message::new("assistant", "fox")];
        let said = |checkpoint: &Checkpoint, asks| {
            checkpoint
                .chat_template()
                .unwrap_or_else(|_| plain())
                .render(&turns[..if asks { 1 } else { 2 }], asks)
                .unwrap()
        };
        for asks in [true, false] {
            if there.chat_template().is_ok() {
                assert_eq!(said(&saved, asks), said(&there, asks), "{family}");
            }
        }
        assert!(saved.chat_template().is_ok(), "{family}");
    }
}

fn plain() -> ChatTemplate {
    ChatTemplate::new(ChatTemplate::PLAIN, "", "").unwrap()
}

/// An adapter's folder holds what its answers need: the template that it learned and how to sample by it.
#[test]
fn an_adapter_learns_answers_and_they_have_their_template_wherever_it_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), write(folder.path(), "rows.jsonl", &rows()));
    let set = [
        "adapter={ rank = 8, targets = ['all-linear'] }",
        "objective.answer_length=6",
        "objective.packing=true",
        "optimiser.lr_schedule='constant'",
        "optimiser.learning_rate=2e-2",
        "run.validate_every=20",
    ];
    let output = folder.path().join("tuned");
    let (_, figures) = run(&tuned(&output, &initial, &data, &set), false).unwrap();
    let (first, last) = (figures[0].loss, figures[figures.len() - 1].loss);
    // The model has read next to nothing, and its head stays as it is.
    assert!(last < first - 0.15, "{first} {last}");
    // A run that is resumed finds what it wrote, and writes the same.
    let halved = folder.path().join("halved");
    run(&tuned(&halved, &initial, &data, &[&set[..], &["run.steps=20"]].concat()), false).unwrap();
    run(&tuned(&halved, &initial, &data, &set), true).unwrap();
    for file in ["adapter_model.safetensors", "tokenizer_config.json", "generation_config.json"] {
        assert!(std::fs::read(output.join(file)).unwrap() == std::fs::read(halved.join(file)).unwrap(), "{file}");
    }

    let opened = Checkpoint::open(&format!("{}+{}", initial.display(), output.display())).unwrap();
    let turns = [Message::new("user", "fox hen?")];
    let rendered = |checkpoint: &Checkpoint| checkpoint.chat_template().unwrap().render(&turns, true).unwrap();
    assert_eq!(rendered(&opened), "Q: fox hen?\nA:");
    let advice = opened.generation_with(opened.first_adapter());
    assert_eq!((advice.max_new_tokens, advice.temperature, advice.repetition_penalty), (Some(6), Some(0.0), None));
    assert!(opened.chat_template_with(None).is_err(), "the model alone has no template");
    assert_eq!(opened.generation_with(None), &Checkpoint::load(&initial).unwrap().generation);
    let merged = folder.path().join("merged");
    opened.merge(&merged, aquatint_checkpoint::Storage::F32).unwrap();
    let merged = Checkpoint::load(&merged).unwrap();
    assert_eq!((rendered(&merged).as_str(), merged.generation.max_new_tokens), ("Q: fox hen?\nA:", Some(6)));
}
