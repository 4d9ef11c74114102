//! A matcher: two towers over pictures and texts, which say whether a picture shows what a text says.
//!
//! Pictures are read in patches of their pixels and not as codes, so that whatever codec made one, it is judged as people
//! see it. Texts are the tokens of a vocabulary of the matcher's own, and the end token behind them.

use crate::transformers::{MOST_LAYERS, WIDEST, layer, refuse, require};
use crate::{CodecError, Patches, Picture, folder};
use aquatint_checkpoint::{CodecFiles, Storage, open_vocabulary};
use aquatint_compute::Device;
use aquatint_files::write_atomically;
use aquatint_network::{Matched, NormSpec, Pairs, TwoTowers, TwoTowersSpec};
use aquatint_vocabulary::{Role, Vocabulary};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a matcher is, as its `config.json` and its recipe say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatcherConfig {
    /// Pixels of a side of the pictures; others are fitted into that square.
    #[serde(default = "defaults::size")]
    pub size: usize,
    /// Pixels of a side of a patch; divides `size`.
    #[serde(default = "defaults::patch")]
    pub patch: usize,
    /// Tokens of a text at most, its end included; what is behind them is not read.
    #[serde(default = "defaults::text_length")]
    pub text_length: usize,
    /// Columns of the residual stream of both towers.
    #[serde(default = "defaults::width")]
    pub width: usize,
    /// Layers over pictures.
    #[serde(default = "defaults::picture_layers")]
    pub picture_layers: usize,
    /// Layers over texts.
    #[serde(default = "defaults::text_layers")]
    pub text_layers: usize,
    /// Attention heads of a layer, as wide as the stream together.
    #[serde(default = "defaults::heads")]
    pub heads: usize,
    /// Columns of the feed-forward part of a layer.
    #[serde(default = "defaults::feed_forward_width")]
    pub feed_forward_width: usize,
    /// Numbers of a vector.
    #[serde(default = "defaults::vector")]
    pub vector: usize,
}

mod defaults {
    pub(super) fn size() -> usize {
        64
    }
    pub(super) fn patch() -> usize {
        8
    }
    pub(super) fn text_length() -> usize {
        24
    }
    pub(super) fn width() -> usize {
        128
    }
    pub(super) fn picture_layers() -> usize {
        4
    }
    pub(super) fn text_layers() -> usize {
        2
    }
    pub(super) fn heads() -> usize {
        4
    }
    pub(super) fn feed_forward_width() -> usize {
        256
    }
    pub(super) fn vector() -> usize {
        128
    }
}

/// The longest side of pictures, and the longest text.
const LONGEST: usize = 1024;
/// Pictures or texts of a pass where nothing is learned.
const TOGETHER: usize = 64;
const MODEL_TYPE: &str = "aquatint-matcher";
const VOCABULARY: &str = "tokenizer.json";

impl Default for MatcherConfig {
    fn default() -> Self {
        Self {
            size: defaults::size(),
            patch: defaults::patch(),
            text_length: defaults::text_length(),
            width: defaults::width(),
            picture_layers: defaults::picture_layers(),
            text_layers: defaults::text_layers(),
            heads: defaults::heads(),
            feed_forward_width: defaults::feed_forward_width(),
            vector: defaults::vector(),
        }
    }
}

impl MatcherConfig {
    fn patches(&self) -> Result<Patches, CodecError> {
        require("matcher.size", self.size, 1..=LONGEST)?;
        let allowed = || format!("a divisor of `matcher.size`, which is {}", self.size);
        Patches::new(self.size, self.patch, 0).map_or_else(|| refuse("matcher.patch", self.patch, allowed()), Ok)
    }

    /// The towers over pictures, and texts of so many tokens.
    ///
    /// # Errors
    /// When a setting cannot be what it is.
    pub fn spec(&self, tokens: usize) -> Result<TwoTowersSpec, CodecError> {
        let patches = self.patches()?;
        for (key, given, most) in [
            ("matcher.text_length", self.text_length, LONGEST),
            ("matcher.width", self.width, WIDEST),
            ("matcher.picture_layers", self.picture_layers, MOST_LAYERS),
            ("matcher.text_layers", self.text_layers, MOST_LAYERS),
            ("matcher.feed_forward_width", self.feed_forward_width, 4 * WIDEST),
            ("matcher.vector", self.vector, WIDEST),
        ] {
            require(key, given, 1..=most)?;
        }
        let Some(layer) = layer(self.width, self.heads, self.feed_forward_width) else {
            let allowed = format!("a divisor of half of `matcher.width`, which is {}", self.width);
            return refuse("matcher.heads", self.heads, allowed);
        };
        let spec = TwoTowersSpec {
            grid: [patches.grid(); 2],
            inputs: patches.columns(),
            tokens,
            text_length: self.text_length,
            width: self.width,
            outputs: self.vector,
            norm: NormSpec::default(),
            pictures: vec![layer; self.picture_layers],
            texts: vec![layer; self.text_layers],
        };
        spec.validate()?;
        Ok(spec)
    }
}

/// Two towers with what stands before them, on a device.
#[derive(Debug)]
pub struct Matcher<D: Device> {
    config: MatcherConfig,
    patches: Patches,
    vocabulary: Vocabulary,
    towers: TwoTowers<D>,
}

/// A picture and its text, to learn from.
#[derive(Debug, Clone, Copy)]
pub struct MatchedPair<'a> {
    /// The picture.
    pub picture: &'a Picture,
    /// What it shows, in words.
    pub text: &'a str,
    /// What it shows, as a number: pairs of the same one fit each other.
    pub label: u32,
}

/// What `config.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    model_type: String,
    matcher: MatcherConfig,
    torch_dtype: String,
}

impl<D: Device> Matcher<D> {
    /// A matcher that has learned nothing.
    ///
    /// # Errors
    /// When a setting cannot be what it is, the vocabulary has no end token, or the device lacks the memory.
    pub fn new(device: D, config: MatcherConfig, vocabulary: Vocabulary, seed: u64) -> Result<Self, CodecError> {
        vocabulary.required(Role::End)?;
        let (patches, spec) = (config.patches()?, config.spec(vocabulary.len())?);
        let towers = TwoTowers::new(device, spec, seed)?;
        Ok(Self { config, patches, vocabulary, towers })
    }

    /// The matcher in a folder.
    ///
    /// # Errors
    /// When it holds none, its files do not fit each other, or the device lacks the memory.
    pub fn open(folder: &Path, device: D) -> Result<Self, CodecError> {
        let unfit = |reason: String| CodecError::NoMatcher { folder: folder.to_path_buf(), reason };
        let files = CodecFiles::from(folder);
        let text = files.config(folder::MOST_BYTES)?;
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| unfit(format!("config.json: {error}")))?;
        let found = value.get("model_type").cloned().unwrap_or_default();
        if found != MODEL_TYPE {
            return Err(unfit(format!("its `model_type` is {found}")));
        }
        let Config { matcher: config, .. } =
            serde_json::from_value(value).map_err(|error| unfit(format!("config.json: {error}")))?;
        let vocabulary = open_vocabulary(&folder.join(VOCABULARY))?;
        vocabulary.required(Role::End)?;
        let (patches, spec) = (config.patches()?, config.spec(vocabulary.len())?);
        let (weights, tensors, mut failed) = (files.weights()?, spec.tensors(), None);
        let towers = TwoTowers::from_weights(device, spec, &mut folder::values(&weights, &tensors, &mut failed));
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Self { config, patches, vocabulary, towers: towers? }),
        }
    }

    /// Writes the matcher's folder, or replaces the weights in one that holds the same matcher.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be written.
    pub fn save(&self, folder: &Path, storage: Storage) -> Result<(), CodecError> {
        let (path, json) = (folder.join(VOCABULARY), self.vocabulary.to_json()?);
        match std::fs::read(&path) {
            Ok(there) if there == json => {}
            Ok(_) => return Err(CodecError::Occupied { folder: folder.to_path_buf() }),
            Err(_) => {
                std::fs::create_dir_all(folder).map_err(|source| CodecError::io("create", folder, source))?;
                write_atomically(&path, |out| out.write_all(&json))
                    .map_err(|source| CodecError::io("write", &path, source))?;
            }
        }
        let (model_type, torch_dtype) = (MODEL_TYPE.to_owned(), storage.torch_name().to_owned());
        let config = Config { model_type, matcher: self.config.clone(), torch_dtype };
        folder::write(folder, &config, self.towers.weights(), storage)
    }

    /// What it is.
    pub fn config(&self) -> &MatcherConfig {
        &self.config
    }

    /// The network in it.
    pub fn towers(&self) -> &TwoTowers<D> {
        &self.towers
    }

    /// The same, to be trained.
    pub fn towers_mut(&mut self) -> &mut TwoTowers<D> {
        &mut self.towers
    }

    /// The vectors of pictures of any size, each of length 1.
    ///
    /// # Errors
    /// When the device fails.
    pub fn pictures(&self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, CodecError> {
        let mut vectors = Vec::with_capacity(pictures.len());
        for together in pictures.chunks(TOGETHER) {
            vectors.extend(self.parted(&self.towers.picture_vectors(&self.rows(together))?));
        }
        Ok(vectors)
    }

    /// The vectors of texts, each of length 1.
    ///
    /// # Errors
    /// When a text cannot be read, or the device fails.
    pub fn texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, CodecError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for together in texts.chunks(TOGETHER) {
            let (tokens, lengths) = self.tokens(together)?;
            vectors.extend(self.parted(&self.towers.text_vectors(&tokens, &lengths)?));
        }
        Ok(vectors)
    }

    /// What pairs cost beside each other, in nats; adds the gradient of it to what was collected.
    ///
    /// # Errors
    /// When a text cannot be read, there is no pair, or the device fails or lacks the memory.
    pub fn learn(&mut self, pairs: &[MatchedPair<'_>]) -> Result<Matched, CodecError> {
        let Inputs { patches, tokens, lengths, labels } = self.inputs(pairs)?;
        let (pictures, tokens, lengths, labels) = (&patches[..], &tokens[..], &lengths[..], &labels[..]);
        Ok(self.towers.forward_backward(Pairs { pictures, tokens, lengths, labels, weight: 1.0 })?)
    }

    /// What pairs cost beside each other, in nats, where nothing is learned.
    ///
    /// # Errors
    /// As [`Matcher::learn`].
    pub fn compare(&self, pairs: &[MatchedPair<'_>]) -> Result<Matched, CodecError> {
        let pictures = self.pictures(&pairs.iter().map(|pair| pair.picture).collect::<Vec<_>>())?;
        let texts = self.texts(&pairs.iter().map(|pair| pair.text).collect::<Vec<_>>())?;
        let labels: Vec<u32> = pairs.iter().map(|pair| pair.label).collect();
        Ok(self.towers.compare(&pictures.concat(), &texts.concat(), &labels)?)
    }

    fn inputs(&self, pairs: &[MatchedPair<'_>]) -> Result<Inputs, CodecError> {
        let patches = self.rows(&pairs.iter().map(|pair| pair.picture).collect::<Vec<_>>());
        let (tokens, lengths) = self.tokens(&pairs.iter().map(|pair| pair.text).collect::<Vec<_>>())?;
        Ok(Inputs { patches, tokens, lengths, labels: pairs.iter().map(|pair| pair.label).collect() })
    }

    fn rows(&self, pictures: &[&Picture]) -> Vec<f32> {
        let size = self.config.size;
        let cut = |picture: &&Picture| match (picture.width(), picture.height()) == (size, size) {
            true => self.patches.cut(&picture.premultiplied()),
            false => self.patches.cut(&picture.fitted(size).premultiplied()),
        };
        pictures.iter().flat_map(cut).collect()
    }

    /// The tokens of texts, one after another, and how many each has.
    fn tokens(&self, texts: &[&str]) -> Result<(Vec<u32>, Vec<usize>), CodecError> {
        let end = self.vocabulary.required(Role::End)?;
        let (mut tokens, mut lengths) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let read = self.vocabulary.encode(text)?;
            let read = read.into_iter().take(self.config.text_length - 1).chain([end]);
            let before = tokens.len();
            tokens.extend(read);
            lengths.push(tokens.len() - before);
        }
        Ok((tokens, lengths))
    }

    fn parted(&self, vectors: &[f32]) -> Vec<Vec<f32>> {
        vectors.chunks_exact(self.config.vector).map(<[f32]>::to_vec).collect()
    }
}

/// What towers read of pairs.
struct Inputs {
    patches: Vec<f32>,
    tokens: Vec<u32>,
    lengths: Vec<usize>,
    labels: Vec<u32>,
}
