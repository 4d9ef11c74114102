//! A device that hands every operation to another one and notes how long it took.

use aquatint_compute::{
    AdamW, AttentionShape, Device, DeviceError, LinearShape, Quantised, ReadRow, RopeShape, Visibility, WeightFormat,
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

    /// Times a product with a prepared matrix.
    fn product<R>(&self, name: &'static str, w: &D::Prepared, work: impl FnOnce(&D) -> R) -> R
    where
        D: Device,
    {
        let (outputs, inputs) = self.device.prepared_shape(w);
        self.time(name, Some((inputs, outputs)), work)
    }

    fn time<R>(&self, name: &'static str, product: Option<(usize, usize)>, work: impl FnOnce(&D) -> R) -> R {
        let begun = Instant::now();
        let result = work(&self.device);
        self.clock.note(Operation { name, product }, begun.elapsed());
        result
    }
}

/// Writes each operation as a call of the same one with a note of its time, under its own name; where the first
/// parameter is the shape of a product, that is noted, too.
macro_rules! timed {
    ($(fn $name:ident($shape:ident: LinearShape $(, $argument:ident: $type:ty)* $(,)?) $(-> $result:ty)?;)*) => {$(
        fn $name(&self, $shape: LinearShape $(, $argument: $type)*) $(-> $result)? {
            let product = Some(($shape.inputs, $shape.outputs));
            self.time(stringify!($name), product, |device| device.$name($shape $(, $argument)*))
        }
    )*};
    (plain: $(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {$(
        fn $name(&self $(, $argument: $type)*) $(-> $result)? {
            self.time(stringify!($name), None, |device| device.$name($($argument),*))
        }
    )*};
}

impl<D: Device> Device for Timed<D> {
    type Element = D::Element;
    type Buffer = D::Buffer;
    type Prepared = D::Prepared;

    fn describe(&self) -> String {
        self.device.describe()
    }
    fn len(&self, buffer: &D::Buffer) -> usize {
        self.device.len(buffer)
    }
    fn format(&self) -> WeightFormat {
        self.device.format()
    }
    fn prepared_shape(&self, w: &D::Prepared) -> (usize, usize) {
        self.device.prepared_shape(w)
    }
    fn linear_prepared(
        &self,
        rows: usize,
        x: &D::Buffer,
        w: &D::Prepared,
        bias: Option<&D::Buffer>,
        accumulate: bool,
        out: &mut D::Buffer,
    ) {
        self.product("linear_prepared", w, |device| device.linear_prepared(rows, x, w, bias, accumulate, out));
    }
    fn linear_swiglu(&self, rows: usize, x: &D::Buffer, gate: &D::Prepared, up: &D::Prepared, out: &mut D::Buffer) {
        self.product("linear_swiglu", gate, |device| device.linear_swiglu(rows, x, gate, up, out));
    }
    fn linear_rows(
        &self,
        rows: usize,
        hidden: &D::Buffer,
        head: &D::Prepared,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        self.product("linear_rows", head, |device| device.linear_rows(rows, hidden, head, read))
    }

    timed! {
        plain:
        fn zeros(len: usize) -> Result<D::Buffer, DeviceError>;
        fn uninitialised(len: usize) -> Result<D::Buffer, DeviceError>;
        fn upload(values: &[D::Element]) -> Result<D::Buffer, DeviceError>;
        fn write(buffer: &mut D::Buffer, values: &[D::Element]);
        fn download(buffer: &D::Buffer) -> Vec<D::Element>;
        fn clear(buffer: &mut D::Buffer);
        fn gather(columns: usize, table: &D::Buffer, ids: &[u32], out: &mut D::Buffer);
        fn write_rows(columns: usize, rows: &D::Buffer, ids: &[u32], table: &mut D::Buffer);
        fn prepare(shape: (usize, usize), w: &D::Buffer, format: WeightFormat) -> Result<D::Prepared, DeviceError>;
        fn prepare_quantised(matrix: Quantised) -> Result<D::Prepared, DeviceError>;
        fn scatter_add(columns: usize, d_out: &D::Buffer, ids: &[u32], d_table: &mut D::Buffer);
        fn rms_norm(
            columns: usize, epsilon: f64, x: &D::Buffer, weight: Option<&D::Buffer>, out: &mut D::Buffer,
            inverse_rms: &mut D::Buffer,
        );
        fn rms_norm_backward(
            columns: usize, x: &D::Buffer, weight: Option<&D::Buffer>, inverse_rms: &D::Buffer, d_out: &D::Buffer,
            accumulate: bool, d_x: &mut D::Buffer, d_weight: Option<&mut D::Buffer>,
        );
        fn rope(
            shape: RopeShape, positions: &[u32], packed: &D::Buffer, norms: Option<(&D::Buffer, &D::Buffer)>,
            out: &mut D::Buffer,
        );
        fn rope_backward(
            shape: RopeShape, positions: &[u32], packed: &D::Buffer, norms: Option<(&D::Buffer, &D::Buffer)>,
            d_out: &D::Buffer, d_packed: &mut D::Buffer, d_norms: Option<(&mut D::Buffer, &mut D::Buffer)>,
        );
        fn attention(
            shape: AttentionShape, visibility: &Visibility, packed: &D::Buffer, out: &mut D::Buffer,
            log_sum_exp: &mut D::Buffer,
        );
        fn attention_rows(
            shape: AttentionShape, visibility: &Visibility, packed: &D::Buffer, queries: &[u32], out: &mut D::Buffer,
        );
        fn attention_backward(
            shape: AttentionShape, visibility: &Visibility, packed: &D::Buffer, out: &D::Buffer,
            log_sum_exp: &D::Buffer, d_out: &D::Buffer, d_packed: &mut D::Buffer,
        );
        fn swiglu(width: usize, gate_up: &D::Buffer, out: &mut D::Buffer);
        fn swiglu_backward(width: usize, gate_up: &D::Buffer, d_out: &D::Buffer, d_gate_up: &mut D::Buffer);
        fn silu(x: &D::Buffer, out: &mut D::Buffer);
        fn silu_backward(x: &D::Buffer, d_out: &D::Buffer, d_x: &mut D::Buffer);
        fn modulate(
            columns: usize, group_of_row: &[u32], stride: usize, offsets: (usize, usize), x: &D::Buffer,
            modulation: &D::Buffer, out: &mut D::Buffer,
        );
        fn modulate_backward(
            columns: usize, group_of_row: &[u32], stride: usize, offsets: (usize, usize), x: &D::Buffer,
            modulation: &D::Buffer, d_out: &D::Buffer, d_x: &mut D::Buffer, d_modulation: &mut D::Buffer,
        );
        fn gated_add(
            columns: usize, group_of_row: &[u32], stride: usize, offset: usize, x: &D::Buffer, modulation: &D::Buffer,
            residual: &mut D::Buffer,
        );
        fn gated_add_backward(
            columns: usize, group_of_row: &[u32], stride: usize, offset: usize, x: &D::Buffer, modulation: &D::Buffer,
            d_out: &D::Buffer, d_x: &mut D::Buffer, d_modulation: &mut D::Buffer,
        );
        fn scale_add(a: f64, x: &D::Buffer, b: f64, y: &mut D::Buffer);
        fn softmax(columns: usize, x: &mut D::Buffer);
        fn sum_of_squares(x: &D::Buffer) -> f64;
        fn adamw(
            step: AdamW, gradient_scale: f64, gradient: &D::Buffer, first: &mut D::Buffer, second: &mut D::Buffer,
            parameter: &mut D::Buffer,
        );
    }
    timed! {
        fn linear(
            shape: LinearShape, x: &D::Buffer, w: &D::Buffer, bias: Option<&D::Buffer>, accumulate: bool,
            out: &mut D::Buffer,
        );
        fn linear_backward_input(
            shape: LinearShape, d_out: &D::Buffer, w: &D::Buffer, accumulate: bool, d_x: &mut D::Buffer,
        );
        fn linear_backward_weight(
            shape: LinearShape, d_out: &D::Buffer, x: &D::Buffer, d_w: &mut D::Buffer, d_bias: Option<&mut D::Buffer>,
        );
        fn linear_cross_entropy(
            shape: LinearShape, hidden: &D::Buffer, head: &D::Buffer, targets: &[u32], weights: &[f64],
            forbidden: Option<u32>, gradients: Option<(&mut D::Buffer, &mut D::Buffer)>,
        ) -> Result<Vec<f64>, DeviceError>;
        fn linear_learn_rows(
            shape: LinearShape, hidden: &D::Buffer, head: &D::Buffer, read: &ReadRow<'_>,
            gradients: (&mut D::Buffer, &mut D::Buffer),
        );
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
