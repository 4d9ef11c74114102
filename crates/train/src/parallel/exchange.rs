//! The two halves of a sum over ranks: a reduce-scatter, after which each rank has the sums of its shard, and an all-gather,
//! after which all have what each has. Between them an optimiser may update what its rank has, and hold states for no more
//! (ZeRO-1: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 1910.02054, section 5.1).
//!
//! Devices that are connected do both between themselves; the figures of a step go over the ring of the ranks in any case.

use super::shards::{Piece, Shards};
use super::{ParallelError, Ranks};
use crate::TrainError;
use aquatint_compute::{Device, Element, RankPart};
use std::ops::Range;

/// How the buffers of parameters are exchanged.
pub(crate) struct Exchange<'a, D: Device> {
    pub(crate) ranks: &'a dyn Ranks,
    pub(crate) device: &'a D,
    pub(crate) shards: &'a Shards,
}

impl<D: Device> Exchange<'_, D> {
    /// This rank's pieces.
    fn own(&self) -> &[Piece] {
        &self.shards.of_ranks()[self.ranks.rank()]
    }

    /// The square of the norm of a vector that lies in the pieces of all ranks, each of which has its own of the buffers of all
    /// parameters.
    pub(crate) fn sum_of_squares(&self, buffers: &[&mut D::Buffer]) -> Result<f64, TrainError> {
        let mut own = 0.0;
        for piece in self.own() {
            let buffer = &*buffers[piece.parameter];
            own += match piece.is_whole(self.device, buffer) {
                true => self.device.sum_of_squares(buffer),
                false => self.device.sum_of_squares(&piece.cut(self.device, buffer)?),
            };
        }
        let all = self.ranks.all_gather(own.to_le_bytes().to_vec())?;
        Ok(all.into_iter().map(|bytes| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes)).sum())
    }

    /// Makes this rank's pieces of the buffers of all parameters the sums over all ranks. What the others become is not said.
    pub(crate) fn reduce_scatter(&self, buffers: &mut [&mut D::Buffer]) -> Result<(), TrainError> {
        if let Some(connection) = self.device.connection() {
            return Ok(connection.reduce(buffers, &self.rank_parts(Some))?);
        }
        let (parts, total) = self.parts();
        let mut flat = vec![D::Element::default(); total];
        let places =
            self.shards.of_ranks().iter().zip(&parts).flat_map(|(pieces, part)| places_from(part.start, pieces));
        let mut places: Vec<(&Piece, Range<usize>)> = places.collect();
        places.sort_by_key(|(piece, _)| piece.parameter);
        let mut rest = places.as_slice();
        for (parameter, buffer) in buffers.iter().enumerate() {
            let (own, after) = rest.split_at(rest.partition_point(|(piece, _)| piece.parameter <= parameter));
            let values = self.device.download(buffer);
            for (piece, place) in own {
                flat[place.clone()].copy_from_slice(&values[piece.range.clone()]);
            }
            rest = after;
        }
        flat = self.sum(flat, &parts)?;
        for (piece, place) in places_from(parts[self.ranks.rank()].start, self.own()) {
            piece.write(self.device, &flat[place], buffers[piece.parameter])?;
        }
        Ok(())
    }

    /// Brings the pieces of each rank to all others. `buffers` are those of some parameters, or of all, in their order.
    pub(crate) fn all_gather(&self, buffers: &mut [(usize, &mut D::Buffer)]) -> Result<(), TrainError> {
        if let Some(connection) = self.device.connection() {
            let parts = self.rank_parts(|parameter| place_of(buffers, parameter));
            let mut buffers: Vec<&mut D::Buffer> = buffers.iter_mut().map(|(_, buffer)| &mut **buffer).collect();
            return Ok(connection.broadcast(&mut buffers, &parts)?);
        }
        let mut mine = Vec::new();
        for piece in self.own() {
            if let Some(place) = place_of(buffers, piece.parameter) {
                piece.read(self.device, &*buffers[place].1)?.into_iter().for_each(|value| put(value, &mut mine));
            }
        }
        let all = self.ranks.all_gather(mine)?;
        for (rank, bytes) in all.into_iter().enumerate().filter(|(rank, _)| *rank != self.ranks.rank()) {
            let mut values = bytes.chunks_exact(size_of::<D::Element>()).map(get::<D::Element>);
            for piece in &self.shards.of_ranks()[rank] {
                if let Some(place) = place_of(buffers, piece.parameter) {
                    let values: Vec<D::Element> = values.by_ref().take(piece.range.len()).collect();
                    if values.len() < piece.range.len() {
                        let what = "has sent less than its shard".to_owned();
                        return Err(ParallelError::Other { rank, what }.into());
                    }
                    piece.write(self.device, &values, buffers[place].1)?;
                }
            }
        }
        Ok(())
    }

    /// The pieces of all ranks as devices exchange them, of the parameters that have a buffer.
    fn rank_parts(&self, buffer_of: impl Fn(usize) -> Option<usize>) -> Vec<RankPart> {
        let pieces = self.shards.of_ranks().iter().enumerate();
        let pieces = pieces.flat_map(|(rank, pieces)| pieces.iter().map(move |piece| (rank, piece)));
        let part = |(rank, piece): (usize, &Piece)| {
            Some(RankPart { buffer: buffer_of(piece.parameter)?, range: piece.range.clone(), rank })
        };
        pieces.filter_map(part).collect()
    }

    /// Where the shards lie when all pieces are laid one behind the other, and the length of all.
    fn parts(&self) -> (Vec<Range<usize>>, usize) {
        let mut end = 0;
        let part = |pieces: &Vec<Piece>| {
            let start = end;
            end += pieces.iter().map(|piece| piece.range.len()).sum::<usize>();
            start..end
        };
        let parts = self.shards.of_ranks().iter().map(part).collect();
        (parts, end)
    }

    fn sum(&self, flat: Vec<D::Element>, parts: &[Range<usize>]) -> Result<Vec<D::Element>, ParallelError> {
        if is_single::<D::Element>() {
            let mut single: Vec<f32> = flat.iter().map(|value| value.to_f64() as f32).collect();
            self.ranks.reduce_scatter_single(&mut single, parts)?;
            return Ok(single.into_iter().map(|value| D::Element::from_f64(value.into())).collect());
        }
        let mut wide: Vec<f64> = flat.iter().map(|value| value.to_f64()).collect();
        self.ranks.reduce_scatter(&mut wide, parts)?;
        Ok(wide.into_iter().map(D::Element::from_f64).collect())
    }
}

/// Where pieces lie that follow each other from a place on.
fn places_from(first: usize, pieces: &[Piece]) -> impl Iterator<Item = (&Piece, Range<usize>)> {
    let mut first = first;
    pieces.iter().map(move |piece| {
        let start = first;
        first += piece.range.len();
        (piece, start..first)
    })
}

/// Where the buffer of a parameter is.
fn place_of<B>(buffers: &[(usize, &mut B)], parameter: usize) -> Option<usize> {
    buffers.binary_search_by_key(&parameter, |(parameter, _)| *parameter).ok()
}

fn is_single<E: Element>() -> bool {
    size_of::<E>() <= size_of::<f32>()
}

/// A number as it goes to other ranks: in the precision of the device.
fn put<E: Element>(value: E, bytes: &mut Vec<u8>) {
    match is_single::<E>() {
        true => bytes.extend((value.to_f64() as f32).to_le_bytes()),
        false => bytes.extend(value.to_f64().to_le_bytes()),
    }
}

fn get<E: Element>(bytes: &[u8]) -> E {
    let value = match is_single::<E>() {
        true => bytes.try_into().map_or(f32::NAN, f32::from_le_bytes).into(),
        false => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
    };
    E::from_f64(value)
}
