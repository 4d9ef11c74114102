//! What an autoencoder is, without its weights.

use super::Levels;
use crate::spec::check_size;
use crate::tower::check_tower;
use crate::{LayerSpec, NetworkError, NormSpec, Places};

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
        self.places.validate()?;
        check_size("inputs", self.inputs)?;
        check_size("outputs", self.outputs)?;
        check_size("width", self.width)?;
        self.norm.validate()?;
        check_tower(&self.encoder)?;
        check_tower(&self.decoder)
    }
}
