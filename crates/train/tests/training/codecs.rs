//! Codecs of pictures: they learn, go on exactly where they were, and refuse what is another run.

use crate::support::{device, fingerprint};
use aquatint_codec::{Codec, Picture, PictureCodec};
use aquatint_train::{
    CodecRecipe, Ending, HeldOutPictures, Overrides, RecipeKind, ResolvedCodec, RunRecipe, StepFigures, Summary,
    TrainError, TrainingEvent, train,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A few pictures of 16×16 pixels: discs, bars and slopes, half of each transparent.
fn picture(number: u8) -> Picture {
    let pixel = |place: usize| {
        let (x, y) = ((place % 16) as u8, (place / 16) as u8);
        let inside = match number % 3 {
            0 => (i32::from(x) - 8).pow(2) + (i32::from(y) - 8).pow(2) < 36,
            1 => x / 4 % 2 == number / 3 % 2,
            _ => x > y,
        };
        if inside { [40 * (number % 6), 16 * x, 16 * y, 255] } else { [0; 4] }
    };
    Picture::new(16, 16, (0..256).map(pixel).collect()).unwrap()
}

/// A folder of so many pictures.
fn pictures(folder: &Path, count: u8) {
    std::fs::create_dir_all(folder.join("some")).unwrap();
    for number in 0..count {
        picture(number).save(&folder.join(format!("some/{number}.png"))).unwrap();
    }
}

/// A recipe small enough for a test.
fn recipe(folder: &Path, set: &[&str]) -> ResolvedCodec {
    let text = format!(
        "output = '{0}/run'\nseed = 3\n\
         [codec]\nkind = 'pictures'\nsize = 16\npatch = 4\noverlap = 1\nlevels = [8, 5, 5]\nwidth = 32\nencoder_layers = 1\n\
         decoder_layers = 1\nheads = 2\nfeed_forward_width = 48\n\
         [data]\ntrain = [{{ path = '{0}/pictures' }}]\nheld_out = 0.3\n\
         [optimiser]\nbatch = 4\nema = 0.9\nwarm_up = 5\n\
         [run]\nsteps = 20\nlog_every = 4\nvalidate_every = 8\nsave_every = 8\nsample_every = 8\nstorage = 'f32'\n",
        folder.display()
    );
    CodecRecipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
}

/// Where a run ended, with its figures.
type Ran = (Summary, Vec<StepFigures>, Vec<HeldOutPictures>);

fn run(recipe: &ResolvedCodec, resume: bool, stop_at: Option<u64>) -> Result<Ran, TrainError> {
    let (mut figures, mut held_out) = (Vec::new(), Vec::new());
    let stop = AtomicBool::new(false);
    let summary = train(recipe, device(), resume, &stop, &mut |event| match event {
        TrainingEvent::Step(step) => {
            stop.fetch_or(stop_at.is_some_and(|at| step.step >= at), Ordering::SeqCst);
            figures.push(step);
        }
        TrainingEvent::Reconstructed { held_out: found, .. } => held_out.push(*found),
        _ => {}
    })?;
    Ok((summary, figures, held_out))
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("pictures"), 24);
    let whole = recipe(folder.path(), &[&format!("output={}", folder.path().join("whole").display())]);
    let (summary, figures, held_out) = run(&whole, false, None).unwrap();
    assert_eq!((summary.ending, summary.step, summary.bits_per_byte), (Ending::Complete, 20, None));
    assert_eq!((figures.len(), held_out.len()), (5, 3));
    assert!(figures.iter().all(|step| step.bits_per_byte.is_none() && step.loss > 0.0));
    assert_eq!(summary.tokens, 20 * 4 * 16);
    assert!(whole.output.join("sheet.png").is_file() && whole.output.join("loss.svg").is_file());

    let halved = recipe(folder.path(), &[]);
    let (first, ..) = run(&halved, false, Some(12)).unwrap();
    assert_eq!((first.ending, first.step), (Ending::Interrupted, 12));
    let (second, ..) = run(&halved, true, None).unwrap();
    assert_eq!((second.ending, second.step), (Ending::Complete, 20));
    assert!(fingerprint(&halved.output) == fingerprint(&whole.output), "a resumed run has other bits");

    // The folder is a codec that anybody opens.
    let codec = PictureCodec::open(&whole.output, device()).unwrap();
    assert_eq!((codec.kind(), codec.grid(), codec.vocabulary_size()), ("pictures", [4, 4], 200));
    let codes = codec.encode(&picture(1)).unwrap();
    assert!(codes.len() == 16 && codes.iter().all(|&code| code < 200));
    let back = codec.decode(&codes).unwrap();
    assert_eq!((back.width(), back.height()), (16, 16));
    let error = codec.decode(&codes[1..]).unwrap_err().to_string();
    assert_eq!(error, "`codes` is a list of 15; allowed: 16 codes of one picture");
}

#[test]
fn four_pictures_are_learned_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("pictures"), 4);
    // At the usual rate the cost still halves every hundred steps when these are over.
    let rate = "optimiser.learning_rate=1e-2";
    let set =
        ["data.held_out=0.0", "data.vary=false", "run.steps=250", "run.sample_every=0", "run.save_every=250", rate];
    let recipe = recipe(folder.path(), &set);
    let (_, figures, _) = run(&recipe, false, None).unwrap();
    let (first, last) = (figures[0].loss, figures.last().unwrap().loss);
    assert!(last < 0.05 * first, "{first} to {last}");
    let codec = PictureCodec::open(&recipe.output, device()).unwrap();
    for number in 0..4 {
        let original = picture(number);
        let back = codec.decode(&codec.encode(&original).unwrap()).unwrap();
        let error = original
            .premultiplied()
            .iter()
            .flatten()
            .zip(back.premultiplied().iter().flatten())
            .map(|(a, b)| f64::from((a - b).abs()))
            .sum::<f64>()
            / 1024.0;
        assert!(error < 0.02, "picture {number} is off by {error}");
    }
}

#[test]
fn another_run_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("pictures");
    pictures(&all, 24);
    run(&recipe(folder.path(), &["run.steps=4"]), false, None).unwrap();
    let before = fingerprint(&recipe(folder.path(), &[]).output);
    let message = |set: &[&str], resume| run(&recipe(folder.path(), set), resume, None).unwrap_err().to_string();
    assert!(message(&["cost.edges=2.0"], true).contains("`cost.edges` is 0.5 there and 2.0 here"));
    assert!(message(&["codec.width=64"], true).contains("`codec.width` is 32 there and 64 here"));
    assert!(message(&[], false).contains("already holds a run at step 4"));
    // Where they lie does not matter, what they are does.
    let moved = folder.path().join("moved");
    std::fs::rename(&all, &moved).unwrap();
    let place = format!("data.train=[{{ path = '{}' }}]", moved.display());
    run(&recipe(folder.path(), &[&place, "run.steps=4"]), true, None).unwrap();
    assert_ne!(picture(0), picture(31));
    picture(31).save(&moved.join("some/0.png")).unwrap();
    assert!(message(&[&place], true).contains("`data.train[0].content` is "));
    assert_eq!(fingerprint(&recipe(folder.path(), &[]).output), before);
}

#[test]
fn what_cannot_be_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("pictures"), 6);
    let refused = |set: &[&str]| {
        let recipe = recipe(folder.path(), set);
        run(&recipe, false, None).unwrap_err().to_string()
    };
    assert_eq!(refused(&["codec.patch=5"]), "`codec.patch` is 5; allowed: a divisor of `codec.size`, which is 16");
    assert_eq!(refused(&["codec.overlap=3"]), "`codec.overlap` is 3; allowed: at most half of `codec.patch`");
    assert_eq!(
        refused(&["codec.levels=[1, 5]"]),
        "`levels` is [1, 5]; allowed: 1 to 16 numbers, each 2 or more, whose product is at most 2147483647"
    );
    assert!(refused(&["optimiser.batch=64"]).starts_with("`data.train` gives "));
    assert!(refused(&["data.train=[{ path = 'nowhere.tar' }]"]).contains("could not read `nowhere.tar`"));
    assert!(!folder.path().join("run").exists());
    let parsed = |set: &str| {
        let text = "output = 'x'\n[codec]\nkind = 'pictures'\n[data]\ntrain = [{ path = 'a' }]\n";
        CodecRecipe::parse(text, &Overrides::parse(&[set]).unwrap()).and_then(CodecRecipe::resolve)
    };
    let message = |set: &str| parsed(set).unwrap_err().to_string();
    assert_eq!(message("data.held_out=1.5"), "`data.held_out` is 1.5; allowed: a share in [0, 1]");
    assert_eq!(
        message("optimiser.accumulate=5"),
        "`optimiser.accumulate` is 5; allowed: a divisor of `optimiser.batch`"
    );
    assert_eq!(message("cost.alpha=-1.0"), "`cost.alpha` is -1; allowed: 0 or more, at most 1000000");
    assert!(message("codec.depth=3").contains("unknown field `depth`"));
}

#[test]
fn the_recipe_of_the_repository_is_a_codec() {
    let path = crate::support::root().join("recipes/codec/pictures.toml");
    let RecipeKind::Codec(recipe) = RecipeKind::load(&path, &Overrides::default()).unwrap() else {
        panic!("not a codec")
    };
    let recipe = recipe.resolve().unwrap();
    let spec = recipe.codec.spec().unwrap();
    assert_eq!((spec.places(), spec.levels.codes()), (64, 1000));
    let weights: usize = spec.tensors().iter().map(|tensor| tensor.len()).sum();
    // In 16 bits it fits into two megabytes.
    assert!(weights <= 1_000_000, "{weights}");
    // What is printed is a recipe, and the same one.
    let printed = RunRecipe::to_toml(&recipe).unwrap();
    assert_eq!(CodecRecipe::parse(&printed, &Overrides::default()).unwrap().resolve().unwrap(), recipe);
}
