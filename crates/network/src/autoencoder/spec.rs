//! What an autoencoder is, without its weights.

use super::Levels;
use crate::spec::{check_layers, check_size, refuse};
use crate::{LayerSpec, NetworkError, NormSpec};

/// Two transformers over a grid of rows: one from what each row reads to its code, one back.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderSpec {
    /// Rows and columns of the grid; each place is one row of the network and has one code.
    pub grid: [usize; 2],
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
    /// Places of the grid.
    pub fn places(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Refuses a description that no autoencoder can have.
    ///
    /// # Errors
    /// With the parameter, its value and what is allowed.
    pub fn validate(&self) -> Result<(), NetworkError> {
        const MOST: usize = 1 << 12;
        for side in self.grid {
            if !(1..=MOST).contains(&side) {
                return refuse("grid", format!("{:?}", self.grid), format!("two sides of 1 to {MOST}"));
            }
        }
        check_size("inputs", self.inputs)?;
        check_size("outputs", self.outputs)?;
        check_size("width", self.width)?;
        self.norm.validate()?;
        let mut layers = self.encoder.iter().chain(&self.decoder);
        if let Some(layer) = layers.clone().find(|layer| layer.attention.rope.axes != 1) {
            return refuse("position_axes", layer.attention.rope.axes, "1: the sides of a grid have learned tables");
        }
        if layers.any(|layer| layer.scaled) {
            return refuse("scaled", true, "false: a grid has no current block, which layer factors tell apart");
        }
        check_layers(&self.encoder)?;
        check_layers(&self.decoder)
    }
}
