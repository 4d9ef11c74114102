//! Codecs of pictures and sounds: they learn, go on exactly where they were, and refuse what is another run.

use crate::support::{device, fingerprint};
use aquatint_codec::quality::{Reconstruction, measure, measure_rows};
use aquatint_codec::{
    Codec, Extent, Medium, MediumConfig, Picture, PictureCodec, PictureConfig, Rate, Sound, SoundCodec, SoundConfig,
};
use aquatint_train::{
    CodecRecipe, Ending, HeldOutSamples, Overrides, RecipeKind, ResolvedCodec, RunRecipe, StepFigures, Summary,
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
fn recipe(folder: &Path, set: &[&str]) -> ResolvedCodec<PictureConfig> {
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
type Ran = (Summary, Vec<StepFigures>, Vec<HeldOutSamples>);

fn run<R: RunRecipe>(recipe: &R, resume: bool, stop_at: Option<u64>) -> Result<Ran, TrainError> {
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
    assert_eq!((codec.kind(), codec.extent(), codec.vocabulary_size()), ("pictures", Extent::Grid([4, 4]), 200));
    let codes = codec.encode(&picture(1)).unwrap();
    assert!(codes.len() == 16 && codes.iter().all(|&code| code < 200));
    let back = codec.decode(&codes).unwrap();
    assert_eq!((back.width(), back.height()), (16, 16));
    let error = codec.decode(&codes[1..]).unwrap_err().to_string();
    assert_eq!(error, "`codes` is a list of 15; allowed: 16 codes");
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
        CodecRecipe::<PictureConfig>::parse(text, &Overrides::parse(&[set]).unwrap()).and_then(CodecRecipe::resolve)
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

/// What a recipe of the repository makes: codes that there are, numbers in the weights, and whether what it prints is the
/// same recipe.
fn described<C: MediumConfig>(recipe: CodecRecipe<C>) -> (usize, usize, Rate) {
    let recipe = recipe.resolve().unwrap();
    let printed = toml::to_string(&recipe).unwrap();
    assert_eq!(CodecRecipe::<C>::parse(&printed, &Overrides::default()).unwrap().resolve().unwrap(), recipe);
    let medium = C::Medium::new(&recipe.codec).unwrap();
    let weights = medium.spec().tensors().iter().map(|tensor| tensor.len()).sum();
    (medium.spec().levels.codes(), weights, medium.rate())
}

#[test]
fn the_recipes_of_the_repository_are_codecs_of_two_megabytes() {
    let load = |name: &str| {
        let path = crate::support::root().join("recipes/codec").join(name);
        RecipeKind::load(&path, &Overrides::default()).unwrap()
    };
    let RecipeKind::Pictures(pictures) = load("pictures.toml") else { panic!("not of pictures") };
    let RecipeKind::Sounds(sounds) = load("sounds.toml") else { panic!("not of sounds") };
    for ((codes, weights, rate), wanted) in
        [(described(*pictures), Rate::PerPicture(64)), (described(*sounds), Rate::PerSecond(40.0))]
    {
        assert_eq!((codes, rate), (1000, wanted));
        // In 16 bits it fits into two megabytes.
        assert!(weights <= 1_000_000, "{weights}");
    }
}

#[test]
fn a_codec_of_another_kind_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    for (codec, given) in [("kind = 'smells'", "\"smells\""), ("", "missing"), ("kind = 3", "of type integer")] {
        std::fs::write(&path, format!("output = 'x'\n[codec]\n{codec}\n[data]\ntrain = [{{ path = 'a' }}]\n")).unwrap();
        let error = RecipeKind::load(&path, &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("`codec.kind` is {given}; allowed: \"pictures\", \"sounds\"")), "{error}");
    }
}

/// A second or less of two tones that change, at 8 kHz.
fn sound(number: usize) -> Sound {
    let tone = |n: usize| {
        let time = n as f64 / 8000.0;
        let hertz = 200.0 + 150.0 * (number % 5) as f64 + if n > 1200 { 300.0 } else { 0.0 };
        (0.3 * (std::f64::consts::TAU * hertz * time).sin()) as f32
    };
    Sound::new(8000, (0..1600 + 300 * (number % 4)).map(tone).collect()).unwrap()
}

/// A folder of so many sounds, and a recipe for them that is small enough for a test.
fn sounds(folder: &Path, count: usize, set: &[&str]) -> ResolvedCodec<SoundConfig> {
    let all = folder.join("sounds");
    std::fs::create_dir_all(&all).unwrap();
    for number in 0..count {
        sound(number).save(&all.join(format!("{number}.wav"))).unwrap();
    }
    let text = format!(
        "output = '{0}/run'\nseed = 3\n\
         [codec]\nkind = 'sounds'\nhop = 80\nwindow = 256\nbands = 16\nframes = 2\nlevels = [8, 5, 5]\nwidth = 32\n\
         encoder_layers = 1\ndecoder_layers = 1\nheads = 2\nfeed_forward_width = 48\nattention_window = 4\n\
         [data]\ntrain = [{{ path = '{0}/sounds' }}]\nheld_out = 0.3\n\
         [optimiser]\nbatch = 4\nema = 0.9\nwarm_up = 5\n\
         [run]\nsteps = 12\nlog_every = 4\nvalidate_every = 6\nsave_every = 6\nsample_every = 6\nstorage = 'f32'\n",
        folder.display()
    );
    CodecRecipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
}

#[test]
fn an_interrupted_run_of_sounds_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sounds(folder.path(), 16, &[&format!("output={}", folder.path().join("whole").display())]);
    let (summary, figures, held_out) = run(&whole, false, None).unwrap();
    assert_eq!((summary.ending, summary.step, held_out.len()), (Ending::Complete, 12, 2));
    assert!(figures.iter().all(|step| step.bits_per_byte.is_none() && step.loss > 0.0));
    assert!(whole.output.join("sheet.png").is_file());
    assert!(std::fs::read_to_string(whole.output.join("loss.svg")).unwrap().contains("held-out sounds"));
    let halved = sounds(folder.path(), 16, &[]);
    assert_eq!(run(&halved, false, Some(8)).unwrap().0.ending, Ending::Interrupted);
    assert_eq!(run(&halved, true, None).unwrap().0.step, 12);
    assert!(fingerprint(&halved.output) == fingerprint(&whole.output), "a resumed run has other bits");
}

#[test]
fn four_sounds_are_learned_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        "data.held_out=0.0",
        "data.vary=false",
        "run.steps=200",
        "run.sample_every=0",
        "run.save_every=200",
        "optimiser.learning_rate=1e-2",
    ];
    let recipe = sounds(folder.path(), 4, &set);
    let (_, figures, _) = run(&recipe, false, None).unwrap();
    let (first, last) = (figures[0].loss, figures.last().unwrap().loss);
    assert!(last < 0.05 * first, "{first} to {last}");
    let codec = SoundCodec::open(&recipe.output, device()).unwrap();
    let originals: Vec<Sound> = (0..4).map(|number| codec.medium().fitted(&sound(number)).unwrap()).collect();
    let originals: Vec<&Sound> = originals.iter().collect();
    let distance = |reconstruction| match reconstruction {
        Reconstruction::Sounds(figures) => figures.log_spectral_distance,
        Reconstruction::Pictures(_) => panic!("not of sounds"),
    };
    let with_codes = distance(measure(&codec, &originals, &mut |_| true).unwrap().0);
    let without = distance(measure_rows(codec.medium(), &originals, &mut |_| true).unwrap());
    // What is left is what no codec of so few bands brings back.
    assert!(with_codes < without + 1.0, "{with_codes} dB, {without} dB without codes");
}
