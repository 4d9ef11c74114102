//! What a network remembers of a sequence between two readings: the keys and values of its rows, layer by layer.
//!
//! Rows that are not read again answer others by what is remembered of them. Where nothing that they see has changed,
//! that is what they would have answered (blocks in causal order: BD3-LM, 2503.09573); elsewhere it is an approximation
//! (Fast-dLLM, 2505.22618). The network neither knows nor judges which it is.

use crate::forward::{Pass, PassIndices};
use crate::reader::{Evidence, Reader};
use crate::row_query::{RowAnswer, RowQuery};
use crate::{CachedRows, NetworkError};
use crate::{NetworkInput, input::below};
use aquatint_compute::{
    AttentionRows, AttentionShape, Columns, Device, DeviceError, ReadRow, Rows, Tape, Value, Visibility, WriteRows,
};
use std::any::Any;
use std::ops::Range;

/// What one network remembers of one sequence; made and filled by the network, for nobody else to look into.
#[derive(Debug, Default)]
pub struct KvCache(Option<Box<dyn Any + Send + Sync>>);

impl KvCache {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Keys and values of each row after they were turned, for each layer.
struct Kept<D: Device> {
    layers: Vec<D::Buffer>,
    /// Which rows were ever read.
    known: Vec<bool>,
}

/// One sequence of a batch that is read in part.
struct Part<D: Device> {
    kept: Kept<D>,
    visible: D::Visible,
    /// Its rows that are read, counted from its beginning, here and on the device, and the first of them among all that are
    /// read.
    rows_to_compute: Vec<u32>,
    indices: D::Indices,
    first: usize,
}

impl<D: Device> Reader<'_, D> {
    /// The part of [`crate::Denoiser::forward`] that computes some rows only; `rows` are those of the queries.
    pub(crate) fn forward_cached(
        &self,
        input: &NetworkInput<'_>,
        cached: CachedRows<'_>,
        rows: &[u32],
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let CachedRows { rows_to_compute, kv_caches } = cached;
        input.check(self.spec)?;
        below("rows_to_compute", rows_to_compute, input.visibility.len(), "the number of rows of `visibility`")?;
        if let Some(index) = rows_to_compute.windows(2).position(|two| two[0] >= two[1]) {
            return Err(NetworkError::Order { parameter: "rows_to_compute", index: index + 1 });
        }
        let sequences = input.visibility.sequences();
        if kv_caches.len() != sequences.len() {
            let (given, expected) = (kv_caches.len(), sequences.len());
            return Err(NetworkError::InputLength {
                parameter: "kv_caches",
                given,
                expected,
                reason: "one for each sequence",
            });
        }
        let asked = input.answering(self.spec, rows)?;
        let asked = asked.iter().map(|&row| {
            let place = rows_to_compute.binary_search(&row).map_err(|_| NetworkError::NotComputed { row })?;
            Ok(place as u32)
        });
        let asked = asked.collect::<Result<Vec<u32>, NetworkError>>()?;
        let mut parts = Vec::with_capacity(sequences.len());
        for (sequence, memory) in sequences.iter().zip(&mut *kv_caches) {
            parts.push(self.part(input, sequence, rows_to_compute, std::mem::take(memory))?);
        }
        let mut answers = Vec::new();
        if !rows_to_compute.is_empty() {
            let (hidden, evidence) = self.run(input, rows_to_compute, &asked, &mut parts)?;
            answers = self.answer(&hidden, evidence.as_ref(), queries, read)?;
        }
        for (memory, mut part) in kv_caches.iter_mut().zip(parts) {
            for row in part.rows_to_compute {
                part.kept.known[row as usize] = true;
            }
            *memory = KvCache(Some(Box::new(part.kept)));
        }
        Ok(answers)
    }

    /// Lays out what is read and what is remembered of a sequence, and checks that nothing is missing.
    fn part(
        &self,
        input: &NetworkInput<'_>,
        sequence: &Range<u32>,
        rows_to_compute: &[u32],
        memory: KvCache,
    ) -> Result<Part<D>, NetworkError> {
        let length = sequence.len();
        let kept = match memory.0 {
            Some(kept) => *kept.downcast::<Kept<D>>().map_err(|_| NetworkError::ForeignKvCache)?,
            None => {
                let columns = self.spec.layers.iter().map(|layer| layer.attention.shape().key_value_columns());
                let device = self.parameters.device();
                let layers = columns.map(|columns| device.zeros(length * columns)).collect::<Result<_, _>>()?;
                Kept { layers, known: vec![false; length] }
            }
        };
        if kept.layers.len() != self.spec.layers.len() || kept.known.len() != length {
            return Err(NetworkError::ForeignKvCache);
        }
        let places = rows_to_compute.partition_point(|&row| row < sequence.start)
            ..rows_to_compute.partition_point(|&row| row < sequence.end);
        let rows_to_compute: Vec<u32> =
            rows_to_compute[places.clone()].iter().map(|row| row - sequence.start).collect();
        // Rows neither read nor remembered before each row: a range is whole where the count does not grow.
        let mut there = kept.known.clone();
        rows_to_compute.iter().for_each(|&row| there[row as usize] = true);
        let mut missing = vec![0_u32];
        missing.extend(there.iter().scan(0, |count, there| {
            *count += u32::from(!there);
            Some(*count)
        }));
        let shift = |range: &Range<u32>| match range.is_empty() {
            true => 0..0,
            false => range.start - sequence.start..range.end - sequence.start,
        };
        let intervals: Vec<[Range<u32>; 2]> =
            sequence.clone().map(|row| input.visibility.row(row as usize).each_ref().map(shift)).collect();
        for &row in &rows_to_compute {
            let whole = |range: &Range<u32>| missing[range.start as usize] == missing[range.end as usize];
            if !intervals[row as usize].iter().all(whole) {
                return Err(NetworkError::NotCached { row: row + sequence.start });
            }
        }
        let whole = 0..length as u32;
        let device = self.parameters.device();
        let visible = device.upload_visibility(&Visibility::new(vec![whole], intervals)?)?;
        let indices = device.upload_indices(&rows_to_compute)?;
        Ok(Part { kept, visible, rows_to_compute, indices, first: places.start })
    }

    /// See [`crate::Denoiser::kv_cache_bytes`].
    pub(crate) fn kv_cache_bytes(&self, rows: usize) -> usize {
        let columns = self.spec.layers.iter().map(|layer| layer.attention.shape().key_value_columns());
        rows * columns.sum::<usize>() * size_of::<D::Element>()
    }

    fn run(
        &self,
        input: &NetworkInput<'_>,
        rows_to_compute: &[u32],
        asked: &[u32],
        parts: &mut [Part<D>],
    ) -> Result<(Value<D>, Option<Evidence<'_, D>>), NetworkError> {
        let pick = |values: &[u32]| rows_to_compute.iter().map(|&row| values[row as usize]).collect::<Vec<u32>>();
        let (tokens, positions, groups) = (pick(input.tokens), pick(input.positions), pick(&input.sequence_of_row()));
        let places: Vec<usize> = rows_to_compute.iter().map(|&row| row as usize).collect();
        let points = input.points.map(|points| points.of(&places));
        let size = self.spec.vocabulary_size;
        let belief: Option<Vec<f32>> = input
            .self_conditioning
            .map(|belief| places.iter().flat_map(|row| &belief[row * size..][..size]).copied().collect());
        let input = NetworkInput {
            tokens: &tokens,
            positions: &positions,
            points: points.as_ref(),
            self_conditioning: belief.as_deref(),
            ..*input
        };
        let (spec, weight_index) = (self.spec, self.weight_index);
        let device = self.parameters.device();
        let indices = PassIndices::new(device, &input, &groups, asked)?;
        let pass = Pass { spec, weight_index, input, indices: &indices, asked };
        let mut tape = Tape::inferring(self.parameters);
        let hidden = pass.hidden_with(&mut tape, &mut |tape, layer, shape, packed| {
            attend(device, parts, tape, layer, shape, packed)
        })?;
        let evidence = self.evidence(&input, asked)?;
        Ok((hidden, evidence))
    }
}

/// Remembers the computed rows of a layer, and lets them attend to all that is remembered.
fn attend<'p, D: Device>(
    device: &D,
    parts: &mut [Part<D>],
    tape: &mut Tape<'p, D>,
    layer: usize,
    shape: AttentionShape,
    packed: &Value<D>,
) -> Result<Value<D>, DeviceError> {
    let (inputs, outputs) = (shape.packed_columns(), shape.output_columns());
    let mut all = device.uninitialised(packed.rows() * outputs)?;
    for part in parts.iter_mut().filter(|part| !part.rows_to_compute.is_empty()) {
        let kept = &mut part.kept.layers[layer];
        let columns = shape.key_value_columns();
        let packed =
            |first: usize| Columns { buffer: packed.buffer(), stride: inputs, first: part.first * inputs + first };
        device.write_rows(WriteRows { columns, rows: packed(outputs), ids: &part.indices }, kept);
        let mut out = device.uninitialised(part.rows_to_compute.len() * outputs)?;
        let operands = AttentionRows {
            shape,
            visible: &part.visible,
            rows: Rows::At(&part.indices),
            queries: packed(0),
            keys_values: Columns::all(kept, columns),
        };
        device.attention_rows(operands, &mut out);
        let whole = aquatint_compute::Part { buffer: &out, first: 0, len: device.len(&out) };
        device.copy(whole, &mut all, part.first * outputs);
    }
    Ok(tape.adopt(all, packed.rows(), outputs))
}
