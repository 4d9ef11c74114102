//! What a run is, and whether a saved run may go on under a recipe.
//!
//! A run is its whole resolved recipe, less the keys of a list; with the contents of its texts, of its tokenizer and of
//! the model that it began with in place of their paths. A key that is added to recipes is compared unless it is put on
//! that list. What moved is the same, what changed is something else.

use crate::TrainError;
use crate::error::Difference;
use crate::preflight::Texts;
use crate::recipe::Resolved;
use aquatint_checkpoint::{Checkpoint, CodecFiles, ModelCodec, Origin};
use aquatint_codec::collection::Entries;
use aquatint_corpus::SourceSnapshot;
use aquatint_diffusion::OrderNetwork;
use aquatint_files::Fingerprint;
use aquatint_vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use toml::{Table, Value};

/// Where the run lies and computes: the same run is moved to another folder, disk or device.
const PLACE: [&str; 5] = ["output", "data.cache", "run.collectives", "run.device", "run.threads"];
/// How long it goes on, and how often it is looked at: its steps are the same ones.
const LENGTH: [&str; 9] = [
    "run.steps",
    "run.max_minutes",
    "run.log_every",
    "run.save_every",
    "run.sample_every",
    "run.sample_prompt",
    "run.validate_canvases",
    "run.validate_every",
    "run.validate_times",
];
/// By which rate it goes on: neither what is minimised nor what the saved moments mean depends on it.
const RATE: [&str; 6] = [
    "optimiser.decay",
    "optimiser.embedding_rate",
    "optimiser.floor",
    "optimiser.learning_rate",
    "optimiser.lr_schedule",
    "optimiser.warm_up",
];
/// How a batch is spread over time, memory and ranks: it is the same batch.
const SPREAD: [&str; 4] = ["optimiser.accumulate", "optimiser.recompute", "optimiser.shard", "run.activation_memory"];
/// Compared by what is there and not by where it is: see [`Identity::of`].
const BY_CONTENT: [&str; 4] = ["initial", "data.codecs", "data.vocabulary", "data.vocabulary_bytes"];
// Not `run.storage`: the models that lie in the folder are replaced only by models with the same `config.json`.

/// The key of the tokenizer's content.
const TOKENIZER: &str = "tokenizer";

fn may_change(key: &str) -> bool {
    [&PLACE[..], &LENGTH, &RATE, &SPREAD].iter().any(|keys| keys.contains(&key))
}

/// What a run is, as a table in the form of its recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Identity(Table);

/// As TOML, which gives every real number back to the bit.
impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.0.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = toml::de::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        toml::from_str(&text).map(Self)
    }
}

impl Identity {
    /// The run of a recipe with lists of sources in `data`, each source with its content in place of its paths.
    pub(crate) fn with_contents(
        recipe: &str,
        contents: impl IntoIterator<Item = (&'static str, Vec<String>)>,
    ) -> Result<Self, TrainError> {
        let mut identity = Self::of_recipe(recipe)?;
        for (list, contents) in contents {
            let sources = identity.0.get_mut("data").and_then(|data| data.get_mut(list));
            let Some(Value::Array(sources)) = sources else { continue };
            for (source, content) in sources.iter_mut().zip(contents) {
                if let Value::Table(source) = source {
                    source.remove("path");
                    source.remove("media");
                    source.insert("content".to_owned(), content.into());
                }
            }
        }
        Ok(identity)
    }

    /// What a recipe says, as TOML, less what may change.
    fn of_recipe(recipe: &str) -> Result<Self, TrainError> {
        let unreadable = |error: toml::de::Error| crate::RecipeError::Parse { reason: error.to_string() };
        let mut whole: Table = toml::from_str(recipe).map_err(unreadable)?;
        retain("", &mut whole);
        Ok(Self(whole))
    }

    /// The run of a recipe. Its tokenizer is added when it is known ([`Identity::with_tokenizer`]).
    pub(crate) fn of(
        recipe: &Resolved,
        texts: &Texts,
        initial: Option<&Checkpoint>,
        stop: &AtomicBool,
    ) -> Result<Self, TrainError> {
        let Self(mut whole) = Self::of_recipe(&recipe.to_toml()?)?;
        if let Some(Value::Table(data)) = whole.get_mut("data") {
            for (key, snapshots) in [("train", &texts.train), ("valid", &texts.valid)] {
                let Some(Value::Array(sources)) = data.get_mut(key) else { continue };
                for (source, snapshot) in sources.iter_mut().zip(snapshots) {
                    if let Value::Table(source) = source {
                        source.remove("path");
                        source.insert("content".to_owned(), content(snapshot).into());
                        if let Some(media) = &snapshot.source().media {
                            source.insert("media".to_owned(), files_of(media, stop)?.into());
                        }
                    }
                }
            }
            if !recipe.data.codecs.is_empty() {
                let content = |codec| CodecFiles::from(codec).fingerprint();
                let codecs = recipe.data.codecs.iter().map(|codec| Ok(format!("{:016x}", content(codec)?).into()));
                data.insert("codecs".to_owned(), codecs.collect::<Result<Vec<Value>, TrainError>>()?.into());
            }
        }
        if let Some(checkpoint) = initial {
            let mut content = model(checkpoint, stop)?;
            if let Some(order) = &checkpoint.generation.order {
                content.push_str(&format!(" with an order, {:016x}", content_of_order(order)));
            }
            whole.insert("initial".to_owned(), content.into());
        }
        Ok(Self(whole))
    }

    /// The same with the content of its tokenizer.
    pub(crate) fn with_tokenizer(mut self, vocabulary: &Vocabulary) -> Result<Self, TrainError> {
        let mut fingerprint = Fingerprint::default();
        fingerprint.part(&vocabulary.to_json()?);
        let begin = if vocabulary.text_begin().is_some() { ", a begin token in front of each text" } else { "" };
        let content = format!("{} tokens, {:016x}{begin}", vocabulary.len(), fingerprint.finish());
        self.0.insert(TOKENIZER.to_owned(), content.into());
        Ok(self)
    }

    /// Refuses a run that is not the one `saved` in `folder`, with every key that differs. A tokenizer that is not known
    /// yet is not compared.
    pub(crate) fn require(&self, folder: &Path, saved: &Self) -> Result<(), TrainError> {
        let mut differences = Vec::new();
        compare("", &saved.0, &self.0, &mut differences);
        if !self.0.contains_key(TOKENIZER) {
            differences.retain(|difference| difference.key != TOKENIZER);
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(TrainError::OtherRun { folder: folder.to_path_buf(), differences })
    }
}

/// Takes out what may change, and what is compared by its content.
fn retain(path: &str, table: &mut Table) {
    table.retain(|key, value| {
        let path = join(path, key);
        if let Value::Table(inner) = value {
            retain(&path, inner);
        }
        !may_change(&path) && !BY_CONTENT.contains(&path.as_str())
    });
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The files of a source, in the order in which they are read. The source's own keys are compared one by one.
fn content(snapshot: &SourceSnapshot) -> String {
    let count = snapshot.files().len();
    let files = if count == 1 { "file" } else { "files" };
    format!("{count} {files}, {:016x}", snapshot.content())
}

/// The files of a folder, or of an archive.
fn files_of(path: &Path, stop: &AtomicBool) -> Result<String, TrainError> {
    let content = Entries { path }.fingerprint(&|_| true, &mut || !stop.load(Ordering::SeqCst));
    Ok(content?)
}

/// The description and the weights of a model.
fn model(checkpoint: &Checkpoint, stop: &AtomicBool) -> Result<String, TrainError> {
    let folder = match &checkpoint.origin {
        Origin::Builtin(name) => return Ok(format!("built in: {name}")),
        Origin::File(file) => return content_of(vec![file.clone()], stop),
        Origin::Folder(folder) => folder,
    };
    let refused = |source| TrainError::Io { action: "read", path: folder.clone(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let weights = path.extension().is_some_and(|extension| extension == "safetensors");
        if weights || path.file_name().is_some_and(|name| name == "config.json") {
            files.push(path);
        }
    }
    files.sort();
    let content = content_of(files, stop)?;
    let with = |content, codec: &ModelCodec| Ok(format!("{content} {:016x}", codec.files.fingerprint()?));
    checkpoint.codecs.iter().try_fold(content, with)
}

fn content_of_order(order: &OrderNetwork) -> u64 {
    let mut fingerprint = Fingerprint::default();
    order.weights().iter().flatten().for_each(|weight| fingerprint.part(&weight.to_le_bytes()));
    fingerprint.finish()
}

fn content_of(files: Vec<PathBuf>, stop: &AtomicBool) -> Result<String, TrainError> {
    let mut fingerprint = Fingerprint::default();
    for path in files {
        let refused = |source| TrainError::Io { action: "read", path: path.clone(), source };
        if !fingerprint.file(&path, &mut |_| !stop.load(Ordering::SeqCst)).map_err(refused)? {
            return Err(TrainError::Stopped);
        }
    }
    Ok(format!("{:016x}", fingerprint.finish()))
}

fn compare(path: &str, saved: &Table, given: &Table, differences: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = saved.keys().chain(given.keys()).collect();
    for key in keys {
        compare_values(&join(path, key), saved.get(key), given.get(key), differences);
    }
}

fn compare_values(path: &str, saved: Option<&Value>, given: Option<&Value>, differences: &mut Vec<Difference>) {
    match (saved, given) {
        (Some(Value::Table(saved)), Some(Value::Table(given))) => compare(path, saved, given, differences),
        (Some(Value::Array(saved)), Some(Value::Array(given)))
            if saved.iter().chain(given).all(|value| value.is_table()) =>
        {
            for index in 0..saved.len().max(given.len()) {
                compare_values(&format!("{path}[{index}]"), saved.get(index), given.get(index), differences);
            }
        }
        (saved, given) if saved == given => {}
        (saved, given) => {
            let shown = |value: Option<&Value>| value.map(ToString::to_string);
            differences.push(Difference { key: path.to_owned(), saved: shown(saved), given: shown(given) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};

    const TEXT: &str = "output = 'runs/x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";

    fn identity(set: &[&str]) -> Identity {
        let recipe = Recipe::parse(TEXT, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap();
        Identity::of(&recipe, &Texts::default(), None, &AtomicBool::new(false)).unwrap()
    }

    fn differences(saved: &[&str], given: &[&str]) -> Vec<(String, Option<String>, Option<String>)> {
        match identity(given).require(Path::new("runs/x"), &identity(saved)) {
            Ok(()) => Vec::new(),
            Err(TrainError::OtherRun { differences, .. }) => {
                differences.into_iter().map(|d| (d.key, d.saved, d.given)).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(&[], &["objective.process=uniform", "objective.weight_limit=5.0", "seed=3"]),
            [
                ("objective.process".to_owned(), some("\"masked\""), some("\"uniform\"")),
                ("objective.weight_limit".to_owned(), None, some("5.0")),
                ("seed".to_owned(), some("0"), some("3")),
            ]
        );
        let saved = identity(&["objective.weight_limit=5.0"]);
        let error = identity(&["objective.prompt=3"]).require(Path::new("runs/x"), &saved).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the run in `runs/x` is another one: `objective.prompt` is 0 there and 3 here, `objective.weight_limit` is \
             5.0 there and unset here"
        );
        assert!(error.hint().unwrap().starts_with("resume it with the recipe and the texts that it was started with"));
        let two = ["data.train=[{ path = 'a', repeat = 2 }, { path = 'c' }]"];
        let keys: Vec<String> = differences(&[], &two).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["data.train[0].repeat", "data.train[1]"]);
    }

    #[test]
    fn what_may_change_and_what_is_compared_by_content_is_not_compared_by_its_text() {
        let given = [
            "output=elsewhere",
            "data.cache=elsewhere",
            "data.vocabulary=elsewhere.json",
            "run.steps=7",
            "run.device=cuda",
            "run.threads=1",
            "run.max_minutes=1.5",
            "run.activation_memory=1MiB",
            "optimiser.learning_rate=0.5",
            "optimiser.lr_schedule=cosine",
            "optimiser.accumulate=2",
        ];
        assert_eq!(differences(&[], &given), []);
    }

    #[test]
    fn a_tokenizer_is_compared_once_it_is_known() {
        let vocabulary = |text: &str| Vocabulary::train(std::iter::once(text.repeat(20)), 270).unwrap();
        let saved = identity(&[]).with_tokenizer(&vocabulary("the cat sat ")).unwrap();
        assert!(identity(&[]).require(Path::new("x"), &saved).is_ok());
        assert!(
            identity(&[]).with_tokenizer(&vocabulary("the cat sat ")).unwrap().require(Path::new("x"), &saved).is_ok()
        );
        let other = identity(&[]).with_tokenizer(&vocabulary("a fox ran ")).unwrap();
        let TrainError::OtherRun { differences, .. } = other.require(Path::new("x"), &saved).unwrap_err() else {
            panic!("another error")
        };
        assert_eq!((differences.len(), differences[0].key.as_str()), (1, TOKENIZER));
        // The same tokens in front of which another one stands are other texts.
        let mut beginning = vocabulary("the cat sat ");
        beginning.set_adds_begin(true).unwrap();
        assert!(identity(&[]).with_tokenizer(&beginning).unwrap().require(Path::new("x"), &saved).is_err());
    }

    #[test]
    fn everything_else_is_compared() {
        // Each leaf of a recipe in which as much as possible is set, changed by itself.
        let set = [
            "size=4m",
            "initial=model",
            "data.vocabulary=tokenizer.json",
            "network.time_conditioning=16",
            "objective.weight_limit=5.0",
            "distillation={ steps = 8, rounds = 2 }",
        ];
        let recipe = Recipe::parse(TEXT, &Overrides::parse(&set).unwrap()).unwrap().resolve().unwrap();
        let whole: Table = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
        let mut leaves = Vec::new();
        collect("", &whole, &mut leaves);
        assert!(leaves.len() > 50, "{leaves:?}");
        for leaf in leaves {
            let mut changed = whole.clone();
            let mut table = &mut changed;
            let (tables, key) = leaf.rsplit_once('.').unwrap_or(("", &leaf));
            for name in tables.split('.').filter(|name| !name.is_empty()) {
                table = table.get_mut(name).unwrap().as_table_mut().unwrap();
            }
            table.insert(key.to_owned(), Value::String("changed".into()));
            let (mut saved, mut found) = (whole.clone(), Vec::new());
            retain("", &mut saved);
            retain("", &mut changed);
            compare("", &saved, &changed, &mut found);
            let free = may_change(&leaf) || BY_CONTENT.contains(&leaf.as_str());
            assert_eq!(found.len(), usize::from(!free), "{leaf}");
            assert!(found.iter().all(|difference| difference.key == leaf));
        }
    }

    fn collect(path: &str, table: &Table, leaves: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => collect(&join(path, key), inner, leaves),
                _ => leaves.push(join(path, key)),
            }
        }
    }
}
