//! The parameters of a network on a device, their gradients, and the stacks in which products read them.
//!
//! A parameter is one tensor as it is stored and optimised. Products run faster on fewer, taller matrices, so several
//! parameters of as many columns may be read as one [`Weight`], stacked row after row (queries, keys and values, say).
//! A stack is made when it is first read and forgotten when a parameter may have changed; its gradient is handed back
//! to the parts. Nobody outside sees stacks: names, optimisers and files know parameters only.
//!
//! When nothing is learned, products read a weight as the device prepared it, once. Where nothing ever will be, the
//! prepared form is all that there is of a weight: see [`Parameters::keep`]. A parameter that is not trainable has no
//! gradient, and a weight all of whose parts are such is multiplied in its prepared form in learning too, forward and
//! back to its input.

use crate::on_demand::{Lent, OnDemand, PrepareMatrix};
use crate::{
    BackwardWeight, Device, DeviceError, Element, HeadNorms, LinearShape, Part, PreparedValues, Quantised, ScaleAdd,
    WeightFormat,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Which weight of a [`Parameters`] an operation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightId(usize);

/// What is added to the products of a parameter `[N, K]`: `x (W + factor · up · down)ᵀ`, computed in its two halves
/// (LoRA: Hu et al., 2106.09685, eq. 3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// `[rank, K]`, `A` of the paper.
    pub down: WeightId,
    /// `[N, rank]`, `B` of the paper.
    pub up: WeightId,
    /// What their product is multiplied by: `α / rank` in the paper.
    pub factor: f64,
}

impl WeightId {
    /// Its place among all weights.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// One parameter, or several stacked by rows.
#[derive(Debug)]
struct Weight<D: Device> {
    parts: Vec<usize>,
    rows: usize,
    stacked: OnceLock<D::Buffer>,
    prepared: OnceLock<D::Prepared>,
    /// Whether the prepared form is all that there is.
    prepared_only: bool,
    /// Whether it is prepared in f32, whatever the device's precision.
    exact: bool,
}

/// Values of all parameters, in a fixed order.
#[derive(Debug)]
pub struct Parameters<D: Device> {
    device: D,
    values: Vec<D::Buffer>,
    /// Rows and columns of each.
    shapes: Vec<(usize, usize)>,
    trainable: Vec<bool>,
    weights: Vec<Weight<D>>,
    /// What each set of low-rank additions adds to a parameter.
    low_rank: BTreeMap<(usize, usize), LowRank>,
    /// Weights that are prepared when they are read.
    on_demand: Option<(BTreeSet<WeightId>, OnDemand<D::Prepared>)>,
}

impl<D: Device> Parameters<D> {
    /// No parameters yet.
    pub fn new(device: D) -> Self {
        Self {
            device,
            values: Vec::new(),
            shapes: Vec::new(),
            trainable: Vec::new(),
            weights: Vec::new(),
            low_rank: BTreeMap::new(),
            on_demand: None,
        }
    }

    /// Adds a parameter of `rows × columns` values and returns its index.
    pub fn add(&mut self, rows: usize, columns: usize, value: D::Buffer) -> usize {
        self.values.push(value);
        self.shapes.push((rows, columns));
        self.trainable.push(true);
        self.values.len() - 1
    }

    /// Says whether a parameter is learned; all are where nothing is said. Gradients are made for those that are when
    /// they are made.
    pub fn set_trainable(&mut self, index: usize, trainable: bool) {
        self.trainable[index] = trainable;
    }

    /// Whether any part of a weight is learned.
    pub fn trains(&self, id: WeightId) -> bool {
        self.weights[id.0].parts.iter().any(|&part| self.trainable[part])
    }

    /// The norms of query and key heads.
    pub(crate) fn head_norms(
        &self,
        ids: Option<(WeightId, WeightId)>,
    ) -> Result<Option<HeadNorms<'_, D::Buffer>>, DeviceError> {
        ids.map(|(query, key)| Ok(HeadNorms { query: self.get(query)?, key: self.get(key)? })).transpose()
    }

    /// Declares the weight that operations read: these parameters, which have equally many columns, stacked by rows.
    pub fn weight(&mut self, parts: &[usize]) -> WeightId {
        self.add_weight(parts, false)
    }

    /// The same of a weight that products read in f32 where they do not learn it, whatever the device's precision.
    pub fn exact_weight(&mut self, parts: &[usize]) -> WeightId {
        self.add_weight(parts, true)
    }

    fn add_weight(&mut self, parts: &[usize], exact: bool) -> WeightId {
        let rows = parts.iter().map(|&part| self.shapes[part].0).sum();
        let (stacked, prepared) = (OnceLock::new(), OnceLock::new());
        self.weights.push(Weight { parts: parts.to_vec(), rows, stacked, prepared, prepared_only: false, exact });
        WeightId(self.weights.len() - 1)
    }

    /// Whether a weight is one of [`Parameters::exact_weight`].
    pub fn is_exact(&self, id: WeightId) -> bool {
        self.weights[id.0].exact
    }

    /// Declares what a set of low-rank additions adds to a parameter.
    pub fn add_low_rank(&mut self, set: usize, parameter: usize, addition: LowRank) {
        self.low_rank.insert((set, parameter), addition);
    }

    /// What a set adds to the products of a weight: the first of the weight's rows that it adds to, and how.
    pub(crate) fn low_rank(&self, set: usize, id: WeightId) -> Vec<(usize, LowRank)> {
        let mut row = 0;
        let parts = self.weights[id.0].parts.iter().map(|&part| {
            let first = row;
            row += self.shapes[part].0;
            self.low_rank.get(&(set, part)).map(|addition| (first, *addition))
        });
        parts.flatten().collect()
    }

    /// Where the parameters live.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The values, in the order in which they were added.
    pub fn values(&self) -> &[D::Buffer] {
        &self.values
    }

    /// The values, to be changed; what was made of them is recomputed when it is next read.
    pub fn values_mut(&mut self) -> &mut [D::Buffer] {
        for weight in self.weights.iter_mut().filter(|weight| !weight.prepared_only) {
            weight.stacked.take();
            weight.prepared.take();
        }
        &mut self.values
    }

    /// The values of the parameters that are learnt, to be changed; what was made of them is made anew when it is next read,
    /// and what was made of others stays.
    pub fn trained_values_mut(&mut self) -> impl Iterator<Item = &mut D::Buffer> {
        let trainable = &self.trainable;
        for weight in &mut self.weights {
            if weight.parts.iter().any(|&part| trainable[part]) {
                weight.stacked.take();
                weight.prepared.take();
            }
        }
        self.values.iter_mut().zip(trainable).filter_map(|(value, trainable)| trainable.then_some(value))
    }

    /// Sets the values of a parameter, and forgets what was made of those before; a weight that is kept in its prepared
    /// form only stays.
    pub fn set(&mut self, index: usize, value: D::Buffer) {
        self.values[index] = value;
        for weight in self.weights.iter_mut().filter(|weight| !weight.prepared_only && weight.parts.contains(&index)) {
            weight.stacked.take();
            weight.prepared.take();
        }
    }

    /// Rows and columns of a weight.
    pub fn shape(&self, id: WeightId) -> (usize, usize) {
        let weight = &self.weights[id.0];
        (weight.rows, weight.parts.first().map_or(0, |&part| self.shapes[part].1))
    }

    /// The one parameter of a weight, if it is learned.
    fn alone(&self, id: WeightId) -> Option<usize> {
        match self.weights[id.0].parts[..] {
            [part] if self.trainable[part] => Some(part),
            _ => None,
        }
    }

    /// The parameters that a weight stacks.
    pub fn parts(&self, id: WeightId) -> &[usize] {
        &self.weights[id.0].parts
    }

    /// Prepares a weight from real numbers that need not be kept.
    ///
    /// # Errors
    /// When the format cannot hold the weight, or the device lacks the memory.
    pub fn keep(&mut self, id: WeightId, values: &D::Buffer, format: WeightFormat) -> Result<(), DeviceError> {
        let prepared = self.device.prepare(self.shape(id), values, format)?;
        self.keep_prepared(id, prepared);
        Ok(())
    }

    /// Keeps a weight in the form that is given only.
    pub fn keep_prepared(&mut self, id: WeightId, prepared: D::Prepared) {
        let weight = &mut self.weights[id.0];
        weight.prepared = OnceLock::from(prepared);
        weight.stacked.take();
        weight.prepared_only = true;
    }

    /// Prepares a weight that is not learned from the values of its parts, and lets go of them.
    ///
    /// # Errors
    /// When the format cannot hold the weight, or the device lacks the memory.
    pub fn keep_only(&mut self, id: WeightId, format: WeightFormat) -> Result<(), DeviceError> {
        let prepared = self.device.prepare(self.shape(id), self.get(id)?, format)?;
        self.keep_prepared(id, prepared);
        for part in self.weights[id.0].parts.clone() {
            let nothing = self.device.zeros(0)?;
            self.set(part, nothing);
        }
        Ok(())
    }

    /// Bytes of all values: those of parameters, of weights that are kept in their prepared form only, and of those on
    /// demand that are prepared now. What is made of values for products is not counted.
    pub fn bytes(&self) -> usize {
        let values: usize =
            self.values.iter().map(|value| self.device.len(value) * self.device.dtype(value).bytes()).sum();
        let only = self.weights.iter().filter(|weight| weight.prepared_only).filter_map(|weight| weight.prepared.get());
        let on_demand = self.on_demand.as_ref().map_or(0, |(_, on_demand)| on_demand.bytes());
        values + on_demand + only.map(|prepared| self.device.prepared_bytes(prepared)).sum::<usize>()
    }

    /// Has weights of experts prepared when rows are routed to them, and keeps as many of them as `budget` bytes hold.
    pub fn prepare_on_demand(
        &mut self,
        weights: impl IntoIterator<Item = WeightId>,
        budget: usize,
        prepare: Box<PrepareMatrix<D::Prepared>>,
    ) {
        self.on_demand = Some((weights.into_iter().collect(), OnDemand::new(budget, prepare)));
    }

    /// Whether weights are prepared when they are read, which a backward pass cannot.
    pub fn has_on_demand(&self) -> bool {
        self.on_demand.is_some()
    }

    /// The matrices of the first groups, of at least one and of as many as the budget of those on demand allows. Each group
    /// has `N` matrices.
    ///
    /// # Errors
    /// When the device lacks the memory, or a matrix cannot be read.
    pub(crate) fn lend<const N: usize>(
        &self,
        groups: &[[WeightId; N]],
    ) -> Result<Vec<[Lent<'_, D::Prepared>; N]>, DeviceError> {
        let (mut lent, mut passing) = (Vec::with_capacity(groups.len()), 0);
        for ids in groups {
            let mut matrices = Vec::with_capacity(N);
            for id in ids {
                matrices.push(match &self.on_demand {
                    Some((weights, on_demand)) if weights.contains(id) => {
                        let (matrix, bytes) = on_demand.lend(*id, |matrix| self.device.prepared_bytes(matrix))?;
                        passing += bytes;
                        Lent::Shared(matrix)
                    }
                    _ => Lent::Resident(self.prepared(*id)?),
                });
            }
            lent.extend(<[Lent<'_, D::Prepared>; N]>::try_from(matrices));
            if self.on_demand.as_ref().is_some_and(|(_, on_demand)| passing > on_demand.passing()) {
                break;
            }
        }
        Ok(lent)
    }

    /// Whether the prepared form is all that there is of a weight.
    pub fn is_prepared_only(&self, id: WeightId) -> bool {
        self.weights[id.0].prepared_only
    }

    /// What there is of a weight that is kept in its prepared form only, row-major; what its parts hold, stacked.
    ///
    /// # Errors
    /// When the device fails.
    pub fn prepared_values(&self, id: WeightId) -> Result<PreparedValues<D::Element>, DeviceError> {
        self.device.read_prepared(self.prepared(id)?)
    }

    /// Brings the parts of a weight that is kept in its prepared form only back as the numbers that it stands for.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn restore(&mut self, id: WeightId) -> Result<(), DeviceError> {
        let values = match self.prepared_values(id)? {
            PreparedValues::Real(values) => values,
            PreparedValues::Quantised(matrix) => {
                matrix.dequantise().into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect()
            }
        };
        let mut rest = values.as_slice();
        for part in self.weights[id.0].parts.clone() {
            let (own, after) = rest.split_at(self.shapes[part].0 * self.shapes[part].1);
            let own = self.device.upload(own)?;
            self.set(part, own);
            rest = after;
        }
        let weight = &mut self.weights[id.0];
        weight.prepared_only = false;
        weight.prepared.take();
        Ok(())
    }

    /// Prepares a weight from integers that need not be kept.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn keep_quantised(&mut self, id: WeightId, matrix: Quantised) -> Result<(), DeviceError> {
        let prepared = self.device.prepare_quantised(matrix)?;
        self.keep_prepared(id, prepared);
        Ok(())
    }

    /// A weight as products read it that do not learn it.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn prepared(&self, id: WeightId) -> Result<&D::Prepared, DeviceError> {
        let weight = &self.weights[id.0];
        if let Some(prepared) = weight.prepared.get() {
            return Ok(prepared);
        }
        let format = if weight.exact { WeightFormat::F32 } else { self.device.format() };
        let prepared = self.device.prepare(self.shape(id), self.get(id)?, format)?;
        // Another thread may have been faster: both made the same.
        Ok(weight.prepared.get_or_init(|| prepared))
    }

    /// The values of a weight.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn get(&self, id: WeightId) -> Result<&D::Buffer, DeviceError> {
        let weight = &self.weights[id.0];
        if let [part] = weight.parts[..] {
            return Ok(&self.values[part]);
        }
        if let Some(stacked) = weight.stacked.get() {
            return Ok(stacked);
        }
        let (rows, columns) = self.shape(id);
        let mut stacked = self.device.uninitialised(rows * columns)?;
        let parts: Vec<(f64, &D::Buffer)> = weight.parts.iter().map(|&part| (1.0, &self.values[part])).collect();
        self.device.stack(&parts, false, &mut stacked)?;
        // Another thread may have been faster: both made the same.
        Ok(weight.stacked.get_or_init(|| stacked))
    }
}

/// Gradients of all parameters, each of its parameter's length; of length 0 where the parameter is not trainable.
#[derive(Debug)]
pub struct Gradients<D: Device> {
    device: D,
    buffers: Vec<D::Buffer>,
}

impl<D: Device> Gradients<D> {
    /// Gradients of zero.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn zeros(parameters: &Parameters<D>) -> Result<Self, DeviceError> {
        let device = parameters.device.clone();
        let lengths = parameters.shapes.iter().zip(&parameters.trainable);
        let buffers = lengths.map(|(&(rows, columns), &learnt)| device.zeros(if learnt { rows * columns } else { 0 }));
        let buffers = buffers.collect::<Result<_, _>>()?;
        Ok(Self { device, buffers })
    }

    /// The gradients, in the order of the parameters.
    pub fn buffers(&self) -> &[D::Buffer] {
        &self.buffers
    }

    /// The gradients, to be changed.
    pub fn buffers_mut(&mut self) -> &mut [D::Buffer] {
        &mut self.buffers
    }

    /// Sets all gradients to zero.
    pub fn clear(&mut self) {
        self.device.clear_all(&mut self.buffers);
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm(&self) -> f64 {
        self.device.sums_of_squares(&self.buffers).into_iter().sum::<f64>().sqrt()
    }

    /// Hands `add` a buffer of the weight's whole shape to accumulate into, and each part its share of the result;
    /// nothing happens where no part is learned.
    pub(crate) fn accumulate(
        &mut self,
        parameters: &Parameters<D>,
        id: WeightId,
        add: impl FnOnce(&D, &mut D::Buffer),
    ) -> Result<(), DeviceError> {
        if !parameters.trains(id) {
            return Ok(());
        }
        let mut whole = self.lend(parameters, id)?;
        add(&self.device, &mut whole);
        self.take_back(parameters, id, whole)
    }

    /// The same for two different weights at once, of which one may be learned and the other not.
    pub(crate) fn accumulate_pair(
        &mut self,
        parameters: &Parameters<D>,
        (a, b): (WeightId, WeightId),
        add: impl FnOnce(&D, &mut D::Buffer, &mut D::Buffer),
    ) -> Result<(), DeviceError> {
        let (mut first, mut second) = (self.lend(parameters, a)?, self.lend(parameters, b)?);
        add(&self.device, &mut first, &mut second);
        self.take_back(parameters, a, first)?;
        self.take_back(parameters, b, second)
    }

    /// Gradient of a product with a weight, and of its bias.
    pub(crate) fn accumulate_linear(
        &mut self,
        parameters: &Parameters<D>,
        (id, bias): (WeightId, Option<WeightId>),
        operands: BackwardWeight<'_, D::Buffer>,
    ) -> Result<(), DeviceError> {
        match (parameters.trains(id), bias.filter(|bias| parameters.trains(*bias))) {
            (_, None) => self.accumulate(parameters, id, |device, d_weight| {
                device.linear_backward_weight(operands, d_weight, None);
            }),
            (true, Some(bias)) => self.accumulate_pair(parameters, (id, bias), |device, d_weight, d_bias| {
                device.linear_backward_weight(operands, d_weight, Some(d_bias));
            }),
            (false, Some(bias)) => {
                // A product without inputs: the bias alone.
                let shape = LinearShape { inputs: 0, ..operands.shape };
                let mut nothing = self.device.zeros(0)?;
                self.accumulate(parameters, bias, |device, d_bias| {
                    let operands = BackwardWeight { shape, ..operands };
                    device.linear_backward_weight(operands, &mut nothing, Some(d_bias));
                })
            }
        }
    }

    /// The gradient of a weight, to be added to and brought back: that of its one parameter, or zeros for several and
    /// for one that is not learned.
    pub(crate) fn lend(&mut self, parameters: &Parameters<D>, id: WeightId) -> Result<D::Buffer, DeviceError> {
        if let Some(part) = parameters.alone(id) {
            return Ok(std::mem::replace(&mut self.buffers[part], self.device.zeros(0)?));
        }
        let (rows, columns) = parameters.shape(id);
        self.device.zeros(rows * columns)
    }

    /// Takes back what was lent; each of several parts gets its share.
    pub(crate) fn take_back(
        &mut self,
        parameters: &Parameters<D>,
        id: WeightId,
        whole: D::Buffer,
    ) -> Result<(), DeviceError> {
        if let Some(part) = parameters.alone(id) {
            self.buffers[part] = whole;
            return Ok(());
        }
        let (_, columns) = parameters.shape(id);
        let (mut places, mut first) = (BTreeMap::<usize, Vec<usize>>::new(), 0);
        for &part in parameters.parts(id) {
            if parameters.trainable[part] {
                places.entry(part).or_default().push(first);
            }
            first += parameters.shapes[part].0 * columns;
        }
        // A parameter that is several parts, as keys that are values too, receives one share after the other.
        while !places.is_empty() {
            let terms = self.buffers.iter_mut().enumerate().filter_map(|(part, y)| {
                let first = places.get_mut(&part).map(|firsts| firsts.remove(0))?;
                let len = parameters.shapes[part].0 * columns;
                Some(ScaleAdd { a: 1.0, x: Part { buffer: &whole, first, len }, b: 1.0, y })
            });
            self.device.scale_add_all(&mut terms.collect::<Vec<_>>())?;
            places.retain(|_, firsts| !firsts.is_empty());
        }
        Ok(())
    }
}
