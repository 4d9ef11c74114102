//! The codecs of a run: the tokens that they add to its vocabulary, and the codes of the files that texts name.

use crate::recipe::Resolved;
use crate::{RecipeError, TrainError, TrainingEvent};
use aquatint_checkpoint::{Checkpoint, ModelCodec};
use aquatint_codec::collection::Entries;
use aquatint_codec::{SpanCodec, open_codec};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_corpus::MediaCodes;
use aquatint_diffusion::{Domain, TokenId};
use aquatint_files::Fingerprint;
use aquatint_vocabulary::{MediaKind, Role, Vocabulary};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The codecs of a run: those of the model that it begins with, and those that the recipe names, with tokens behind all
/// others. `vocabulary` is given what opens and closes their spans.
pub(crate) fn codecs(
    recipe: &Resolved,
    initial: Option<&Checkpoint>,
    vocabulary: &mut Vocabulary,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Vec<ModelCodec>, TrainError> {
    let mut codecs = initial.map_or_else(Vec::new, |checkpoint| checkpoint.codecs.clone());
    let there = codecs.len();
    let rows = initial.map_or(0, |checkpoint| checkpoint.spec.vocabulary_size);
    if initial.is_some() && !recipe.data.codecs.is_empty() && vocabulary.len() > rows {
        let given = format!("a tokenizer with {} tokens, where `initial` has {rows}", vocabulary.len());
        return Err(RecipeError::value("data.vocabulary", given, "the tokenizer of `initial`").into());
    }
    for folder in &recipe.data.codecs {
        let codec = open_codec(folder, Cpu::<f32>::scalar())?;
        let refuse = |allowed| {
            let given = format!("`{}` with the codec `{}`", folder.display(), codec.domain());
            TrainError::from(RecipeError::value("data.codecs", given, allowed))
        };
        if codecs.iter().any(|other| other.name == codec.domain()) {
            return Err(refuse("one codec of a kind, those of `initial` included"));
        }
        let kind = MediaKind::of_name(codec.domain()).ok_or_else(|| refuse("codecs of pictures and of sounds"))?;
        let (open, close) = kind.marks();
        let mut token = |role: Role| match vocabulary.role(role) {
            Some(token) => Ok(token),
            None => {
                let token = vocabulary.add_role(role)?;
                events(TrainingEvent::RoleAdded { role, token });
                Ok::<_, TrainError>(token)
            }
        };
        let (open, close) = (token(open)?, token(close)?);
        // Where its codes begin is known when all codecs have what stands around theirs.
        let domain = Domain { ids: 0..codec.vocabulary_size() as TokenId, axes: codec.axes() };
        codecs.push(ModelCodec { name: codec.domain().to_owned(), domain, open, close, files: folder.into() });
    }
    let mut first = vocabulary.len().max(rows) as TokenId;
    for codec in &mut codecs[there..] {
        let ids = &mut codec.domain.ids;
        *ids = first..first + ids.end;
        first = ids.end;
    }
    require_domains(recipe, &codecs)?;
    Ok(codecs)
}

/// Refuses an objective for a domain that has no codec.
fn require_domains(recipe: &Resolved, codecs: &[ModelCodec]) -> Result<(), RecipeError> {
    let has_codec = |domain: &&String| codecs.iter().any(|codec| codec.name == **domain);
    match recipe.objective.domains.keys().find(|domain| !has_codec(domain)) {
        Some(domain) => Err(RecipeError::value("objective.domains", domain, "domains that have a codec")),
        None => Ok(()),
    }
}

/// Files by their names in a folder or archive.
type Files = HashMap<String, Vec<u8>>;
/// A folder or archive, a domain, and the name of a file.
type FileKey = (PathBuf, String, String);

/// The codes of files in folders and archives, each made once.
#[derive(Debug)]
pub(crate) struct Media {
    codecs: Vec<SpanCodec>,
    /// The files of each folder or archive, by their names.
    files: Mutex<HashMap<PathBuf, Arc<Files>>>,
    /// The tokens of each file so far.
    tokens: Mutex<HashMap<FileKey, Vec<TokenId>>>,
}

impl Media {
    /// Opens the codecs.
    pub(crate) fn new(codecs: &[ModelCodec]) -> Result<Self, TrainError> {
        // The same codes on every machine: texts that were packed on one are trained on by another.
        let device = Cpu::new(CpuPath::best(), 1).map_err(aquatint_codec::CodecError::from)?;
        let open = |codec| SpanCodec::open(codec, device.clone());
        let codecs = codecs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { codecs, files: Mutex::default(), tokens: Mutex::default() })
    }
}

impl MediaCodes for Media {
    fn domains(&self) -> Vec<(&str, Domain)> {
        let codecs = self.codecs.iter().map(SpanCodec::described);
        codecs.map(|codec| (codec.name.as_str(), codec.domain.clone())).collect()
    }

    fn tokens(&self, domain: &str, media: &Path, file: &str) -> Result<Vec<TokenId>, String> {
        let key = (media.to_path_buf(), domain.to_owned(), file.to_owned());
        if let Some(tokens) = lock(&self.tokens).get(&key) {
            return Ok(tokens.clone());
        }
        let codec = self.codecs.iter().find(|codec| codec.described().name == domain);
        let codec = codec.ok_or_else(|| format!("the run has no codec for `[[{domain}:{file}]]`"))?;
        let files = self.files_of(media)?;
        let name = file.trim_start_matches("./");
        let bytes = files.get(name).ok_or_else(|| format!("`{}` holds no `{file}`", media.display()))?;
        let tokens = codec.span(file, bytes).map_err(|error| error.to_string())?;
        lock(&self.tokens).insert(key, tokens.clone());
        Ok(tokens)
    }

    fn fingerprint(&self, media: &Path) -> Result<u64, String> {
        let mut fingerprint = Fingerprint::default();
        for codec in self.codecs.iter().map(SpanCodec::described) {
            let ModelCodec { name, domain, open, close, files } = codec;
            fingerprint.part(format!("{name} {domain:?} {open} {close}").as_bytes());
            let content = files.fingerprint().map_err(|error| error.to_string())?;
            fingerprint.part(&content.to_le_bytes());
        }
        let content = Entries { path: media }.fingerprint(&|_| true, &mut || true);
        fingerprint.part(content.map_err(|error| error.to_string())?.as_bytes());
        Ok(fingerprint.finish())
    }
}

impl Media {
    /// All files of a folder or archive, read on first use.
    fn files_of(&self, media: &Path) -> Result<Arc<Files>, String> {
        let mut all = lock(&self.files);
        if let Some(files) = all.get(media) {
            return Ok(Arc::clone(files));
        }
        let mut files = Files::new();
        let read = Entries { path: media }.each(&|_| true, &mut |name, bytes| {
            files.insert(name, bytes.to_vec());
            Ok(())
        });
        read.map_err(|error| error.to_string())?;
        let files = Arc::new(files);
        all.insert(media.to_path_buf(), Arc::clone(&files));
        Ok(files)
    }
}

/// What another thread left behind in a panic is whole: it is written in one piece.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
