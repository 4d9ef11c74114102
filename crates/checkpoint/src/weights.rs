//! Reading named tensors from safetensors files: one file, shards with an index, or bytes inside the binary.
//!
//! Headers are read when a checkpoint is opened, tensors one by one on demand, from a memory map: a model
//! larger than memory can be opened.

use crate::gguf::GgufTensor;
use crate::packed_words::PackedMatrix;
use crate::storage::{Storage, Undecodable, decode, first_not_finite};
use crate::{CheckpointError, Exact};
use aquatint_files::{LfsPointer, MappedFile};
use aquatint_network::families::StackedTensor;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

/// Length of the number before a safetensors header that says how long the header is.
pub(crate) const HEADER_PREFIX: u64 = 8;
/// The most experts of a layer that are taken apart; more than any network has.
const MOST_EXPERTS: usize = 4096;
/// A header beyond this is damage, not description.
const LONGEST_HEADER: u64 = 100_000_000;

/// Bytes of a tensor that are read at a time, a multiple of the size of every type.
const PIECE: usize = 1 << 20;

/// Tensors in files, read on demand.
#[derive(Debug)]
pub struct Weights {
    sources: Vec<Source>,
    entries: BTreeMap<String, Entry>,
    /// What other names hold a second time, by the name that is read.
    copies: Vec<(String, StoredTwice)>,
    /// Matrices that several tensors make up in the words of other tools.
    packed: BTreeMap<String, PackedMatrix>,
}

/// A tensor that the files hold a second time.
#[derive(Debug)]
pub(crate) struct StoredTwice {
    /// Its name in the files.
    pub(crate) name: String,
    entry: Entry,
}

#[derive(Debug)]
struct Source {
    name: String,
    bytes: Bytes,
    metadata: HashMap<String, String>,
}

#[derive(Debug)]
enum Bytes {
    Mapped(MappedFile),
    Embedded(&'static [u8]),
}

#[derive(Debug)]
struct Entry {
    source: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    length: usize,
    /// Of a tensor in a GGUF file, how its bytes are read; its type is then that of bytes.
    gguf: Option<GgufTensor>,
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names, in a folder.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, or is no safetensors file.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let index = folder.join("model.safetensors.index.json");
        if index.is_file() {
            Self::open_shards(folder, &index)
        } else {
            Self::open_file(&folder.join("model.safetensors"))
        }
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// When it cannot be read or is no safetensors file.
    pub fn open_file(path: &Path) -> Result<Self, CheckpointError> {
        let mut weights = Self::empty();
        weights.add_file(path)?;
        Ok(weights)
    }

    /// A safetensors file that is part of the binary; `name` is its name in errors.
    ///
    /// # Errors
    /// When the bytes are no safetensors file.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        let mut weights = Self::empty();
        weights.add(name.to_owned(), Bytes::Embedded(bytes))?;
        Ok(weights)
    }

    /// The tensors of a GGUF file, whose places were checked against its length.
    pub(crate) fn from_gguf(name: &str, file: MappedFile, tensors: Vec<GgufTensor>) -> Self {
        let mut weights = Self::empty();
        weights.sources.push(Source { name: name.to_owned(), bytes: Bytes::Mapped(file), metadata: HashMap::new() });
        for tensor in tensors {
            let (name, shape, start, length) = (tensor.name.clone(), tensor.shape.clone(), tensor.start, tensor.length);
            let entry = Entry { source: 0, dtype: Dtype::U8, shape, start, length, gguf: Some(tensor) };
            weights.entries.insert(name, entry);
        }
        weights
    }

    /// How a tensor of a GGUF file is read.
    pub(crate) fn gguf(&self, name: &str) -> Option<&GgufTensor> {
        self.entries.get(name)?.gguf.as_ref()
    }

    /// How a matrix is packed in the words of other tools, if it is.
    pub(crate) fn packed(&self, name: &str) -> Option<PackedMatrix> {
        self.packed.get(name).copied()
    }

    pub(crate) fn insert_packed(&mut self, name: String, matrix: PackedMatrix) {
        self.packed.insert(name, matrix);
    }

    pub(crate) fn empty() -> Self {
        Self { sources: Vec::new(), entries: BTreeMap::new(), copies: Vec::new(), packed: BTreeMap::new() }
    }

    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), CheckpointError> {
        // An empty file cannot be mapped everywhere, and is not what it should be anywhere.
        let length = std::fs::metadata(path).map_err(|e| CheckpointError::io("read", path, e))?.len();
        let name = path.display().to_string();
        if length < HEADER_PREFIX {
            return Err(CheckpointError::Truncated { file: name, expected: HEADER_PREFIX, actual: length });
        }
        if let Some(LfsPointer { size }) = LfsPointer::at(path).map_err(|e| CheckpointError::io("read", path, e))? {
            return Err(CheckpointError::LfsPointer { path: path.to_path_buf(), size });
        }
        let file = MappedFile::open(path).map_err(|e| CheckpointError::io("read", path, e))?;
        self.add(name, Bytes::Mapped(file))
    }

    fn add(&mut self, name: String, bytes: Bytes) -> Result<(), CheckpointError> {
        let total = bytes.all().len() as u64;
        let truncated = |expected: u64| CheckpointError::Truncated { file: name.clone(), expected, actual: total };
        let header = |reason: String| CheckpointError::Header { file: name.clone(), reason };
        let prefix = bytes.all().first_chunk::<{ HEADER_PREFIX as usize }>().ok_or_else(|| truncated(HEADER_PREFIX))?;
        let length = u64::from_le_bytes(*prefix);
        if length > LONGEST_HEADER {
            return Err(header(format!("its header would have {length} bytes")));
        }
        let body = HEADER_PREFIX + length;
        let text = bytes.all().get(HEADER_PREFIX as usize..body as usize).ok_or_else(|| truncated(body))?;
        let metadata: Metadata = serde_json::from_slice(text).map_err(|e| header(e.to_string()))?;
        let expected = body + metadata.data_len() as u64;
        if expected != total {
            return Err(truncated(expected));
        }
        let source = self.sources.len();
        for (tensor, info) in metadata.tensors() {
            let entry = Entry {
                source,
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: body as usize + info.data_offsets.0,
                length: info.data_offsets.1 - info.data_offsets.0,
                gguf: None,
            };
            if let Some(other) = self.entries.get(&tensor) {
                let file = self.sources[other.source].name.clone();
                return Err(CheckpointError::DuplicateTensor { name: tensor, file, other: name });
            }
            self.entries.insert(tensor, entry);
        }
        self.sources.push(Source { name, bytes, metadata: metadata.metadata().clone().unwrap_or_default() });
        Ok(())
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|e| e.shape.as_slice())
    }

    /// The type in which a tensor is kept, as safetensors calls it (`F32`, `BF16`, …).
    pub fn storage(&self, name: &str) -> Option<String> {
        self.entries.get(name).map(|e| match &e.gguf {
            Some(tensor) => tensor.storage().to_owned(),
            None => e.dtype.to_string(),
        })
    }

    /// The narrowest type in which every real number can be written as it is read.
    pub fn narrowest_storage(&self) -> Storage {
        let all = |dtype| self.entries.values().all(|entry| entry.dtype == dtype);
        match (all(Dtype::BF16), all(Dtype::F16)) {
            (true, _) => Storage::Bf16,
            (_, true) => Storage::F16,
            _ => Storage::F32,
        }
    }

    /// Numbers in all tensors together, and bytes that they take in the files.
    pub fn size(&self) -> (u64, u64) {
        let numbers = self.entries.values().map(|e| e.shape.iter().product::<usize>() as u64).sum();
        (numbers, self.entries.values().map(|e| e.length as u64).sum())
    }

    /// A value of the free-text metadata in the header of the first file.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.sources.first()?.metadata.get(key).map(String::as_str)
    }

    /// The files, by their names without their folder, with their content.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.sources.iter().map(|source| {
            let bytes: &[u8] = match &source.bytes {
                Bytes::Mapped(file) => file,
                Bytes::Embedded(bytes) => bytes,
            };
            (source.name.rsplit(['/', '\\']).next().unwrap_or_default(), bytes)
        })
    }

    /// The files' name, for messages.
    pub fn origin(&self) -> &str {
        self.sources.first().map_or("no file", |s| s.name.as_str())
    }

    /// The values of a tensor, row-major, as f32.
    ///
    /// # Errors
    /// When there is no such tensor, it is not of real numbers, or a value is not finite.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (entry, _) = self.entry(name)?;
        let decoded = match &entry.gguf {
            Some(tensor) => {
                let numbers = tensor.real(&self.copy_of(entry)?);
                first_not_finite(&numbers).map_or(Ok(numbers), Err)
            }
            None => self.decoded(entry)?,
        };
        decoded.map_err(|found| self.undecodable(name, found))
    }

    /// The error of a tensor whose bytes are not real numbers.
    pub(crate) fn undecodable(&self, name: &str, found: Undecodable) -> CheckpointError {
        let (file, dtype) = (self.file_of(name), self.dtype(name).unwrap_or(Dtype::U8));
        match found {
            Undecodable::Type => wrong_type(name, file, dtype, "F64, F32, F16, BF16"),
            Undecodable::NotFinite(index, value) => {
                CheckpointError::NotFinite { name: name.to_owned(), file: file.to_owned(), index, value }
            }
        }
    }

    /// The type of a tensor that has to be there, and how many bytes it has.
    pub(crate) fn kind(&self, name: &str) -> Result<(Dtype, usize), CheckpointError> {
        self.entry(name).map(|(entry, _)| (entry.dtype, entry.length))
    }

    /// Some of the bytes of a tensor behind those that are there, read past the map where there is one.
    pub(crate) fn append(&self, name: &str, range: Range<usize>, bytes: &mut Vec<u8>) -> Result<(), CheckpointError> {
        let (entry, _) = self.entry(name)?;
        let source = &self.sources[entry.source];
        let Bytes::Mapped(file) = &source.bytes else {
            bytes.extend_from_slice(&self.bytes_of(entry)[range]);
            return Ok(());
        };
        let before = bytes.len();
        bytes.resize(before + range.len(), 0);
        file.read_at(entry.start + range.start, &mut bytes[before..]).map_err(|e| unreadable(source, e))
    }

    /// The real numbers of a tensor, piece by piece, so that its bytes are never there as a whole.
    fn decoded(&self, entry: &Entry) -> Result<Result<Vec<f32>, Undecodable>, CheckpointError> {
        let mut values = Vec::with_capacity(entry.shape.iter().product());
        let source = &self.sources[entry.source];
        let Bytes::Mapped(file) = &source.bytes else {
            return Ok(decode(entry.dtype, self.bytes_of(entry), &mut values).map(|()| values));
        };
        let mut buffer = vec![0; PIECE.min(entry.length)];
        for start in (0..entry.length).step_by(PIECE) {
            let piece = &mut buffer[..PIECE.min(entry.length - start)];
            file.read_at(entry.start + start, piece).map_err(|e| unreadable(source, e))?;
            if let Err(error) = decode(entry.dtype, piece, &mut values) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(values))
    }

    /// The bytes of a tensor that has to have this type and shape, read past the map where there is one.
    pub(crate) fn raw(&self, name: &str, dtype: Dtype, expected: &[usize]) -> Result<Cow<'_, [u8]>, CheckpointError> {
        self.expect_raw(name, dtype, expected)?;
        let (entry, _) = self.entry(name)?;
        self.copy_of(entry)
    }

    /// Insists on a tensor of this type and shape, by the headers alone.
    pub(crate) fn expect_raw(&self, name: &str, dtype: Dtype, expected: &[usize]) -> Result<(), CheckpointError> {
        let (entry, file) = self.entry(name)?;
        if entry.dtype != dtype {
            let allowed = match dtype {
                Dtype::I8 => "I8",
                Dtype::I32 => "I32",
                _ => "I64",
            };
            return Err(wrong_type(name, file, entry.dtype, allowed));
        }
        self.expect_shape(name, expected)
    }

    /// Insists on a shape where the tensor exists.
    pub(crate) fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<(), CheckpointError> {
        match self.entries.get(name) {
            Some(entry) if entry.shape != expected => Err(CheckpointError::WrongShape {
                name: name.to_owned(),
                file: self.file_of(name).to_owned(),
                found: entry.shape.clone(),
                expected: expected.to_vec(),
            }),
            _ => Ok(()),
        }
    }

    /// Lets a tensor be read by `name` that the files may hold as `other` instead, or as both.
    pub(crate) fn join(&mut self, name: &str, other: &str) {
        let Some(entry) = self.entries.remove(other) else { return };
        if self.entries.contains_key(name) {
            self.copies.push((name.to_owned(), StoredTwice { name: other.to_owned(), entry }));
        } else {
            self.entries.insert(name.to_owned(), entry);
        }
    }

    /// Lets the matrices of experts be read one by one that the files hold stacked. A tensor of another shape stays as it is.
    pub(crate) fn take_apart(&mut self, stacked: &[StackedTensor]) {
        for stacked in stacked {
            let names: Vec<String> = self.entries.keys().cloned().collect();
            for name in names {
                let Some(&[experts, rows, columns]) = self.shape(&name) else { continue };
                let Some(parts) = stacked.parts(&name, experts.min(MOST_EXPERTS)) else { continue };
                let (count, pieces) = (stacked.parts.len(), experts * stacked.parts.len());
                let Some(entry) = self.entries.get(&name) else { continue };
                let is_whole = rows.is_multiple_of(count) && pieces > 0 && entry.length.is_multiple_of(pieces);
                if !is_whole || experts > MOST_EXPERTS || entry.gguf.is_some() {
                    continue;
                }
                let Some(Entry { source, dtype, start, length, .. }) = self.entries.remove(&name) else { continue };
                let length = length / pieces;
                for (place, part) in parts.into_iter().flatten().enumerate() {
                    let (start, shape) = (start + place * length, vec![rows / count, columns]);
                    self.entries.entry(part).or_insert(Entry { source, dtype, shape, start, length, gguf: None });
                }
            }
        }
    }

    /// The tensors that the files hold a second time, each with the name by which it is read.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (&str, &StoredTwice)> {
        self.copies.iter().map(|(name, copy)| (name.as_str(), copy))
    }

    /// Whether a copy is the tensor of a name, bit for bit.
    pub(crate) fn is_same(&self, name: &str, copy: &StoredTwice) -> bool {
        let (Some(entry), copy) = (self.entries.get(name), &copy.entry) else { return false };
        (entry.dtype, &entry.shape) == (copy.dtype, &copy.shape) && self.bytes_of(entry) == self.bytes_of(copy)
    }

    /// The type of a tensor.
    pub(crate) fn dtype(&self, name: &str) -> Option<Dtype> {
        self.entries.get(name).map(|entry| entry.dtype)
    }

    /// The file that holds a tensor.
    pub(crate) fn holder(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|entry| self.sources[entry.source].name.as_str())
    }

    /// The file that holds a tensor, or the first one, for messages.
    pub(crate) fn file_of(&self, name: &str) -> &str {
        self.holder(name).unwrap_or(self.origin())
    }

    /// The values of a tensor that has to have this shape.
    ///
    /// # Errors
    /// As [`Weights::read`], and when the shape is another.
    pub fn read_shaped(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.expect_shape(name, expected)?;
        self.read(name)
    }

    /// The values of a tensor bit for bit, whatever they are: f64 stays f64, everything else is exact in f64.
    pub(crate) fn read_exact(&self, name: &str) -> Result<Exact, CheckpointError> {
        let (entry, _) = self.entry(name)?;
        let bytes = self.bytes_of(entry);
        match entry.dtype {
            Dtype::F64 => Ok(Exact::F64(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect())),
            Dtype::F32 => Ok(Exact::F32(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())),
            Dtype::I8 => Ok(Exact::I8(bytes.iter().map(|byte| byte.cast_signed()).collect())),
            _ => self.read(name).map(Exact::F32),
        }
    }

    /// The bytes of a tensor in its file.
    pub(crate) fn bytes_of_tensor(&self, name: &str) -> Result<&[u8], CheckpointError> {
        self.entry(name).map(|(entry, _)| self.bytes_of(entry))
    }

    /// The same, read past the map where there is one.
    pub(crate) fn copy_of_tensor(&self, name: &str) -> Result<Cow<'_, [u8]>, CheckpointError> {
        self.entry(name).and_then(|(entry, _)| self.copy_of(entry))
    }

    /// A tensor, and the file that holds it.
    fn entry(&self, name: &str) -> Result<(&Entry, &str), CheckpointError> {
        let entry = self.entries.get(name).ok_or_else(|| CheckpointError::MissingTensor {
            name: name.to_owned(),
            file: self.origin().to_owned(),
            count: self.entries.len(),
        })?;
        Ok((entry, &self.sources[entry.source].name))
    }

    fn copy_of(&self, entry: &Entry) -> Result<Cow<'_, [u8]>, CheckpointError> {
        let source = &self.sources[entry.source];
        let Bytes::Mapped(file) = &source.bytes else { return Ok(Cow::Borrowed(self.bytes_of(entry))) };
        let mut bytes = vec![0; entry.length];
        file.read_at(entry.start, &mut bytes).map_err(|e| unreadable(source, e))?;
        Ok(Cow::Owned(bytes))
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        // The header was checked against the file's length when it was opened.
        &self.sources[entry.source].bytes.all()[entry.start..entry.start + entry.length]
    }
}

fn unreadable(source: &Source, error: std::io::Error) -> CheckpointError {
    CheckpointError::io("read", Path::new(&source.name), error)
}

fn wrong_type(name: &str, file: &str, found: Dtype, allowed: &'static str) -> CheckpointError {
    CheckpointError::WrongType { name: name.to_owned(), file: file.to_owned(), found: found.to_string(), allowed }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file,
            Self::Embedded(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, write_weights};
    use std::fs;

    fn tensors() -> Vec<Tensor<Vec<f32>>> {
        let tensor = |name: &str, shape: &[usize], first: f32| Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            values: (0..shape.iter().product()).map(|i| first + i as f32).collect(),
        };
        vec![tensor("a", &[2, 3], 1.0), tensor("b.weight", &[4], -2.0)]
    }

    #[test]
    fn tensors_come_back_by_name_and_the_crates_own_reader_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_weights(&path, &tensors(), Storage::F32).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b.weight"]);
        assert_eq!(weights.size(), (10, 40));
        for tensor in tensors() {
            assert_eq!(weights.read_shaped(&tensor.name, &tensor.shape).unwrap(), tensor.values);
        }
        let bytes = fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.tensor("a").unwrap().shape(), [2, 3]);
        let mut values = Vec::new();
        decode(Dtype::F32, theirs.tensor("a").unwrap().data(), &mut values).unwrap();
        assert_eq!(values, tensors()[0].values);
    }

    #[test]
    fn a_file_cut_at_any_byte_is_reported_as_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_weights(&path, &tensors(), Storage::Bf16).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Weights::open(folder.path()).unwrap_err();
            assert!(matches!(error, CheckpointError::Truncated { .. }), "{length} bytes: {error}");
        }
        let mut longer = whole;
        longer.push(0);
        fs::write(&path, &longer).unwrap();
        assert!(matches!(Weights::open(folder.path()), Err(CheckpointError::Truncated { .. })));
    }

    #[test]
    fn other_troubles_have_different_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        assert!(matches!(Weights::open(folder.path()), Err(CheckpointError::MissingFile { .. })));

        write_weights(&path, &tensors(), Storage::F16).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        assert!(matches!(weights.read("c"), Err(CheckpointError::MissingTensor { count: 2, .. })));
        assert!(matches!(weights.read_shaped("a", &[3, 2]), Err(CheckpointError::WrongShape { .. })));

        let header = br#"{"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
        let file = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 8]].concat();
        fs::write(&path, file).unwrap();
        let error = Weights::open(folder.path()).unwrap().read("i").unwrap_err().to_string();
        assert!(error.contains("of type I64; allowed: F64, F32, F16, BF16"), "{error}");

        fs::write(&path, b"PK\x03\x04 this is some other kind of file").unwrap();
        assert!(matches!(Weights::open(folder.path()), Err(CheckpointError::Header { .. })));
    }
}
