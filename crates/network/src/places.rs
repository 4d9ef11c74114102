//! The places of samples: how they lie beside each other, and what a transformer over them sees.

use crate::NetworkError;
use crate::spec::refuse;
use aquatint_compute::{Device, Visibility};

/// The most places of a line.
const MOST_PLACES: usize = 1 << 20;

/// How places lie beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Rows and columns of a grid, the same for all samples: each side has a learned table, and each place sees all.
    Grid([usize; 2]),
    /// A line as long as the sample: a place sees those less than `window` away, wherever it is, so that a line of any
    /// length is encoded and decoded alike, in time that grows with its length only.
    Line {
        /// The window of one layer.
        window: usize,
    },
}

/// The lists of a pass over places on the device.
pub(crate) struct PlaceIndices<D: Device> {
    /// The row and the column of each place of a grid; none for lines.
    pub(crate) sides: Vec<D::Indices>,
    /// The place in reading order.
    pub(crate) positions: D::Indices,
    /// The sample of each place.
    pub(crate) groups: D::Indices,
    pub(crate) visible: D::Visible,
}

impl Places {
    /// Refuses what no places can be.
    pub(crate) fn validate(self) -> Result<(), NetworkError> {
        const MOST: usize = 1 << 12;
        match self {
            Self::Grid(sides) if sides.iter().any(|side| !(1..=MOST).contains(side)) => {
                refuse("grid", format!("{sides:?}"), format!("two sides of 1 to {MOST}"))
            }
            Self::Line { window: 0 } => refuse("window", 0, "1 or more"),
            Self::Grid(_) | Self::Line { .. } => Ok(()),
        }
    }

    /// The places of samples with so many each, of which `given` numbers came, `columns` for each place.
    pub(crate) fn count(
        self,
        parameter: &'static str,
        given: usize,
        columns: usize,
        lengths: &[usize],
    ) -> Result<usize, NetworkError> {
        let fits = |length: &usize| match self {
            Self::Grid([rows, columns]) => *length == rows * columns,
            Self::Line { .. } => (1..=MOST_PLACES).contains(length),
        };
        if let Some(length) = lengths.iter().find(|length| !fits(length)) {
            let allowed = match self {
                Self::Grid([rows, columns]) => format!("{} places, those of the grid", rows * columns),
                Self::Line { .. } => format!("1 to {MOST_PLACES} places"),
            };
            return refuse("lengths", length, allowed);
        }
        let places = lengths.iter().sum::<usize>();
        if places == 0 || given != places * columns {
            let (expected, reason) = (places.max(1) * columns, "the places of all samples");
            return Err(NetworkError::InputLength { parameter, given, expected, reason });
        }
        Ok(places)
    }

    /// What a pass over samples of these lengths reads.
    pub(crate) fn indices<D: Device>(self, device: &D, lengths: &[usize]) -> Result<PlaceIndices<D>, NetworkError> {
        let list = |of: &dyn Fn(usize, usize) -> usize| {
            let all = lengths.iter().enumerate();
            let all = all.flat_map(|(sample, &length)| (0..length).map(move |place| of(sample, place) as u32));
            device.upload_indices(&all.collect::<Vec<u32>>())
        };
        let full = Visibility::full(lengths);
        let (sides, visible) = match self {
            Self::Grid([_, columns]) => {
                (vec![list(&|_, place| place / columns)?, list(&|_, place| place % columns)?], full)
            }
            Self::Line { window } => {
                let positions: Vec<u32> = lengths.iter().flat_map(|&length| 0..length as u32).collect();
                let visible = full.windowed(window, &positions);
                (Vec::new(), visible.expect("a place sees itself, and the places of a line ascend"))
            }
        };
        Ok(PlaceIndices {
            sides,
            positions: list(&|_, place| place)?,
            groups: list(&|sample, _| sample)?,
            visible: device.upload_visibility(&visible)?,
        })
    }
}
