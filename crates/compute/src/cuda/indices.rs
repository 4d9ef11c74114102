//! Lists of rows on a GPU, with what the host derives from them on first use.

use super::Cuda;
use super::arguments::In;
use super::memory::Array;
use crate::DeviceError;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A list of rows, tokens or positions on a GPU.
#[derive(Debug)]
pub struct GpuIndices {
    values: Vec<u32>,
    on_device: Array<u32>,
    grouped: OnceLock<Grouped>,
    last: OnceLock<Last>,
}

/// Equal ids side by side: the places of each in their order, where each one's places end, and the ids.
#[derive(Debug)]
pub(super) struct Grouped {
    pub(super) rows: Array<u32>,
    pub(super) ends: Array<u32>,
    pub(super) ids: Array<u32>,
}

/// Each id once, with the last of its places.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) ids: Array<u32>,
    pub(super) places: Array<u32>,
}

impl GpuIndices {
    pub(super) fn new(device: &Cuda, values: &[u32]) -> Result<Self, DeviceError> {
        let (grouped, last) = (OnceLock::new(), OnceLock::new());
        Ok(Self { values: values.to_vec(), on_device: device.store(values)?, grouped, last })
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn largest(&self) -> u32 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    pub(super) fn input(&self) -> In<u32> {
        self.on_device.input()
    }
}

impl Cuda {
    /// Equal ids gathered, so that no two threads add to one place.
    pub(super) fn grouped<'a>(&self, indices: &'a GpuIndices) -> &'a Grouped {
        indices.grouped.get_or_init(|| {
            let mut rows: Vec<u32> = (0..indices.len() as u32).collect();
            rows.sort_by_key(|&row| indices.values[row as usize]);
            let (mut ends, mut unique) = (Vec::new(), Vec::new());
            for (place, &row) in rows.iter().enumerate() {
                let id = indices.values[row as usize];
                if unique.last() != Some(&id) {
                    unique.push(id);
                    ends.push(0);
                }
                if let Some(end) = ends.last_mut() {
                    *end = place as u32 + 1;
                }
            }
            let [rows, ends, ids] = [rows, ends, unique].map(|values| self.must_store(&values));
            Grouped { rows, ends, ids }
        })
    }

    /// In the order of the rows the last of equal ids stays; threads have no order.
    pub(super) fn last<'a>(&self, indices: &'a GpuIndices) -> &'a Last {
        indices.last.get_or_init(|| {
            let last: BTreeMap<u32, u32> = indices.values.iter().copied().zip(0..).collect();
            let (ids, places): (Vec<u32>, Vec<u32>) = last.into_iter().unzip();
            Last { ids: self.must_store(&ids), places: self.must_store(&places) }
        })
    }
}
