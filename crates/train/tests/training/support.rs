//! A recipe small enough for a test, and what a run leaves.

use aquatint_compute::{Cpu, CpuPath};
use aquatint_corpus::{Source, sample};
use aquatint_files::write_atomically;
use aquatint_train::{Overrides, Recipe, Resolved, StepFigures, Summary, TrainError, TrainingEvent, train};
use aquatint_vocabulary::Vocabulary;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with a vocabulary of 320 tokens, made once for all tests, and beside it the texts that they pack with it.
fn prepared() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("training");
        let texts = sample(&[Source::new(root().join("data/sample/train"))], 100_000, &mut |_| true).unwrap();
        let json = Vocabulary::train(texts.into_iter(), 320).unwrap().to_json().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        write_atomically(&folder.join("tokenizer.json"), |out| out.write_all(&json)).unwrap();
        folder
    })
}

/// A recipe small enough for a test.
pub(crate) fn recipe(output: &Path, set: &[&str]) -> Resolved {
    let sample = root().join("data/sample");
    let text = format!(
        "output = '{}'\nsize = '1m'\nseed = 7\n[data]\ntrain = [{{ path = '{sample}/train' }}]\n\
         valid = [{{ path = '{sample}/valid' }}]\ncanvas_length = 32\n\
         vocabulary = '{prepared}/tokenizer.json'\ncache = '{prepared}/tokens'\n\
         [network]\nwidth = 32\nlayers = 2\nheads = 2\nhead_size = 16\n\
         [optimiser]\nbatch = 8\nwarm_up = 10\nema = 0.9\n\
         [run]\nsteps = 40\nlog_every = 5\nvalidate_every = 15\nvalidate_canvases = 8\nvalidate_times = 2\nsave_every = 20\n\
         storage = 'f32'\n",
        output.display(),
        sample = sample.display(),
        prepared = prepared().display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
}

/// One thread: tests run side by side, and more threads change nothing but the time.
pub(crate) fn device() -> Cpu<f32> {
    threads(1)
}

pub(crate) fn threads(count: usize) -> Cpu<f32> {
    Cpu::<f32>::new(CpuPath::best(), count).unwrap()
}

/// Runs to the end and gives the figures on the way.
pub(crate) fn run(recipe: &Resolved, resume: bool) -> Result<(Summary, Vec<StepFigures>), TrainError> {
    let mut figures = Vec::new();
    let summary = train(recipe, device(), resume, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::Step(step) = event {
            figures.push(step);
        }
    })?;
    Ok((summary, figures))
}

/// Every number of a run's folder that has to agree between two runs that are the same.
pub(crate) fn fingerprint(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    for (place, file) in
        [("", "model.safetensors"), ("best/", "best/model.safetensors"), ("state/", "state/run.safetensors")]
    {
        let weights = aquatint_checkpoint::Weights::open_file(&folder.join(file)).unwrap();
        for name in weights.names() {
            let bits = weights.read(name).unwrap().into_iter().map(f32::to_bits).collect();
            all.push((format!("{place}{name}"), bits));
        }
    }
    assert!(all.len() > 20);
    all
}
