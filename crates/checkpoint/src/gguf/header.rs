//! The header of a GGUF file: metadata and where tensors lie. Whatever the bytes are, reading them takes no more memory than
//! a small multiple of the file, and no tensor lies outside of the file or over another one.

use super::blocks::BlockType;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The first four bytes.
const MAGIC: &[u8] = b"GGUF";
/// Versions whose layout is the same.
const VERSIONS: [u32; 2] = [2, 3];
/// Bytes that names of tensors and keys have at most.
const LONGEST_NAME: usize = 1 << 16;
/// Sizes that a tensor has at most.
const MOST_DIMENSIONS: usize = 4;
/// What offsets are multiples of where the metadata say nothing.
const ALIGNMENT: u64 = 32;

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Header {
    /// Everything but the tokenizer's lists.
    pub(super) metadata: Map<String, Value>,
    pub(super) tokens: Vec<String>,
    pub(super) merges: Vec<String>,
    pub(super) token_types: Vec<i64>,
    pub(super) tensors: Vec<TensorPlace>,
}

/// A tensor in the file.
#[derive(Debug, Clone)]
pub(super) struct TensorPlace {
    pub(super) name: String,
    /// Sizes, the one along which numbers are neighbours last.
    pub(super) shape: Vec<usize>,
    pub(super) kind: BlockType,
    /// Where it begins in the file.
    pub(super) start: usize,
    /// Bytes.
    pub(super) length: usize,
}

impl TensorPlace {
    /// Its first size.
    pub(super) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }
}

/// The value of a key.
enum Entry {
    One(Value),
    Texts(Vec<String>),
    Numbers(Vec<i64>),
    /// A list that nothing here asks for.
    Other,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err("it is no GGUF file".to_owned());
        }
        let version = reader.number32()?;
        if !VERSIONS.contains(&version) {
            return Err(format!("its version is {version}; allowed: 2, 3"));
        }
        let (tensor_count, key_count) = (reader.number64()?, reader.number64()?);
        let mut header = Self {
            metadata: Map::new(),
            tokens: Vec::new(),
            merges: Vec::new(),
            token_types: Vec::new(),
            tensors: Vec::new(),
        };
        for _ in 0..key_count {
            let key = reader.name()?;
            let entry = reader.entry(&key)?;
            if header.metadata.contains_key(&key) {
                return Err(format!("`{key}` is there twice"));
            }
            match (key.as_str(), entry) {
                ("tokenizer.ggml.tokens", Entry::Texts(texts)) => header.tokens = texts,
                ("tokenizer.ggml.merges", Entry::Texts(texts)) => header.merges = texts,
                ("tokenizer.ggml.token_type", Entry::Numbers(numbers)) => header.token_types = numbers,
                (_, Entry::One(value)) => drop(header.metadata.insert(key, value)),
                (_, Entry::Texts(_) | Entry::Numbers(_) | Entry::Other) => {}
            }
        }
        header.read_tensors(&mut reader, tensor_count)?;
        Ok(header)
    }

    fn read_tensors(&mut self, reader: &mut Reader<'_>, count: u64) -> Result<(), String> {
        let alignment = match self.metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|size| size.is_power_of_two())
                .ok_or_else(|| format!("`general.alignment` is {value}; allowed: powers of two"))?,
        };
        let mut names = BTreeSet::new();
        for _ in 0..count {
            let (name, shape, kind, offset) = reader.tensor()?;
            if !names.insert(name.clone()) {
                return Err(format!("tensor `{name}` is there twice"));
            }
            let numbers = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
            let inner = shape.last().copied().unwrap_or(0);
            let length = numbers
                .filter(|_| inner.is_multiple_of(kind.numbers()))
                .and_then(|numbers| (numbers / kind.numbers()).checked_mul(kind.bytes()).filter(|length| *length > 0));
            let (Some(length), true) = (length, offset.is_multiple_of(alignment)) else {
                return Err(format!("tensor `{name}` of type {} has sizes {shape:?} at {offset}", kind.name()));
            };
            // Where it begins is known when all headers are read.
            let start = usize::try_from(offset).map_err(|_| format!("tensor `{name}` begins at {offset}"))?;
            self.tensors.push(TensorPlace { name, shape, kind, start, length });
        }
        let begin =
            (reader.at as u64).checked_next_multiple_of(alignment).and_then(|begin| usize::try_from(begin).ok());
        let begin = begin.ok_or("its alignment is beyond every size")?;
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        order.sort_by_key(|&index| self.tensors[index].start);
        let mut end = 0;
        for index in order {
            let tensor = &mut self.tensors[index];
            if tensor.start < end {
                return Err(format!("tensor `{}` lies over another one", tensor.name));
            }
            let last = tensor.start.checked_add(tensor.length);
            let within = last.and_then(|last| last.checked_add(begin)).filter(|last| *last <= reader.bytes.len());
            if within.is_none() {
                return Err(format!(
                    "tensor `{}` ends behind the file, which has {} bytes",
                    tensor.name,
                    reader.bytes.len()
                ));
            }
            end = tensor.start + tensor.length;
            tensor.start += begin;
        }
        Ok(())
    }
}

/// Bytes that are read from the front.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("its header ends at byte {} in the middle", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn number32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn number64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things of which each takes so many bytes at least.
    fn count(&mut self, least: usize) -> Result<usize, String> {
        let count = self.number64()?;
        let most = (self.bytes.len() - self.at) / least;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| format!("it would have {count} values"))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.count(1)?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text in it is no UTF-8".to_owned())
    }

    fn name(&mut self) -> Result<String, String> {
        let name = self.text()?;
        if name.len() > LONGEST_NAME { Err(format!("a name in it has {} bytes", name.len())) } else { Ok(name) }
    }

    /// The value of a key, after its type.
    fn entry(&mut self, key: &str) -> Result<Entry, String> {
        let kind = self.number32()?;
        if kind != LIST {
            return self.value(kind, key).map(Entry::One);
        }
        let kind = self.number32()?;
        if kind == TEXT {
            let count = self.count(8)?;
            return (0..count).map(|_| self.text()).collect::<Result<_, _>>().map(Entry::Texts);
        }
        let size = size_of_kind(kind).ok_or_else(|| format!("`{key}` is a list of values of type {kind}"))?;
        let count = self.count(size)?;
        if !matches!(kind, 4 | 5) {
            self.take(count * size)?;
            return Ok(Entry::Other);
        }
        let number = |bytes: [u8; 4]| {
            if kind == 4 { u32::from_le_bytes(bytes).into() } else { i32::from_le_bytes(bytes).into() }
        };
        Ok(Entry::Numbers(self.take(count * size)?.as_chunks::<4>().0.iter().map(|bytes| number(*bytes)).collect()))
    }

    /// A value that is no list.
    fn value(&mut self, kind: u32, key: &str) -> Result<Value, String> {
        Ok(match kind {
            0 => u8::from_le_bytes(self.array()?).into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.number32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            6 => decimal(f32::from_le_bytes(self.array()?)),
            7 => (self.array::<1>()? != [0]).into(),
            TEXT => self.text()?.into(),
            10 => self.number64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?).into(),
            other => return Err(format!("`{key}` has a value of type {other}")),
        })
    }

    fn tensor(&mut self) -> Result<(String, Vec<usize>, BlockType, u64), String> {
        let name = self.name()?;
        let dimensions = self.number32()? as usize;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(format!("tensor `{name}` has {dimensions} dimensions; allowed: 1 to {MOST_DIMENSIONS}"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.number64()?;
            shape.push(usize::try_from(size).map_err(|_| format!("tensor `{name}` has a size of {size}"))?);
        }
        // The file has the size along which numbers are neighbours first.
        shape.reverse();
        let number = self.number32()?;
        let kind = BlockType::of(number)
            .ok_or_else(|| format!("tensor `{name}` is of type {number}; allowed: {}", BlockType::NAMES))?;
        Ok((name, shape, kind, self.number64()?))
    }
}

/// The type of texts.
const TEXT: u32 = 8;
/// The type of lists.
const LIST: u32 = 9;

/// Bytes of a value that is neither a text nor a list.
fn size_of_kind(kind: u32) -> Option<usize> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// The shortest decimal number that a number of 32 bits stands for: 1e-5, not 9.99999974737875e-6.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
