//! What can be wrong with a checkpoint, said so that it can be put right.

use crate::Quantisation;
use aquatint_compute::{Bits, QuantisedError};
use aquatint_diffusion::TokenId;
use aquatint_files::LfsPointer;
use aquatint_network::NetworkError;
use aquatint_vocabulary::VocabularyError;
use std::path::{Path, PathBuf};

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A row that a table does not have.
    #[error("tensor `{name}` has no row {row}; allowed: 0 to {}", count.saturating_sub(1))]
    NoRow {
        /// The tensor.
        name: String,
        /// The requested row.
        row: u32,
        /// Its rows.
        count: usize,
    },
    /// Neither a folder nor the name of a built-in model.
    #[error("no checkpoint `{name}`: it is neither a folder here nor a built-in model (built in: {builtin})")]
    Unknown {
        /// What was requested.
        name: String,
        /// Names of the models in the binary.
        builtin: String,
    },
    /// A file that every checkpoint has is not there.
    #[error("`{}` is missing", path.display())]
    MissingFile {
        /// The absent file.
        path: PathBuf,
    },
    /// A folder holds GGUF files and no checkpoint of its own.
    #[error("`{}` holds {} GGUF files and no config.json", folder.display(), files.len())]
    UnnamedGguf {
        /// The folder.
        folder: PathBuf,
        /// The files in it, sorted by name.
        files: Vec<PathBuf>,
    },
    /// A file was not downloaded: a Git LFS pointer stands in its place.
    #[error("`{}` is a Git LFS pointer: the file of {size} bytes that it stands for was not downloaded", path.display())]
    LfsPointer {
        /// The pointer.
        path: PathBuf,
        /// Bytes of the file that it stands for.
        size: u64,
    },
    /// The index of a sharded checkpoint names files that are not there.
    #[error("`{index}` names {of} shards, of which {missing} are missing, the first being `{first}`")]
    MissingShards {
        /// The index.
        index: String,
        /// Shards that it names.
        of: usize,
        /// How many of them are not there.
        missing: usize,
        /// One of those.
        first: String,
    },
    /// Two shards hold a tensor of one name.
    #[error("tensor `{name}` is in `{file}` and in `{other}`; allowed: each tensor in one shard")]
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// The first file that holds it.
        file: String,
        /// The second.
        other: String,
    },
    /// A head that is tied to the word vectors is in the files under its own name, and is not the same.
    #[error("`{head}` differs from `{words}` in `{file}`, though config.json ties the head to the word vectors")]
    TiedHeadDiffers {
        /// The head's name in the files.
        head: String,
        /// The word vectors' name in the files.
        words: String,
        /// The file of the word vectors.
        file: String,
    },
    /// The operating system refused.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A safetensors file ends before its header says so, or goes on after it.
    #[error("`{file}` has {actual} bytes where its header asks for {expected}")]
    Truncated {
        /// The file.
        file: String,
        /// Bytes that the header claims.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// The first bytes are not a safetensors header.
    #[error("`{file}` is not a safetensors file: {reason}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A JSON file cannot be read as what it should be.
    #[error("`{file}` cannot be understood: {reason}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that the network needs is not in the files.
    #[error("tensor `{name}` is missing in `{file}`, which has {count} tensors")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Where it was looked for.
        file: String,
        /// How many there are.
        count: usize,
    },
    /// Tensors that the network has no place for.
    #[error(
        "`{file}` has {count} tensors that the network described by config.json has no place for, the first being `{first}`"
    )]
    UnknownTensors {
        /// The file.
        file: String,
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// An adapter adds to what its base does not have.
    #[error("`{file}` adds to matrices that this model does not have: {count} tensors, the first being `{first}`")]
    OtherBase {
        /// The file.
        file: String,
        /// How many tensors have no place.
        count: usize,
        /// One of them.
        first: String,
        /// The base that the adapter names.
        base: Option<String>,
    },
    /// A name with a `+` that is not a model and the folders of its adapters.
    #[error("`{name}` is no model with adapters; allowed: MODEL+FOLDER, of a model that is no adapter itself")]
    NotAdapted {
        /// The name.
        name: String,
    },
    /// An adapter that adds nothing.
    #[error("`{file}` has no tensors of an adapter")]
    EmptyAdapter {
        /// The file.
        file: String,
    },
    /// A learnt order is not one that is computed here.
    #[error("`{file}` is no learnt order: {reason}")]
    Order {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A learnt order was to be opened without its model.
    #[error("`{}` holds a learnt order and no model", folder.display())]
    OrderAlone {
        /// The folder.
        folder: PathBuf,
    },
    /// An adapter says no base that can be opened.
    #[error("the adapter `{}` is for {}, which is no model here", folder.display(), base.as_ref().map_or("a base that it does not name".to_owned(), |base| format!("`{base}`")))]
    NoBase {
        /// The folder of the adapter.
        folder: PathBuf,
        /// The base that it names.
        base: Option<String>,
    },
    /// One adapter is to be added to the matrices, and there is another number of them.
    #[error("the model has {count} adapters; allowed: the one that is merged into it")]
    NotOneAdapter {
        /// How many there are.
        count: usize,
    },
    /// A model is changed in a form that leaves no place for its adapters.
    #[error("`{model}` has adapters, which stay in folders of their own")]
    HasAdapters {
        /// The model.
        model: String,
    },
    /// A tensor is kept in a type that it cannot have: weights and scales are real numbers, packed integers words.
    #[error("tensor `{name}` in `{file}` is of type {found}; allowed: {allowed}")]
    WrongType {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Its type.
        found: String,
        /// The types that it may have.
        allowed: &'static str,
    },
    /// A weight or a scale is not a number, or infinite as f32.
    #[error(
        "tensor `{name}` in `{file}` has {value} at index {index}; allowed: finite numbers within the range of f32"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Where it stands, row-major.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A value of `config.json` is not read here.
    #[error("`{key}` is {given}; allowed: {allowed} (in `{file}`)")]
    Setting {
        /// The file.
        file: String,
        /// The way to the key.
        key: String,
        /// Its value.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A tensor is kept as integers of a width that config.json does not describe.
    #[error(
        "tensor `{name}` in `{file}` is kept in {bits}, which the `quantization_config` of config.json does not describe"
    )]
    Undescribed {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Bits of its integers.
        bits: Bits,
    },
    /// The parts of a quantised tensor are no matrix, or a matrix cannot be quantised as requested.
    #[error("tensor `{name}` in `{file}`: {source}")]
    Quantised {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Why not.
        source: QuantisedError,
    },
    /// Matrices of one number of bits have scales for groups of different sizes, which `quantization_config` cannot say.
    #[error(
        "`{name}` has a scale for each {group} inputs in {bits}, and other matrices for each {other}; a checkpoint holds \
         groups of one size for each number of bits"
    )]
    MixedGroups {
        /// One of the matrices.
        name: String,
        /// Bits of its integers.
        bits: Bits,
        /// Its group.
        group: usize,
        /// The group of others.
        other: usize,
    },
    /// A tensor has another shape than the network's description says.
    #[error("tensor `{name}` in `{file}` has shape {found:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the description requires.
        expected: Vec<usize>,
    },
    /// The tokenizer has more tokens than the network has rows for.
    #[error("tokenizer.json has {tokens} tokens, and config.json gives the network {rows}")]
    TooManyTokens {
        /// Ids of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A codec has tokens that the network has no rows for.
    #[error("the codec `{name}` has tokens up to {}, and config.json gives the network {rows} rows", end - 1)]
    TooManyCodes {
        /// The codec.
        name: String,
        /// One more than the greatest of its tokens.
        end: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The codes of a codec are tokens of text.
    #[error(
        "the codes of `{name}` begin at token {first}; allowed: {tokens} or more, behind the tokens of tokenizer.json"
    )]
    CodesInText {
        /// The codec.
        name: String,
        /// Its first code.
        first: TokenId,
        /// Tokens of the tokenizer.
        tokens: usize,
    },
    /// What opens or closes the spans of a codec is the mask.
    #[error("the codec `{name}` has token {mask}, the mask, around its codes; allowed: a token of its own")]
    MaskAroundCodes {
        /// The codec.
        name: String,
        /// The mask.
        mask: TokenId,
    },
    /// The index of a sharded checkpoint says that a tensor lies where it does not.
    #[error("the index says that tensor `{name}` is in `{file}`, but it is not")]
    Index {
        /// The tensor.
        name: String,
        /// The shard named by the index.
        file: String,
    },
    /// A checkpoint of integers was to be quantised.
    #[error("`{model}` is quantised already: {found}")]
    AlreadyQuantised {
        /// The model.
        model: String,
        /// How.
        found: Quantisation,
    },
    /// A list of groups names one that does not exist.
    #[error("input {index} of `{name}` in `{file}` is in group {found}; allowed: 0 to {}", groups.saturating_sub(1))]
    Packed {
        /// The list.
        name: String,
        /// The file.
        file: String,
        /// The input.
        index: usize,
        /// Its group.
        found: i32,
        /// How many groups there are.
        groups: usize,
    },
    /// Writing would mix two models in one folder.
    #[error("`{}` already holds another model (its {file} differs)", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The file that differs.
        file: &'static str,
    },
    /// The saved state of a run cannot be used.
    #[error("the state in `{file}` cannot be resumed: {reason}")]
    State {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// The requested storage type does not exist.
    #[error("unknown storage type `{given}`; allowed: f32, f16, bf16")]
    Storage {
        /// What was requested.
        given: String,
    },
    /// The tokenizer refused.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The description or the weights were refused by the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl CheckpointError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::LfsPointer { path, .. } => {
                return Some(format!("download it: {}", LfsPointer::command(path)));
            }
            Self::UnnamedGguf { files, .. } => {
                let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                return Some(format!("give the path of one of them: {}", files.join(", ")));
            }
            Self::MissingShards { .. } => "the download is not complete: fetch the folder again",
            Self::DuplicateTensor { .. } => {
                "remove the file that does not belong to the model, or save the model again"
            }
            Self::TiedHeadDiffers { .. } => {
                "set `tie_word_embeddings` (or its family's name for it) to false to use both, or remove the head"
            }
            Self::Unknown { .. } => "give the path of a folder with config.json and model.safetensors",
            Self::MissingFile { .. } => {
                "a checkpoint folder holds config.json, model.safetensors (or model.safetensors.index.json) and \
                 tokenizer.json"
            }
            Self::Truncated { .. } => "it was probably cut short while it was copied or downloaded: fetch it again",
            Self::MissingTensor { .. } => "do config.json and the weights belong together?",
            Self::UnknownTensors { .. } | Self::Undescribed { .. } => "do the two belong together?",
            Self::OtherBase { base: Some(base), .. } => {
                return Some(format!("it was trained on `{base}`: open that model"));
            }
            Self::OtherBase { base: None, .. } => "open the model that it was trained on",
            Self::NoBase { .. } => "open the model that it was trained on with it: MODEL+FOLDER",
            Self::OrderAlone { .. } => "open it with the model that it was trained for: MODEL+FOLDER",
            Self::HasAdapters { .. } => "merge one into it first: `aquatint merge`",
            Self::TooManyTokens { .. } => "the tokenizer is of another model: copy the one that this model came with",
            Self::WrongShape { expected, .. } => return Some(format!("config.json asks for {expected:?}")),
            Self::AlreadyQuantised { .. } => "quantise the model that it was made from",
            Self::Occupied { .. } => "choose another folder, or remove this one",
            Self::Vocabulary(error) => return error.hint(),
            Self::Network(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// An operating system's refusal with the path that it is about.
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        if action == "read" && source.kind() == std::io::ErrorKind::NotFound {
            return Self::MissingFile { path: path.to_path_buf() };
        }
        Self::Io { action, path: path.to_path_buf(), source }
    }
}
