//! Checkpoints as one GGUF file, as llama.cpp's converter writes them.
//!
//! Its metadata become a `config.json` ([`families::gguf`]), its tensors get the names that the family's own files have,
//! and from there on it is a checkpoint like any other. Matrices in Q8_0 and Q4_0 stay integers; those in Q4_K and Q6_K,
//! which have offsets or scales of scales, are taken as the real numbers that they stand for.
//!
//! The tokenizer is a `tokenizer.json` beside the file, if there is one, since that is exact; otherwise it is made of the
//! metadata, which name the rule by which a text is split instead of giving it.
//!
//! Reference: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

mod blocks;
mod header;
mod tensors;
mod tokenizer;

pub(crate) use tensors::GgufTensor;

use crate::checkpoint::{Config, Origin};
use crate::read::read_optional;
use crate::weights::Weights;
use crate::{Checkpoint, CheckpointError, GenerationDefaults, Packing, Quantisation, Scheme, roles, tied_head};
use aquatint_compute::Bits;
use aquatint_files::MappedFile;
use aquatint_network::families::gguf::{self, Description};
use aquatint_vocabulary::{RoleFile, Vocabulary};
use blocks::BlockType;
use header::Header;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizer::Tokenizer;

/// What the name of such a file ends with.
const EXTENSION: &str = "gguf";

/// Whether a path is that of such a file.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) && path.is_file()
}

/// The files of a folder that are such files, sorted by name; none where the folder cannot be read.
pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_gguf(path)).collect();
    files.sort();
    files
}

/// Opens the file.
pub(crate) fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let file = path.display().to_string();
    let mapped = MappedFile::open(path).map_err(|error| CheckpointError::io("read", path, error))?;
    let malformed = |reason: String| CheckpointError::Header { file: file.clone(), reason };
    let header = Header::parse(&mapped).map_err(malformed)?;
    let rows: BTreeMap<&str, usize> =
        header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.rows())).collect();
    let rows = |name: &str| rows.get(name).copied();
    let Description { architecture, mut config } = gguf::describe(&header.metadata, &rows)?;

    let beside = Beside::read(path.parent().unwrap_or(Path::new("")))?;
    let own = Tokenizer::new(&header);
    let mut vocabulary = match &beside.tokenizer {
        Some(json) => Vocabulary::from_json(json)?,
        None => Vocabulary::from_json(&own.json().map_err(malformed)?)?,
    };
    own.ids().into_iter().for_each(|(key, id)| {
        config.entry(key).or_insert(id);
    });
    let text = Value::Object(config).to_string();
    let Config { family, spec, roles: stated, .. } = Config::parse(&file, text.as_bytes(), &vocabulary, &|_| None)?;
    architecture.check(&spec, &header.metadata)?;
    let generation = GenerationDefaults::parse(&file, beside.generation.as_deref().unwrap_or(b"{}"), family)?;
    let mut tokenizer_config = match &beside.tokenizer_config {
        Some(text) => serde_json::from_slice(text).map_err(|error| CheckpointError::Json {
            file: "tokenizer_config.json".to_owned(),
            reason: error.to_string(),
        })?,
        None => own.config(),
    };
    let stated_config = tokenizer_config.clone();
    roles::ignore(family, "tokenizer_config.json", &mut tokenizer_config);
    let files = [RoleFile { name: "tokenizer_config.json", contents: &tokenizer_config }];
    roles::assign(&mut vocabulary, &spec, stated, &files)?;

    let quantisation = quantisation(&header);
    let mut weights = Weights::from_gguf(&file, mapped, tensors::placed(&header, family, &spec, architecture)?);
    tied_head::resolve(&mut weights, family, &spec);
    let origin = Origin::File(path.to_path_buf());
    Ok(Checkpoint {
        family,
        spec,
        quantisation,
        weights: Arc::new(weights),
        adapters: Vec::new(),
        vocabulary,
        codecs: Vec::new(),
        generation,
        unknown_keys: Vec::new(),
        tokenizer_config: stated_config,
        origin,
    })
}

/// What may lie beside the file.
struct Beside {
    tokenizer: Option<Vec<u8>>,
    tokenizer_config: Option<Vec<u8>>,
    generation: Option<Vec<u8>>,
}

impl Beside {
    /// Files of another model would be taken for this one's, so that only a folder with a tokenizer counts.
    fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let tokenizer = read_optional(&folder.join("tokenizer.json"))?;
        let further = |name: &str| match &tokenizer {
            Some(_) => read_optional(&folder.join(name)),
            None => Ok(None),
        };
        let (tokenizer_config, generation) = (further("tokenizer_config.json")?, further("generation_config.json")?);
        Ok(Self { tokenizer, tokenizer_config, generation })
    }
}

/// The types that stay integers, in the words of the other formats.
fn quantisation(header: &Header) -> Option<Quantisation> {
    let has = |kind| header.tensors.iter().any(|tensor| tensor.kind == kind);
    let scheme =
        |bits| Scheme { packing: Packing::Gguf, ..Scheme::new(bits, Some(blocks::SHORT), vec!["Linear".to_owned()]) };
    let kinds = [(BlockType::Q4_0, Bits::Four), (BlockType::Q8_0, Bits::Eight)];
    let schemes: Vec<Scheme> = kinds.into_iter().filter(|(kind, _)| has(*kind)).map(|(_, bits)| scheme(bits)).collect();
    (!schemes.is_empty()).then_some(Quantisation { schemes, ignore: Vec::new() })
}
