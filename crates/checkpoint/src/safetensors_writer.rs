//! Writing safetensors files, atomically and one tensor after another.

use crate::weights::HEADER_PREFIX;
use crate::{CheckpointError, Exact, Storage, Tensor};
use aquatint_files::AtomicFile;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What other readers of safetensors files look for in the header.
pub(crate) const FORMAT: (&str, &str) = ("format", "pt");

/// What the header says of one tensor.
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) dtype: Dtype,
}

/// Writes weights to a safetensors file, atomically.
///
/// # Errors
/// When the file cannot be written.
pub fn write_weights<V: AsRef<[f32]>>(
    path: &Path,
    tensors: &[Tensor<V>],
    storage: Storage,
) -> Result<(), CheckpointError> {
    let parts = tensors.iter().map(|t| Part { name: &t.name, shape: &t.shape, dtype: storage.dtype() });
    write(path, parts.collect(), FORMAT, |index| storage.encode(tensors[index].values.as_ref()))
}

/// Writes tensors without rounding, with one piece of text in the header, atomically.
pub(crate) fn write_exact(
    path: &Path,
    tensors: &[Tensor<Exact>],
    metadata: (&str, &str),
) -> Result<(), CheckpointError> {
    let parts = tensors.iter().map(|t| {
        let dtype = match t.values {
            Exact::F32(_) => Dtype::F32,
            Exact::F64(_) => Dtype::F64,
            Exact::I8(_) => Dtype::I8,
        };
        Part { name: &t.name, shape: &t.shape, dtype }
    });
    write(path, parts.collect(), metadata, |index| tensors[index].values.to_bytes())
}

/// Writes one tensor after another, so that only one at a time is there twice; `encode` gives the bytes of the tensor
/// with an index.
pub(crate) fn write(
    path: &Path,
    parts: Vec<Part>,
    metadata: (&str, &str),
    encode: impl Fn(usize) -> Vec<u8>,
) -> Result<(), CheckpointError> {
    let mut writer = SafetensorsWriter::begin(path, &parts, metadata)?;
    for index in writer.order.clone() {
        writer.put(index, &encode(index))?;
    }
    writer.finish()
}

/// A safetensors file whose header is written and whose tensors come one by one, in any order.
pub(crate) struct SafetensorsWriter {
    file: AtomicFile,
    path: PathBuf,
    /// The tensors in the order in which they lie in the file.
    order: Vec<usize>,
    /// Where each begins.
    starts: Vec<u64>,
    position: u64,
}

impl SafetensorsWriter {
    /// Begins a file that appears when it is finished.
    pub(crate) fn begin(path: &Path, parts: &[Part], metadata: (&str, &str)) -> Result<Self, CheckpointError> {
        // Wide types come first, so that every tensor begins at a multiple of its type's size.
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(parts[index].dtype.bitsize()));
        let (mut end, mut starts, mut infos) = (0, vec![0; parts.len()], Vec::new());
        for &index in &order {
            let part = &parts[index];
            let start = end;
            end += part.shape.iter().product::<usize>() * part.dtype.bitsize() / 8;
            starts[index] = start as u64;
            let info = TensorInfo { dtype: part.dtype, shape: part.shape.to_vec(), data_offsets: (start, end) };
            infos.push((part.name.to_owned(), info));
        }
        let metadata = HashMap::from([(metadata.0.to_owned(), metadata.1.to_owned())]);
        let refused = |reason: String| CheckpointError::Header { file: path.display().to_string(), reason };
        let header = Metadata::new(Some(metadata), infos).map_err(|e| refused(e.to_string()))?;
        let mut header = serde_json::to_vec(&header).map_err(|e| refused(e.to_string()))?;
        header.resize(header.len().next_multiple_of(HEADER_PREFIX as usize), b' ');
        let begin = || -> std::io::Result<AtomicFile> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = AtomicFile::create(path)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            Ok(file)
        };
        let file = begin().map_err(|e| CheckpointError::io("write", path, e))?;
        let position = HEADER_PREFIX + header.len() as u64;
        starts.iter_mut().for_each(|start| *start += position);
        Ok(Self { file, path: path.to_path_buf(), order, starts, position })
    }

    /// Writes the bytes of the tensor with an index.
    pub(crate) fn put(&mut self, index: usize, bytes: &[u8]) -> Result<(), CheckpointError> {
        let start = self.starts[index];
        let written = match start == self.position {
            true => self.file.write_all(bytes),
            false => self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.write_all(bytes)),
        };
        self.position = start + bytes.len() as u64;
        written.map_err(|e| CheckpointError::io("write", &self.path, e))
    }

    /// Puts the file under its name.
    pub(crate) fn finish(self) -> Result<(), CheckpointError> {
        self.file.finish().map_err(|e| CheckpointError::io("write", &self.path, e))
    }
}
