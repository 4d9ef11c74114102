//! A device that hands every operation to another one and notes how long it took.

use aquatint_compute::{
    Activation, AdamW, AdamWState, AdamWUpdate, AddColumns, Attention, AttentionBackward, AttentionOperands,
    AttentionRows, BackwardInput, BackwardWeight, Combine, DType, Device, DeviceError, DrawnRow, Dropout, Elementwise,
    Experts, Factor, GluOperands, GroupBackwardWeight, GroupedOperands, HeadNormGradients, Later, LayerNorm,
    LayerNormBackward, Linear, LinearOperands, LinearShape, LogitRows, Logits, Loss, LossGradients, LossRows, Memory,
    Modulation, NewtonSchulz, NewtonSchulzScratch, Norm, Optimiser, Part, PreparedBackwardInput, PreparedOperands,
    PreparedValues, Quantised, ReadRow, RmsNorm, RmsNormBackward, Rope, RouteBackward, Router, RouterLogits, RowCost,
    RowDraw, RowLoss, RowScale, RowSummary, ScaleAdd, ScaledPoints, ShiftScale, Targets, TokenVectors, Visibility,
    WeightFormat, WriteRows,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An operation, and inputs and outputs where it is a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) product: Option<(usize, usize)>,
}

/// What an operation took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

/// The notes of a device; a copy reads the same notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<BTreeMap<Operation, Spent>>>);

impl Clock {
    /// Forgets everything noted so far.
    pub(crate) fn clear(&self) {
        self.notes().clear();
    }

    /// What each operation took, the dearest first.
    pub(crate) fn spent(&self) -> Vec<(Operation, Spent)> {
        let mut all: Vec<(Operation, Spent)> =
            self.notes().iter().map(|(operation, spent)| (*operation, *spent)).collect();
        all.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.time));
        all
    }

    fn note(&self, operation: Operation, time: Duration) {
        let mut notes = self.notes();
        let spent = notes.entry(operation).or_default();
        spent.calls += 1;
        spent.time += time;
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<Operation, Spent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device with a clock.
#[derive(Debug, Clone)]
pub(crate) struct Timed<D> {
    device: D,
    clock: Clock,
}

impl<D> Timed<D> {
    pub(crate) fn new(device: D) -> Self {
        Self { device, clock: Clock::default() }
    }

    /// The notes.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn time<R>(&self, name: &'static str, product: Option<(usize, usize)>, work: impl FnOnce(&D) -> R) -> R {
        let begun = Instant::now();
        let result = work(&self.device);
        self.clock.note(Operation { name, product }, begun.elapsed());
        result
    }
}

/// Writes each operation as a call of the same one with a note of its time, under its own name, and of inputs and outputs
/// where it is a product: what stands behind `of` says them, given the device.
macro_rules! timed {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $(, of $product:expr)?;)*) => {$(
        fn $name(&self $(, $argument: $type)*) $(-> $result)? {
            let product = timed!(product self.device $(, $product)?);
            self.time(stringify!($name), product, |device| device.$name($($argument),*))
        }
    )*};
    (product $device:expr) => { None };
    (product $device:expr, $product:expr) => { Some($product(&$device)) };
}

/// Inputs and outputs of a product.
fn of_shape<D>(shape: LinearShape) -> impl FnOnce(&D) -> (usize, usize) {
    move |_| (shape.inputs, shape.outputs)
}

/// Inputs and outputs of a product with a prepared matrix.
fn of_matrix<D: Device>(weight: &D::Prepared) -> impl FnOnce(&D) -> (usize, usize) {
    |device| {
        let (outputs, inputs) = device.prepared_shape(weight);
        (inputs, outputs)
    }
}

impl<D: Device> Memory for Timed<D> {
    type Element = D::Element;
    type Buffer = D::Buffer;
    type Indices = D::Indices;
    type Visible = D::Visible;

    fn describe(&self) -> String {
        self.device.describe()
    }
    fn is_host(&self) -> bool {
        self.device.is_host()
    }
    fn len(&self, buffer: &D::Buffer) -> usize {
        self.device.len(buffer)
    }
    fn dtype(&self, buffer: &D::Buffer) -> DType {
        self.device.dtype(buffer)
    }
    fn count(&self, indices: &D::Indices) -> usize {
        self.device.count(indices)
    }
    timed! {
        fn zeros(len: usize) -> Result<D::Buffer, DeviceError>;
        fn uninitialised(len: usize) -> Result<D::Buffer, DeviceError>;
        fn uninitialised_as(dtype: DType, len: usize) -> Result<D::Buffer, DeviceError>;
        fn upload(values: &[D::Element]) -> Result<D::Buffer, DeviceError>;
        fn write(buffer: &mut D::Buffer, values: &[D::Element]);
        fn download(buffer: &D::Buffer) -> Vec<D::Element>;
        fn clear(buffer: &mut D::Buffer);
        fn clear_all(buffers: &mut [D::Buffer]);
        fn convert(from: &D::Buffer, to: &mut D::Buffer);
        fn copy(from: Part<'_, D::Buffer>, to: &mut D::Buffer, first: usize);
        fn upload_indices(values: &[u32]) -> Result<D::Indices, DeviceError>;
        fn upload_visibility(visibility: &Visibility) -> Result<D::Visible, DeviceError>;
    }
}

impl<D: Device> Linear for Timed<D> {
    type Prepared = D::Prepared;

    fn format(&self) -> WeightFormat {
        self.device.format()
    }
    fn prepared_shape(&self, weight: &D::Prepared) -> (usize, usize) {
        self.device.prepared_shape(weight)
    }
    fn prepared_bytes(&self, weight: &D::Prepared) -> usize {
        self.device.prepared_bytes(weight)
    }
    timed! {
        fn linear(operands: LinearOperands<'_, D::Buffer>, out: &mut D::Buffer), of of_shape(operands.shape);
        fn linear_onto(operands: LinearOperands<'_, D::Buffer>, residual: &D::Buffer, out: &mut D::Buffer),
            of of_shape(operands.shape);
        fn linear_backward_input(operands: BackwardInput<'_, D::Buffer>, d_x: &mut D::Buffer),
            of of_shape(operands.shape);
        fn linear_backward_weight(
            operands: BackwardWeight<'_, D::Buffer>, d_weight: &mut D::Buffer, d_bias: Option<&mut D::Buffer>,
        ), of of_shape(operands.shape);
        fn prepare(
            shape: (usize, usize), weight: &D::Buffer, format: WeightFormat,
        ) -> Result<D::Prepared, DeviceError>;
        fn prepare_quantised(matrix: Quantised) -> Result<D::Prepared, DeviceError>;
        fn read_prepared(weight: &D::Prepared) -> Result<PreparedValues<D::Element>, DeviceError>;
        fn linear_prepared(operands: PreparedOperands<'_, D::Buffer, D::Prepared>, out: &mut D::Buffer),
            of of_matrix::<D>(operands.weight);
        fn linear_prepared_backward_input(
            operands: PreparedBackwardInput<'_, D::Buffer, D::Prepared>, d_x: &mut D::Buffer,
        ), of of_matrix::<D>(operands.weight);
        fn linear_glu(operands: GluOperands<'_, D::Buffer, D::Prepared>, out: &mut D::Buffer),
            of of_matrix::<D>(operands.gate);
    }
}

impl<D: Device> Experts for Timed<D> {
    timed! {
        fn route(
            router: &Router, operands: RouterLogits<'_, D::Buffer, D::Indices>, weights: &mut D::Buffer,
        ) -> Result<Vec<u32>, DeviceError>;
        fn route_backward(
            router: &Router, operands: RouteBackward<'_, D::Buffer, D::Indices>, d_logits: &mut D::Buffer,
        );
        fn combine(operands: Combine<'_, D::Buffer, D::Indices>, out: &mut D::Buffer);
        fn combine_backward(
            operands: Combine<'_, D::Buffer, D::Indices>, d_out: &D::Buffer, d_weights: &mut D::Buffer,
            d_sorted: &mut D::Buffer,
        );
        fn grouped_linear(
            operands: GroupedOperands<'_, D::Buffer, Factor<'_, D::Buffer, D::Prepared>>, out: &mut D::Buffer,
        ), of of_shape(operands.shape);
        fn grouped_glu(
            activation: Activation, operands: GroupedOperands<'_, D::Buffer, (&D::Prepared, &D::Prepared)>, out: &mut D::Buffer,
        ), of of_shape(operands.shape);
        fn grouped_backward_input(
            operands: GroupedOperands<'_, D::Buffer, Factor<'_, D::Buffer, D::Prepared>>, d_x: &mut D::Buffer,
        ), of of_shape(operands.shape);
        fn grouped_backward_weight(operands: GroupBackwardWeight<'_, D::Buffer>, d_weight: &mut D::Buffer),
            of of_shape(operands.shape);
    }
}

impl<D: Device> Norm for Timed<D> {
    timed! {
        fn rms_norm(operands: RmsNorm<'_, D::Buffer>, out: &mut D::Buffer, inverse_rms: &mut D::Buffer);
        fn rms_norm_backward(
            operands: RmsNormBackward<'_, D::Buffer>, d_x: &mut D::Buffer, d_weight: Option<&mut D::Buffer>,
        );
        fn layer_norm(operands: LayerNorm<'_, D::Buffer>, out: &mut D::Buffer, moments: &mut D::Buffer);
        fn layer_norm_backward(
            operands: LayerNormBackward<'_, D::Buffer>, d_x: &mut D::Buffer, d_weight: Option<&mut D::Buffer>,
        );
        fn rope(operands: Rope<'_, D::Buffer, D::Indices>, out: &mut D::Buffer);
        fn rope_backward(
            operands: Rope<'_, D::Buffer, D::Indices>, d_out: &D::Buffer, d_packed: &mut D::Buffer,
            d_norms: Option<HeadNormGradients<'_, D::Buffer>>,
        );
    }
}

impl<D: Device> Attention for Timed<D> {
    timed! {
        fn attention(
            operands: AttentionOperands<'_, D::Buffer, D::Visible>, out: &mut D::Buffer, log_sum_exp: &mut D::Buffer,
        );
        fn attention_rows(operands: AttentionRows<'_, D::Buffer, D::Indices, D::Visible>, out: &mut D::Buffer);
        fn attention_backward(operands: AttentionBackward<'_, D::Buffer, D::Visible>, d_packed: &mut D::Buffer);
    }
}

impl<D: Device> Elementwise for Timed<D> {
    timed! {
        fn gather(columns: usize, table: &D::Buffer, ids: &D::Indices, out: &mut D::Buffer);
        fn write_rows(operands: WriteRows<'_, D::Buffer, D::Indices>, table: &mut D::Buffer);
        fn scaled_points(operands: ScaledPoints<'_, D::Buffer, D::Indices>, out: &mut D::Buffer);
        fn scatter_add(columns: usize, d_out: &D::Buffer, ids: &D::Indices, d_table: &mut D::Buffer);
        fn glu(activation: Activation, width: usize, gate_up: &D::Buffer, out: &mut D::Buffer);
        fn glu_backward(
            activation: Activation, width: usize, gate_up: &D::Buffer, d_out: &D::Buffer, d_gate_up: &mut D::Buffer,
        );
        fn scale_rows(operands: RowScale<'_, D::Buffer, D::Indices>, out: &mut D::Buffer);
        fn scale_rows_backward(
            operands: RowScale<'_, D::Buffer, D::Indices>, d_out: &D::Buffer, d_x: &mut D::Buffer,
            d_factors: &mut D::Buffer,
        );
        fn silu(x: &D::Buffer, out: &mut D::Buffer);
        fn silu_backward(x: &D::Buffer, d_out: &D::Buffer, d_x: &mut D::Buffer);
        fn gelu(x: &D::Buffer, out: &mut D::Buffer);
        fn gelu_backward(x: &D::Buffer, d_out: &D::Buffer, d_x: &mut D::Buffer);
        fn round_to_levels(levels: &D::Indices, x: &D::Buffer, out: &mut D::Buffer);
        fn round_to_levels_backward(x: &D::Buffer, d_out: &D::Buffer, d_x: &mut D::Buffer);
        fn modulate(operands: Modulation<'_, D::Buffer, D::Indices>, at: ShiftScale, out: &mut D::Buffer);
        fn modulate_backward(
            operands: Modulation<'_, D::Buffer, D::Indices>, at: ShiftScale, d_out: &D::Buffer, d_x: &mut D::Buffer,
            d_modulation: &mut D::Buffer,
        );
        fn gated_add(operands: Modulation<'_, D::Buffer, D::Indices>, gate: usize, residual: &mut D::Buffer);
        fn gated_add_backward(
            operands: Modulation<'_, D::Buffer, D::Indices>, gate: usize, d_out: &D::Buffer, d_x: &mut D::Buffer,
            d_modulation: &mut D::Buffer,
        );
        fn scale_add(a: f64, x: &D::Buffer, b: f64, y: &mut D::Buffer);
        fn scale_add_all(terms: &mut [ScaleAdd<'_, D::Buffer>]) -> Result<(), DeviceError>;
        fn stack(parts: &[(f64, &D::Buffer)], accumulate: bool, to: &mut D::Buffer) -> Result<(), DeviceError>;
        fn dropout(dropout: Dropout, x: &D::Buffer, out: &mut D::Buffer);
        fn add_columns(operands: AddColumns<'_, D::Buffer>, out: &mut D::Buffer);
    }
}

impl<D: Device> Logits for Timed<D> {
    fn padded_rows(&self, rows: usize) -> usize {
        self.device.padded_rows(rows)
    }
    timed! {
        fn linear_rows(
            logits: LogitRows<'_, D::Buffer, D::Prepared>, read: &ReadRow<'_>,
        ) -> Result<(), DeviceError>, of of_matrix::<D>(logits.head);
        fn summarise_rows(
            logits: LogitRows<'_, D::Buffer, D::Prepared>, best: usize,
        ) -> Result<Vec<RowSummary>, DeviceError>, of of_matrix::<D>(logits.head);
        fn nll_rows(
            logits: LogitRows<'_, D::Buffer, D::Prepared>, targets: &[u32],
        ) -> Result<Vec<f64>, DeviceError>, of of_matrix::<D>(logits.head);
        fn draw_rows(
            logits: LogitRows<'_, D::Buffer, D::Prepared>, draws: &[RowDraw<'_>],
        ) -> Result<Vec<DrawnRow>, DeviceError>, of of_matrix::<D>(logits.head);
        fn draw_rows_expecting(
            logits: LogitRows<'_, D::Buffer, D::Prepared>, draws: &[RowDraw<'_>], vectors: TokenVectors<'_, D::Buffer>,
        ) -> Result<Vec<(DrawnRow, Vec<f32>)>, DeviceError>, of of_matrix::<D>(logits.head);
    }
}

impl<D: Device> Loss for Timed<D> {
    timed! {
        fn linear_cross_entropy(
            logits: LossRows<'_, D::Buffer, D::Prepared>, targets: Targets<'_>,
            gradients: Option<LossGradients<'_, D::Buffer>>,
        ) -> Result<Later<Vec<f64>>, DeviceError>, of of_shape(logits.shape);
        fn linear_cost_rows(
            logits: LossRows<'_, D::Buffer, D::Prepared>, costs: &[RowCost],
            vectors: Option<TokenVectors<'_, D::Buffer>>, gradients: Option<LossGradients<'_, D::Buffer>>,
        ) -> Result<Later<Vec<RowLoss>>, DeviceError>, of of_shape(logits.shape);
        fn linear_learn_rows(
            logits: LossRows<'_, D::Buffer, D::Prepared>, read: &ReadRow<'_>,
            gradients: LossGradients<'_, D::Buffer>,
        ) -> Result<(), DeviceError>, of of_shape(logits.shape);
    }
}

impl<D: Device> Optimiser for Timed<D> {
    timed! {
        fn sum_of_squares(x: &D::Buffer) -> f64;
        fn sums_of_squares(buffers: &[D::Buffer]) -> Vec<f64>;
        fn newton_schulz(
            iteration: NewtonSchulz, x: &mut D::Buffer, scratch: NewtonSchulzScratch<'_, D::Buffer>,
        ) -> Result<(), DeviceError>;
        fn adamw(step: AdamW, gradient_scale: f64, gradient: &D::Buffer, state: AdamWState<'_, D::Buffer>);
        fn adamw_all(gradient_scale: f64, updates: Vec<AdamWUpdate<'_, D::Buffer>>) -> Result<(), DeviceError>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::batch::Batch;
    use crate::bench::batch::tests::spec;
    use aquatint_compute::Cpu;
    use aquatint_diffusion::Layout;
    use aquatint_network::{Learner, Network, WholeRows};

    #[test]
    fn the_clock_changes_no_bit_and_notes_every_operation() {
        let spec = spec(Layout::Full);
        let batch = Batch::new(&spec, 2, 6, 3).unwrap();
        let targets = batch.targets(&spec);
        let timed = Timed::new(Cpu::<f32>::scalar());
        let clock = timed.clock();
        let mut plain = Network::new(Cpu::<f32>::scalar(), spec.clone(), 7).unwrap();
        let mut watched = Network::new(timed, spec.clone(), 7).unwrap();

        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        clock.clear();
        let observed = watched.logits(&batch.input(), &batch.requested).unwrap();
        assert_eq!(bits(observed), bits(plain.logits(&batch.input(), &batch.requested).unwrap()));
        let spent = clock.spent();
        assert!(spent.iter().all(|(_, spent)| spent.calls > 0));
        assert!(spent.iter().map(|(_, spent)| spent.time).sum::<Duration>() > Duration::ZERO);
        let calls = |name, product| spent.iter().find(|(o, _)| *o == Operation { name, product }).map(|(_, s)| s.calls);
        assert_eq!(calls("attention_rows", None), Some(2));
        assert_eq!(calls("linear_prepared", Some((8, 16))), Some(2));
        assert_eq!(calls("linear_rows", Some((8, 11))), Some(1));

        let costs = watched.forward_backward(&batch.input(), &targets).unwrap();
        assert_eq!(costs, plain.forward_backward(&batch.input(), &targets).unwrap());
        assert_eq!(watched.gradient_norm().to_bits(), plain.gradient_norm().to_bits());
        assert!(clock.spent().iter().any(|(operation, _)| operation.name == "attention_backward"));
    }
}
