//! What an autoencoder is, without its weights.

use super::Levels;
use crate::spec::{check_layers, check_size, refuse};
use crate::{LayerSpec, NetworkError, NormSpec};

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

/// Two transformers over the places of a sample: one from what each place reads to its code, one back.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderSpec {
    /// How places lie beside each other; each is one row of the network and has one code.
    pub places: Places,
    /// Numbers that are read at each place.
    pub inputs: usize,
    /// Numbers that are given back at each place.
    pub outputs: usize,
    /// `D`: columns of the residual stream.
    pub width: usize,
    /// The norm behind the layers of each half.
    pub norm: NormSpec,
    /// What codes there are.
    pub levels: Levels,
    /// The layers before the codes.
    pub encoder: Vec<LayerSpec>,
    /// The layers behind the codes.
    pub decoder: Vec<LayerSpec>,
}

impl AutoencoderSpec {
    /// Refuses a description that no autoencoder can have.
    ///
    /// # Errors
    /// With the parameter, its value and what is allowed.
    pub fn validate(&self) -> Result<(), NetworkError> {
        const MOST: usize = 1 << 12;
        match self.places {
            Places::Grid(sides) if sides.iter().any(|side| !(1..=MOST).contains(side)) => {
                return refuse("grid", format!("{sides:?}"), format!("two sides of 1 to {MOST}"));
            }
            Places::Line { window: 0 } => return refuse("window", 0, "1 or more"),
            Places::Grid(_) | Places::Line { .. } => {}
        }
        check_size("inputs", self.inputs)?;
        check_size("outputs", self.outputs)?;
        check_size("width", self.width)?;
        self.norm.validate()?;
        let mut layers = self.encoder.iter().chain(&self.decoder);
        if let Some(layer) = layers.clone().find(|layer| layer.attention.rope.axes != 1) {
            let allowed = "1: the sides of a grid have learned tables, and a line has one side";
            return refuse("position_axes", layer.attention.rope.axes, allowed);
        }
        if let Some(block) = layers.clone().find_map(|layer| layer.feed_forward.block_routing()) {
            let allowed = "nothing: places have no blocks that choose experts together";
            return refuse("router_block_length", block.length, allowed);
        }
        if layers.any(|layer| layer.scaled) {
            return refuse("scaled", true, "false: places have no current block, which layer factors tell apart");
        }
        check_layers(&self.encoder)?;
        check_layers(&self.decoder)
    }
}
