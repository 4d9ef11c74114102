//! Matchers of pictures and captions: they learn what differs and nothing else, go on exactly where they were, and
//! refuse what is another run.

use crate::support::{device, fingerprint, root};
use aquatint_codec::{Matcher, Picture};
use aquatint_evaluate::Share;
use aquatint_train::{
    Ending, HeldOutPairs, MatcherRecipe, Overrides, RecipeKind, ResolvedMatcher, StepFigures, Summary, TrainError,
    Training, TrainingEvent,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const COLOURS: [(&str, [u8; 4]); 4] = [
    ("red", [230, 20, 20, 255]),
    ("green", [20, 200, 40, 255]),
    ("blue", [30, 40, 230, 255]),
    ("white", [250, 250, 250, 255]),
];

/// A disc of a colour and of a size on nothing, or a square.
fn picture(colour: usize, number: usize) -> Picture {
    let side = 4 + number % 8;
    let pixel = |place: usize| {
        let (x, y) = ((place % 16).abs_diff(8), (place / 16).abs_diff(8));
        let inside = if number.is_multiple_of(2) { x * x + y * y < side * side } else { x.max(y) < side };
        if inside { COLOURS[colour].1 } else { [0; 4] }
    };
    Picture::new(16, 16, (0..256).map(pixel).collect()).unwrap()
}

/// Twelve pictures of each colour, and rows that say which: `says` gives the colour that is said of a picture. A third of
/// each is held out.
fn data(folder: &Path, says: impl Fn(usize, usize) -> usize) {
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for colour in 0..COLOURS.len() {
        for number in 0..12 {
            let (name, said) = (format!("{colour}-{number}.png"), COLOURS[says(colour, number)].0);
            picture(colour, number).save(&pictures.join(&name)).unwrap();
            let row = |text: String, lang: &str, kind: &str| {
                serde_json::json!({ "text": text, "concept": said, "kind": kind, "lang": lang }).to_string()
            };
            let rows = if number < 4 { &mut valid } else { &mut train };
            rows.push(row(format!("a {said} thing [[picture:{name}]]"), "en", "caption"));
            rows.push(row(format!("[[picture:{name}]] {said}"), "en", "caption"));
            // None of these is read.
            rows.push(row(format!("[[picture:{name}]]"), "", "caption"));
            rows.push(row(format!("[[picture:{name}]] de: bunt"), "de", "caption"));
            rows.push(row(format!("It was all black. [[picture:{name}]]"), "en", "passage"));
        }
    }
    std::fs::write(folder.join("train.jsonl"), train.join("\n")).unwrap();
    std::fs::write(folder.join("valid.jsonl"), valid.join("\n")).unwrap();
}

/// A recipe small enough for a test.
fn recipe(folder: &Path, set: &[&str]) -> ResolvedMatcher {
    let text = format!(
        "output = '{0}/run'\nseed = 3\n\
         [matcher]\nsize = 16\npatch = 4\ntext_length = 8\nwidth = 16\npicture_layers = 1\ntext_layers = 1\nheads = 2\n\
         feed_forward_width = 24\nvector = 8\n\
         [data]\ntrain = [{{ path = '{0}/train.jsonl', media = '{0}/pictures' }}]\n\
         valid = [{{ path = '{0}/valid.jsonl', media = '{0}/pictures' }}]\nlanguages = ['en']\nvocabulary_size = 280\n\
         [optimiser]\nbatch = 16\nema = 0.9\nwarm_up = 5\nlearning_rate = 3e-3\n\
         [run]\nsteps = 20\nlog_every = 4\nvalidate_every = 8\nsave_every = 8\nstorage = 'f32'\n",
        folder.display()
    );
    MatcherRecipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
}

type Ran = (Summary, Vec<StepFigures>, Vec<HeldOutPairs>);

fn run(recipe: &ResolvedMatcher, resume: bool, stop_at: Option<u64>) -> Result<Ran, TrainError> {
    let (mut figures, mut held_out) = (Vec::new(), Vec::new());
    let stop = AtomicBool::new(false);
    let training = Training::new(recipe).resume(resume).stop(&stop);
    let summary = training.run(device(), &mut |event| match event {
        TrainingEvent::Step(step) => {
            stop.fetch_or(stop_at.is_some_and(|at| step.step >= at), Ordering::SeqCst);
            figures.push(step);
        }
        TrainingEvent::Pairs(pairs) => {
            assert_eq!((pairs.train, pairs.concepts, pairs.held_out), (32, 4, 16));
        }
        TrainingEvent::Matched { held_out: found, .. } => held_out.push(*found),
        _ => {}
    })?;
    Ok((summary, figures, held_out))
}

#[test]
fn what_differs_is_found_every_time() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path(), |colour, _| colour);
    let recipe = recipe(folder.path(), &["run.steps=150", "run.validate_every=150", "run.save_every=150"]);
    let (_, figures, held_out) = run(&recipe, false, None).unwrap();
    // Sixteen pictures of four colours: each shares its target with about four, which is the least that they can cost.
    assert!(figures.last().unwrap().loss < 0.75 * figures[0].loss, "{figures:?}");
    let last = held_out.last().unwrap();
    assert_eq!((last.held_out.pictures, last.held_out.concepts, last.trained.concepts), (16, 4, 4));
    assert_eq!((last.held_out.hit_rate, last.trained.hit_rate), (1.0, 1.0), "{held_out:?}");
    // The folder is a matcher that anybody opens.
    let matcher = Matcher::open(&recipe.output, device()).unwrap();
    let texts = matcher.texts(&["green", "red"]).unwrap();
    let green = matcher.pictures(&[&picture(1, 2)]).unwrap().remove(0);
    let cosine = |text: &[f32]| text.iter().zip(&green).map(|(a, b)| a * b).sum::<f32>();
    assert!(cosine(&texts[0]) > cosine(&texts[1]) + 0.2, "{} and {}", cosine(&texts[0]), cosine(&texts[1]));
    // Of any size.
    assert_ne!(matcher.pictures(&[&picture(1, 2).fitted(40)]).unwrap()[0], texts[0]);
}

#[test]
fn what_is_said_at_random_is_found_by_chance() {
    let folder = tempfile::tempdir().unwrap();
    // Each colour is said of each colour as often.
    data(folder.path(), |colour, number| (colour + number) % 4);
    let recipe = recipe(folder.path(), &["run.steps=60", "run.validate_every=60", "run.save_every=60"]);
    let (_, _, held_out) = run(&recipe, false, None).unwrap();
    let found = held_out.last().unwrap().held_out;
    let share = Share { hits: (found.hit_rate * found.pictures as f64).round() as u64, count: found.pictures as u64 };
    let [low, high] = share.interval();
    assert!(low <= 0.25 && 0.25 <= high, "{found:?}");
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path(), |colour, _| colour);
    let whole = recipe(folder.path(), &[&format!("output={}", folder.path().join("whole").display())]);
    let (summary, figures, held_out) = run(&whole, false, None).unwrap();
    assert_eq!((summary.ending, summary.step, summary.bits_per_byte), (Ending::Complete, 20, None));
    assert_eq!((figures.len(), held_out.len(), summary.tokens), (5, 3, 20 * 16 * 16));
    assert!(whole.output.join("tokenizer.json").is_file());
    assert!(std::fs::read_to_string(whole.output.join("loss.svg")).unwrap().contains("held-out pictures"));
    let metrics = std::fs::read_to_string(whole.output.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"held_out_hit_rate\":") && metrics.contains("\"trained_hit_rate\":"), "{metrics}");
    let halved = recipe(folder.path(), &[]);
    let (first, ..) = run(&halved, false, Some(12)).unwrap();
    assert_eq!((first.ending, first.step), (Ending::Interrupted, 12));
    let (second, ..) = run(&halved, true, None).unwrap();
    assert_eq!((second.ending, second.step), (Ending::Complete, 20));
    assert!(fingerprint(&halved.output) == fingerprint(&whole.output), "a resumed run has other bits");
    // A run that is complete is not written to.
    assert_eq!(run(&halved, true, None).unwrap().0.step, 20);
    assert!(fingerprint(&halved.output) == fingerprint(&whole.output));
}

#[test]
fn another_run_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path(), |colour, _| colour);
    run(&recipe(folder.path(), &["run.steps=4"]), false, None).unwrap();
    let before = fingerprint(&recipe(folder.path(), &[]).output);
    let message = |set: &[&str], resume| run(&recipe(folder.path(), set), resume, None).unwrap_err().to_string();
    assert!(message(&["matcher.width=32"], true).contains("`matcher.width` is 16 there and 32 here"));
    assert!(message(&["data.vary=false"], true).contains("`data.vary` is true there and false here"));
    assert!(message(&[], false).contains("already holds a run at step 4"));
    picture(0, 11).save(&folder.path().join("pictures/0-6.png")).unwrap();
    assert!(message(&[], true).contains("`data.train[0].content` is "));
    std::fs::remove_file(folder.path().join("pictures/0-6.png")).unwrap();
    let elsewhere = format!("output={}", folder.path().join("elsewhere").display());
    let missing = message(&[&elsewhere], false);
    assert!(missing.contains("`media` is ") && missing.contains("`0-6.png`"), "{missing}");
    assert!(!folder.path().join("elsewhere/state").exists());
    assert_eq!(fingerprint(&recipe(folder.path(), &[]).output), before);
}

#[test]
fn what_cannot_be_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path(), |colour, _| colour);
    let refused = |set: &[&str]| run(&recipe(folder.path(), set), false, None).unwrap_err().to_string();
    assert_eq!(
        refused(&["matcher.patch=5"]),
        "`matcher.patch` is 5; allowed: a divisor of `matcher.size`, which is 16"
    );
    assert_eq!(
        refused(&["matcher.heads=3"]),
        "`matcher.heads` is 3; allowed: a divisor of half of `matcher.width`, which is 16"
    );
    assert_eq!(refused(&["matcher.vector=0"]), "`matcher.vector` is 0; allowed: 1 to 16384");
    assert!(refused(&["optimiser.batch=64"]).starts_with("`data.train` gives 32 pictures, 64 are needed"));
    let parsed = |set: &str| {
        let text = "output = 'x'\n[matcher]\n[data]\ntrain = [{ path = 'a', media = 'b' }]\n";
        MatcherRecipe::parse(text, &Overrides::parse(&[set]).unwrap()).and_then(MatcherRecipe::resolve)
    };
    let message = |set: &str| parsed(set).unwrap_err().to_string();
    for (set, start) in [
        ("optimiser.accumulate=2", "`optimiser.accumulate` is 2; allowed: 1 in the recipe of a matcher"),
        ("optimiser.batch=1", "`optimiser.batch` is 1; allowed: 2 or more"),
        ("data.train=[]", "`data.train` is []; allowed: at least one source"),
        ("data.vocabulary_size=100", "`data.vocabulary_size` is 100; allowed: 260 to 1048576"),
        ("run.activation_memory=1GiB", "`run.activation_memory` is "),
    ] {
        assert!(message(set).starts_with(start), "{}", message(set));
    }
    assert!(message("matcher.depth=3").contains("unknown field `depth`"));
}

#[test]
fn the_recipe_of_the_repository_prints_as_itself() {
    let path = root().join("recipes/canvas/judge.toml");
    let RecipeKind::Matcher(recipe) = RecipeKind::load(&path, &Overrides::default()).unwrap() else {
        panic!("not of a matcher")
    };
    let recipe = recipe.resolve().unwrap();
    let printed = toml::to_string(&recipe).unwrap();
    assert_eq!(MatcherRecipe::parse(&printed, &Overrides::default()).unwrap().resolve().unwrap(), recipe);
    let weights: usize = recipe.matcher.spec(2000).unwrap().tensors().iter().map(|tensor| tensor.len()).sum();
    assert!((500_000..2_500_000).contains(&weights), "{weights}");
}
