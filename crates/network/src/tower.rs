//! A tower: the places of samples through a transformer, to a row of numbers for each.
//!
//! `x = read[place] + row_table[row] + column_table[column]`, the layers, a norm, `W_out x + b`. Positions of a grid are
//! learned, a table for each side; besides, the attention of the layers turns by the place in reading order. Lines have
//! the latter only. What is read at a place are numbers, `W_in numbers + b`, or a token, `table[token]`.

use crate::layers::{Affine, Declaration, LayerPass, LayerWeights, Stack};
use crate::places::{PlaceIndices, Places};
use crate::spec::{check_layers, refuse};
use crate::tensor::Init;
use crate::{LayerSpec, NetworkError, NormSpec, Role};
use aquatint_compute::{AttentionShape, Device, DeviceError, Element, Tape, Value, WeightId};

/// The weights of a tower.
#[derive(Debug)]
pub(crate) struct TowerWeights {
    read: ReadWeights,
    /// A vector for each row and each column of a grid; none for lines.
    sides: Vec<WeightId>,
    layers: Vec<LayerWeights>,
    norm: WeightId,
    output: Affine,
}

#[derive(Debug)]
enum ReadWeights {
    Numbers(Affine),
    Tokens(WeightId),
}

/// What a tower is.
pub(crate) struct Tower<'a> {
    /// What its tensors' names begin with, and those of its layers.
    pub(crate) names: [&'static str; 2],
    pub(crate) places: Places,
    pub(crate) reads: Reads,
    pub(crate) width: usize,
    pub(crate) outputs: usize,
    pub(crate) norm: NormSpec,
    pub(crate) layers: &'a [LayerSpec],
}

/// What is read at each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// So many numbers.
    Numbers(usize),
    /// One of so many tokens.
    Tokens(usize),
}

/// Refuses layers that no tower can have.
pub(crate) fn check_tower(layers: &[LayerSpec]) -> Result<(), NetworkError> {
    if let Some(layer) = layers.iter().find(|layer| layer.attention.rope.axes != 1) {
        let allowed = "1: the sides of a grid have learned tables, and a line has one side";
        return refuse("position_axes", layer.attention.rope.axes, allowed);
    }
    if let Some(block) = layers.iter().find_map(|layer| layer.feed_forward.block_routing()) {
        let allowed = "nothing: places have no blocks that choose experts together";
        return refuse("router_block_length", block.length, allowed);
    }
    if layers.iter().any(|layer| layer.scaled) {
        return refuse("scaled", true, "false: places have no current block, which layer factors tell apart");
    }
    check_layers(layers)
}

impl Tower<'_> {
    pub(crate) fn declare<D: Device>(&self, declaration: &mut Declaration<'_, D>) -> Result<TowerWeights, DeviceError> {
        let &Self { names: [name, layers], places, reads, width, outputs, norm, .. } = self;
        let unit = |columns: usize| Init::Normal(1.0 / (columns as f64).sqrt());
        let table = |declaration: &mut Declaration<'_, D>, of: &str, length: usize| -> Result<WeightId, DeviceError> {
            let name = format!("{name}.{of}.weight");
            let table = declaration.tensor(&name, &[length, width], Role::Embedding, Init::MATRIX)?;
            Ok(declaration.weight(&[table]))
        };
        let read = match reads {
            Reads::Numbers(count) => {
                let input = declaration.affine(&format!("{name}.input"), [width, count], unit(count))?;
                ReadWeights::Numbers(input)
            }
            Reads::Tokens(count) => ReadWeights::Tokens(table(declaration, "tokens", count)?),
        };
        let sides = match places {
            Places::Grid([rows, columns]) => {
                vec![table(declaration, "rows", rows)?, table(declaration, "columns", columns)?]
            }
            Places::Line { .. } => Vec::new(),
        };
        let stack = Stack { width, layers: self.layers.len(), condition: None };
        let declare = |(index, layer): (usize, &LayerSpec)| {
            declaration.within((layers, index), |declaration| layer.declare(declaration, stack))
        };
        let layers = self.layers.iter().enumerate().map(declare).collect::<Result<_, _>>()?;
        let norm = norm.declare(declaration, &format!("{name}.norm"), width, 1.0)?;
        let output = declaration.affine(&format!("{name}.output"), [outputs, width], unit(width))?;
        Ok(TowerWeights { read, sides, layers, norm, output })
    }

    /// What is read at each place, `[T, numbers]` or `T` tokens, to `[T, outputs]`.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &'p TowerWeights,
        indices: &'p PlaceIndices<D>,
        read: &Read<'p, D>,
    ) -> Result<Value<D>, DeviceError>
    where
        Self: 'p,
    {
        let mut x = match (&weights.read, read) {
            (ReadWeights::Numbers((weight, bias)), Read::Numbers(rows)) => tape.linear(rows, *weight, Some(*bias))?,
            (ReadWeights::Tokens(table), Read::Tokens(tokens)) => tape.gather(*table, tokens)?,
            _ => unreachable!("a tower is handed what it reads"),
        };
        for (&table, ids) in weights.sides.iter().zip(&indices.sides) {
            let side = tape.gather(table, ids)?;
            x = tape.add(x, &side)?;
        }
        let (places, groups) = (&indices.positions, &indices.groups);
        let pass = LayerPass { places, groups, blocks: None, currents: None, requested: None };
        let visible = &indices.visible;
        for (&layer, weights) in self.layers.iter().zip(&weights.layers) {
            x = tape.segment(vec![x], move |tape, inputs| {
                let mut attend = |tape: &mut Tape<'p, D>, shape: AttentionShape, packed: &Value<D>| {
                    tape.attention(shape, visible, packed)
                };
                layer.forward(tape, weights, pass, inputs, &mut attend)
            })?;
        }
        let x = self.norm.forward(tape, &x, weights.norm)?;
        tape.linear(&x, weights.output.0, Some(weights.output.1))
    }
}

/// What a pass reads at its places.
pub(crate) enum Read<'p, D: Device> {
    Numbers(Value<D>),
    Tokens(&'p D::Indices),
}

impl<D: Device> Read<'_, D> {
    /// Numbers, row-major.
    pub(crate) fn numbers(
        tape: &mut Tape<'_, D>,
        rows: usize,
        values: impl Iterator<Item = f64>,
    ) -> Result<Self, DeviceError> {
        Ok(Self::Numbers(tape.constant(rows, &values.map(D::Element::from_f64).collect::<Vec<_>>())?))
    }
}
