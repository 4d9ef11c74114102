//! A pass that computes some rows only, and takes the keys and values of the others from the KV cache.

use crate::forward::{Pass, PassIndices};
use crate::input::{below, count};
use crate::kv_cache::{Place, PoolRows};
use crate::layer_visibility::{LayerVisibility, LayerVisible};
use crate::reader::Reader;
use crate::routing_blocks;
use crate::row_query::{RowAnswer, RowQuery};
use crate::{CachedRows, NetworkError, NetworkInput};
use aquatint_compute::{
    AttentionRows, AttentionShape, Columns, Device, DeviceError, ReadRow, Rows, Tape, Value, Visibility,
    VisibilityError, WriteRows,
};
use std::ops::Range;

/// One sequence of a batch that is computed in part.
struct Part {
    slot: usize,
    /// Its rows in the batch.
    sequence: Range<u32>,
    /// Those that are computed, counted from its beginning.
    rows_to_compute: Vec<u32>,
}

/// What attention over the pool reads besides keys, values and queries: uploaded once for all layers.
struct PoolIndices<D: Device> {
    visible: LayerVisible<D>,
    /// The rows of the pool that are computed, ascending.
    rows: D::Indices,
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
        let requested = input.answering(self.spec, rows)?;
        if let Some(&row) = requested.iter().find(|row| rows_to_compute.binary_search(row).is_err()) {
            return Err(NetworkError::NotComputed { row });
        }
        let visibility = LayerVisibility::new(self.spec, input.visibility, input.positions, input.current)?;
        let blocks = self.spec.routing_length().map(|length| routing_blocks::starts(length, input.visibility));
        if let Some(starts) = &blocks {
            routing_blocks::check_whole(starts, rows_to_compute)?;
        }
        let mut pool = self.pool.lock();
        let mut parts = Vec::with_capacity(sequences.len());
        for (sequence, kv_cache) in sequences.iter().zip(&mut *kv_caches) {
            let own = Part::own_rows(sequence, rows_to_compute);
            let claimed = (sequence.len(), own.last().map_or(0, |last| *last as usize + 1));
            let slot = self.pool.slot(&mut pool, kv_cache, claimed)?.ok_or(NetworkError::ForeignKvCache)?;
            let part = Part { slot, sequence: sequence.clone(), rows_to_compute: own };
            part.check(visibility.widest(), pool.known(slot), pool.place_of(slot))?;
            parts.push(part);
        }
        if rows_to_compute.is_empty() {
            return Ok(Vec::new());
        }
        // Should the device fail, what it wrote is of no use.
        parts.iter().for_each(|part| pool.set_known(part.slot, &part.rows_to_compute, false));
        // Rows are computed in the order in which the pool has them.
        parts.sort_by_key(|part| pool.place_of(part.slot).start);
        let order: Vec<u32> = parts.iter().flat_map(Part::rows_of_batch).collect();
        let requested = Part::places(&parts, &requested);
        let blocks = blocks.map(|starts| routing_blocks::of_computed(&starts, &order));
        let computed = Computed::new(input, &order, self.spec.vocabulary_size);
        let input = computed.input(input);
        let device = self.parameters.device();
        let of_rows = (&computed.groups[..], blocks.as_deref());
        let indices = PassIndices::new(device, self.spec, &input, of_rows, &requested)?;
        let pool_indices = pool_indices(device, &pool, &parts, &visibility)?;
        let pass =
            Pass { spec: self.spec, weight_index: self.weight_index, input, indices: &indices, requested: &requested };
        let mut tape = Tape::inferring(self.parameters).adding(self.adapter);
        let hidden = pass.hidden_with(&mut tape, &mut |tape, layer, shape, packed| {
            let of_layer = PoolLayer { keys_values: pool.layer(layer), visible: pool_indices.visible.of(layer) };
            attend(device, of_layer, &pool_indices.rows, tape, shape, packed)
        })?;
        parts.iter().for_each(|part| pool.set_known(part.slot, &part.rows_to_compute, true));
        // What is asked of the rows needs the pool no more.
        drop(pool);
        let evidence = self.evidence(&input, &requested)?;
        self.answer(&hidden, evidence.as_ref(), queries, read)
    }
}

impl Part {
    /// The rows of a sequence that are computed, counted from its beginning.
    fn own_rows(sequence: &Range<u32>, rows_to_compute: &[u32]) -> Vec<u32> {
        let first = rows_to_compute.partition_point(|&row| row < sequence.start);
        let end = rows_to_compute.partition_point(|&row| row < sequence.end);
        rows_to_compute[first..end].iter().map(|row| row - sequence.start).collect()
    }

    /// Its computed rows, counted over the batch.
    fn rows_of_batch(&self) -> impl Iterator<Item = u32> {
        self.rows_to_compute.iter().map(|row| row + self.sequence.start)
    }

    /// The places of some computed rows of the batch when the parts follow each other.
    fn places(parts: &[Self], rows: &[u32]) -> Vec<u32> {
        let mut firsts: Vec<(u32, u32, &Self)> = Vec::with_capacity(parts.len());
        let mut first = 0;
        for part in parts.iter().filter(|part| !part.rows_to_compute.is_empty()) {
            firsts.push((part.sequence.start, first, part));
            first += part.rows_to_compute.len() as u32;
        }
        firsts.sort_by_key(|(start, ..)| *start);
        let place = |&row: &u32| {
            let (start, first, part) = firsts[firsts.partition_point(|(start, ..)| *start <= row) - 1];
            first + part.rows_to_compute.partition_point(|own| own + start < row) as u32
        };
        rows.iter().map(place).collect()
    }

    /// That each computed row has a place in the pool, and sees only rows that are computed or cached.
    fn check(&self, visibility: &Visibility, known: &[bool], place: Place) -> Result<(), NetworkError> {
        if let Some(row) = self.rows_to_compute.first().filter(|row| (**row as usize) < place.first) {
            return Err(NetworkError::Freed { row: row + self.sequence.start });
        }
        let mut there = known.to_vec();
        there.resize(self.sequence.len(), false);
        self.rows_to_compute.iter().for_each(|&row| there[row as usize] = true);
        // Rows neither computed nor cached before each row: a range is whole where the count does not grow.
        let mut missing = vec![0_u32];
        missing.extend(there.iter().scan(0, |count, there| {
            *count += u32::from(!there);
            Some(*count)
        }));
        let start = self.sequence.start;
        let at = |row: u32| missing[(row - start) as usize];
        let whole = |range: &Range<u32>| range.is_empty() || at(range.start) == at(range.end);
        let rows = self.rows_to_compute.iter().map(|row| row + start);
        match rows.into_iter().find(|&row| !visibility.row(row as usize).iter().all(whole)) {
            Some(row) => Err(NetworkError::NotCached { row }),
            None => Ok(()),
        }
    }
}

/// The rows of an input that are computed, picked out.
struct Computed {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    places: Option<Vec<u32>>,
    groups: Vec<u32>,
    points: Option<aquatint_diffusion::ContinuousState>,
    current: Option<Vec<bool>>,
    self_conditioning: Option<Vec<f32>>,
}

impl Computed {
    fn new(input: &NetworkInput<'_>, rows_to_compute: &[u32], vocabulary_size: usize) -> Self {
        let pick = |values: &[u32]| rows_to_compute.iter().map(|&row| values[row as usize]).collect::<Vec<u32>>();
        let rows: Vec<usize> = rows_to_compute.iter().map(|&row| row as usize).collect();
        Self {
            tokens: pick(input.tokens),
            positions: pick(input.positions),
            places: input.places.map(|places| {
                let axes = places.len() / input.positions.len().max(1);
                rows.iter().flat_map(|row| &places[row * axes..][..axes]).copied().collect()
            }),
            groups: pick(&input.sequence_of_row()),
            points: input.points.map(|points| points.of(&rows)),
            current: input.current.map(|current| rows.iter().map(|&row| current[row]).collect()),
            self_conditioning: input.self_conditioning.map(|all| {
                // Of each row the place of its prediction; none of a row outside of current blocks.
                let place = |&row: &usize| match input.current {
                    Some(current) => current[row].then(|| count(&current[..row])),
                    None => Some(row),
                };
                let places = rows.iter().filter_map(place);
                places.flat_map(|place| &all[place * vocabulary_size..][..vocabulary_size]).copied().collect()
            }),
        }
    }

    /// The input of these rows alone.
    fn input<'b>(&'b self, whole: &NetworkInput<'b>) -> NetworkInput<'b> {
        NetworkInput {
            tokens: &self.tokens,
            positions: &self.positions,
            places: self.places.as_deref(),
            points: self.points.as_ref(),
            current: self.current.as_deref(),
            self_conditioning: self.self_conditioning.as_deref(),
            ..*whole
        }
    }
}

/// What the sequences of a batch see, in the rows of the pool; `parts` are in the order of the pool.
fn pool_indices<D: Device>(
    device: &D,
    pool: &PoolRows<D>,
    parts: &[Part],
    visibility: &LayerVisibility<'_>,
) -> Result<PoolIndices<D>, NetworkError> {
    let parts: Vec<(Place, &Part)> = parts
        .iter()
        .filter(|part| !part.rows_to_compute.is_empty())
        .map(|part| (pool.place_of(part.slot), part))
        .collect();
    let mut rows = Vec::new();
    for (place, part) in &parts {
        rows.extend(part.rows_to_compute.iter().map(|row| row - place.first as u32 + place.start as u32));
    }
    Ok(PoolIndices {
        visible: visibility
            .upload(|visibility| Ok(device.upload_visibility(&pool_visibility(&parts, visibility)?)?))?,
        rows: device.upload_indices(&rows)?,
    })
}

/// What the rows of the pool see in one layer; `parts` are in the order of the pool, each with its place there.
fn pool_visibility(parts: &[(Place, &Part)], visibility: &Visibility) -> Result<Visibility, VisibilityError> {
    let (mut sequences, mut intervals) = (Vec::new(), Vec::new());
    for &(place, part) in parts {
        let (end, start) = (intervals.len() as u32, place.start as u32);
        if end < start {
            // Rows of others, which nobody reads in this pass.
            sequences.push(end..start);
            intervals.extend((end..start).map(|row| [row..row + 1, 0..0]));
        }
        let begin = part.sequence.start;
        let there = begin + place.first as u32..begin + place.end as u32;
        let moved = |range: &Range<u32>| {
            let (first, end) = (range.start.max(there.start), range.end.min(there.end));
            if first < end { first - there.start + start..end - there.start + start } else { 0..0 }
        };
        sequences.push(start..start + there.len() as u32);
        intervals.extend(there.clone().map(|row| match visibility.row(row as usize).each_ref().map(moved) {
            // A row that sees nothing of what is there is none that is computed.
            [first, second] if first.is_empty() && second.is_empty() => [moved(&(row..row + 1)), 0..0],
            [first, second] if first.is_empty() => [second, first],
            two => two,
        }));
    }
    Visibility::new(sequences, intervals)
}

/// One layer of the pool: its keys and values, and what its rows see.
struct PoolLayer<'a, D: Device> {
    keys_values: &'a mut D::Buffer,
    visible: &'a D::Visible,
}

/// Caches the computed rows of a layer, and lets them attend to all cached rows; one launch for all
/// sequences. `rows` are the rows of the pool that are computed.
fn attend<'p, D: Device>(
    device: &D,
    PoolLayer { keys_values, visible }: PoolLayer<'_, D>,
    rows: &D::Indices,
    tape: &mut Tape<'p, D>,
    shape: AttentionShape,
    packed: &Value<D>,
) -> Result<Value<D>, DeviceError> {
    let (inputs, outputs, columns) = (shape.packed_columns(), shape.output_columns(), shape.key_value_columns());
    let part = |first| Columns { buffer: packed.buffer(), stride: inputs, first };
    device.write_rows(WriteRows { columns, rows: part(outputs), ids: rows }, keys_values);
    let mut out = device.uninitialised(packed.rows() * outputs)?;
    let operands = AttentionRows {
        shape,
        visible,
        rows: Rows::At(rows),
        queries: part(0),
        keys_values: Columns::all(keys_values, columns),
    };
    device.attention_rows(operands, &mut out);
    Ok(tape.adopt(out, packed.rows(), outputs))
}
