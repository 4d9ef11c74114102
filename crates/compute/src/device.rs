//! The interface of a device: memory, the closed set of operations, each with its backward, and optimiser updates.
//!
//! Legend of shapes: `T` rows of the batch, `D` width, `N` outputs, `H` query heads, `G` key/value heads, `E` head
//! size, `F` feed-forward width, `V` vocabulary, `B` sequences, `R` chosen rows. All matrices are row-major.
//!
//! Conventions: a forward operation overwrites its output; a backward operation *accumulates* into the gradients of
//! parameters and *overwrites* the gradient of its input unless it says otherwise. Results never depend on the number
//! of threads. Lengths of buffers are the caller's duty (the tape's); a device may panic on a wrong one.

use crate::{Quantised, QuantisedError, Visibility, WeightFormat};
use std::fmt::{self, Debug};

/// Host element type of a device: `f32` in use, `f64` for specification and finite differences.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
{
    /// Rounds an `f64` to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens to `f64`.
    fn to_f64(self) -> f64;
    /// Natural exponential.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
}

macro_rules! element {
    ($t:ty) => {
        impl Element for $t {
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            fn ln(self) -> Self {
                <$t>::ln(self)
            }
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
        }
    };
}
element!(f32);
element!(f64);

/// What a device can fail with.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device does not have that much memory.
    #[error("the device `{device}` could not give {bytes} bytes")]
    OutOfMemory {
        /// The device asked.
        device: String,
        /// Bytes asked for.
        bytes: usize,
    },
    /// A GPU does not have that much memory left.
    #[error(
        "{device} has no room for {} more: {} of its {} are free; `--set run.activation_memory=2GiB` or `--set \
         optimiser.recompute=true` shrinks training, `--precision int8` a model that is run, and `--device cpu` does without",
        Binary(*asked), Binary(*free), Binary(*memory)
    )]
    GpuMemory {
        /// The device asked.
        device: String,
        /// Bytes asked for.
        asked: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes that it has in all.
        memory: usize,
    },
    /// A GPU's driver or library failed; the GPU answers nothing more.
    #[error("{device} failed in {call}: {reason}")]
    Gpu {
        /// The device.
        device: String,
        /// What was called.
        call: &'static str,
        /// What was answered.
        reason: String,
    },
    /// The processor lacks what was asked for by name.
    #[error("`{asked}` is not available here; available: {available}")]
    Unavailable {
        /// What was asked for.
        asked: String,
        /// What there is.
        available: String,
    },
    /// A matrix cannot be kept in integers.
    #[error(transparent)]
    Quantised(#[from] QuantisedError),
}

/// Bytes in the largest binary unit of which there is one.
struct Binary(usize);

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..0x10_0000 => write!(f, "{:.1} KiB", bytes / 1024.0),
            0x10_0000..0x4000_0000 => write!(f, "{:.1} MiB", bytes / 1048576.0),
            _ => write!(f, "{:.1} GiB", bytes / 1073741824.0),
        }
    }
}

/// Reads one row of a product: its index and its numbers, which may be changed in place.
pub type ReadRow<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

/// Shape of a product with a weight matrix `[outputs, inputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearShape {
    /// `T`: rows of the input and of the output.
    pub rows: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Columns of the output.
    pub outputs: usize,
}

/// Shape of attention over a packed `[T, (H + 2 G) E]` matrix: queries, then keys, then values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// `H`.
    pub heads: usize,
    /// `G`, a divisor of `H`: query head `h` reads key/value head `h / (H / G)`.
    pub key_value_heads: usize,
    /// `E`, even.
    pub head_size: usize,
}

impl AttentionShape {
    /// Columns of the packed matrix: `(H + 2 G) E`.
    pub fn packed_columns(&self) -> usize {
        (self.heads + 2 * self.key_value_heads) * self.head_size
    }
    /// Columns of the output: `H E`.
    pub fn output_columns(&self) -> usize {
        self.heads * self.head_size
    }
}

/// Rotary embedding and per-head norm of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeShape {
    /// Heads and sizes.
    pub attention: AttentionShape,
    /// Base of the geometric frequencies: pair `i` (elements `i` and `i + E/2`) turns by `position · theta^(-2i/E)`.
    pub theta: f64,
    /// Epsilon of the per-head RMS norm, used when its weights are given.
    pub epsilon: f64,
}

/// One step of AdamW with decoupled weight decay (Loshchilov & Hutter, 1711.05101, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled: the parameter shrinks by `learning_rate · weight_decay`.
    pub weight_decay: f64,
    /// 1 at the first step: the moments are corrected by `1 − βᵏ`.
    pub step: u64,
}

/// A device: where buffers live and operations run.
pub trait Device: Clone + Debug + Send + Sync + 'static {
    /// Element type of the exchange with the host.
    type Element: Element;
    /// A flat array on the device.
    type Buffer: Debug + Send + Sync;
    /// A matrix in the order and the numbers in which the device multiplies by it.
    type Prepared: Debug + Send + Sync;

    /// One line for people: device, path, precision, threads.
    fn describe(&self) -> String;

    // Memory ------------------------------------------------------------------------------------------------------

    /// A buffer of `len` zeros.
    fn zeros(&self, len: usize) -> Result<Self::Buffer, DeviceError>;
    /// A buffer of `len` elements of any value, for an output that is wholly overwritten.
    fn uninitialised(&self, len: usize) -> Result<Self::Buffer, DeviceError>;
    /// A buffer with these values.
    fn upload(&self, values: &[Self::Element]) -> Result<Self::Buffer, DeviceError>;
    /// Overwrites a buffer of the same length.
    fn write(&self, buffer: &mut Self::Buffer, values: &[Self::Element]);
    /// The values of a buffer.
    fn download(&self, buffer: &Self::Buffer) -> Vec<Self::Element>;
    /// Number of elements.
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// Sets all elements to zero.
    fn clear(&self, buffer: &mut Self::Buffer);

    // Products ----------------------------------------------------------------------------------------------------

    /// `out = x wᵀ (+ bias) (+ out if accumulate)`; x `[T, K]`, w `[N, K]`, bias `[N]`, out `[T, N]`.
    fn linear(
        &self,
        shape: LinearShape,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        accumulate: bool,
        out: &mut Self::Buffer,
    );
    /// `d_x = d_out w (+ d_x if accumulate)`; also the mixture of word vectors: probabilities `[T, V]` times a table
    /// `[V, D]`.
    fn linear_backward_input(
        &self,
        shape: LinearShape,
        d_out: &Self::Buffer,
        w: &Self::Buffer,
        accumulate: bool,
        d_x: &mut Self::Buffer,
    );
    /// `d_w += d_outᵀ x`, `d_bias += Σ_rows d_out`.
    fn linear_backward_weight(
        &self,
        shape: LinearShape,
        d_out: &Self::Buffer,
        x: &Self::Buffer,
        d_w: &mut Self::Buffer,
        d_bias: Option<&mut Self::Buffer>,
    );

    /// The numbers in which this device keeps a matrix when nothing else is asked for; its products are then those of
    /// [`Device::linear`], to the bit.
    fn format(&self) -> WeightFormat;
    /// Prepares a matrix `[N, K]` for products; `shape` is `(N, K)`.
    fn prepare(
        &self,
        shape: (usize, usize),
        w: &Self::Buffer,
        format: WeightFormat,
    ) -> Result<Self::Prepared, DeviceError>;
    /// Prepares a matrix that is quantised already.
    fn prepare_quantised(&self, matrix: Quantised) -> Result<Self::Prepared, DeviceError>;
    /// Rows and columns of a prepared matrix: `(N, K)`.
    fn prepared_shape(&self, w: &Self::Prepared) -> (usize, usize);
    /// As [`Device::linear`], with a prepared matrix.
    fn linear_prepared(
        &self,
        rows: usize,
        x: &Self::Buffer,
        w: &Self::Prepared,
        bias: Option<&Self::Buffer>,
        accumulate: bool,
        out: &mut Self::Buffer,
    );
    /// `out = silu(x gateᵀ) · (x upᵀ)`; x `[T, K]`, both matrices `[F, K]` and of one format, out `[T, F]`.
    fn linear_swiglu(
        &self,
        rows: usize,
        x: &Self::Buffer,
        gate: &Self::Prepared,
        up: &Self::Prepared,
        out: &mut Self::Buffer,
    );

    /// Hands each row of `hidden headᵀ` to `read` while it is there: its index and its `V` numbers, which may be changed.
    /// Some rows are multiplied at a time, never all `R × V` kept; `read` is called by any thread, in any order.
    fn linear_rows(
        &self,
        rows: usize,
        hidden: &Self::Buffer,
        head: &Self::Prepared,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError>;

    // Rows --------------------------------------------------------------------------------------------------------

    /// `out[i] = table[ids[i]]`; table `[V, D]`, out `[len(ids), D]`. Also gathers chosen rows of an activation.
    fn gather(&self, columns: usize, table: &Self::Buffer, ids: &[u32], out: &mut Self::Buffer);
    /// `table[ids[i]] = rows[i]`, in the order of `i`; the reverse of [`Device::gather`].
    fn write_rows(&self, columns: usize, rows: &Self::Buffer, ids: &[u32], table: &mut Self::Buffer);
    /// `d_table[ids[i]] += d_out[i]`, in the order of `i`.
    fn scatter_add(&self, columns: usize, d_out: &Self::Buffer, ids: &[u32], d_table: &mut Self::Buffer);

    // Norms and positions -----------------------------------------------------------------------------------------

    /// RMS norm of each row: `out = x / rms(x) · weight`, `inverse_rms[T] = 1 / sqrt(mean(x²) + ε)` kept for the
    /// backward pass. Without a weight the factor is 1.
    fn rms_norm(
        &self,
        columns: usize,
        epsilon: f64,
        x: &Self::Buffer,
        weight: Option<&Self::Buffer>,
        out: &mut Self::Buffer,
        inverse_rms: &mut Self::Buffer,
    );
    /// Gradients of [`Device::rms_norm`]: overwrites `d_x` (adds when `accumulate`), accumulates `d_weight`.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn rms_norm_backward(
        &self,
        columns: usize,
        x: &Self::Buffer,
        weight: Option<&Self::Buffer>,
        inverse_rms: &Self::Buffer,
        d_out: &Self::Buffer,
        accumulate: bool,
        d_x: &mut Self::Buffer,
        d_weight: Option<&mut Self::Buffer>,
    );
    /// Per-head RMS norm of queries and keys (where weights `[E]` are given) and rotation by position; values are
    /// copied. `packed` and `out` are `[T, (H + 2 G) E]`, `positions` has `T` entries.
    fn rope(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &Self::Buffer,
        norms: Option<(&Self::Buffer, &Self::Buffer)>,
        out: &mut Self::Buffer,
    );
    /// Gradients of [`Device::rope`]; `norms` = (query weight, key weight), `d_norms` likewise, accumulated.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn rope_backward(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &Self::Buffer,
        norms: Option<(&Self::Buffer, &Self::Buffer)>,
        d_out: &Self::Buffer,
        d_packed: &mut Self::Buffer,
        d_norms: Option<(&mut Self::Buffer, &mut Self::Buffer)>,
    );

    // Attention ---------------------------------------------------------------------------------------------------

    /// `softmax(q kᵀ / √E) v` over the visible rows; never keeps an L × L matrix. `log_sum_exp` is `[T, H]`.
    fn attention(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Self::Buffer,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    );
    /// Attention of some rows, ascending, that nobody learns from; `out` is `[queries, H E]`. Its two products are in the
    /// device's precision, in f32 those of [`Device::attention`] to the bit. A row does not depend on which others are
    /// asked for.
    fn attention_rows(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Self::Buffer,
        queries: &[u32],
        out: &mut Self::Buffer,
    );
    /// Gradient of [`Device::attention`] with respect to the packed matrix.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn attention_backward(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Self::Buffer,
        out: &Self::Buffer,
        log_sum_exp: &Self::Buffer,
        d_out: &Self::Buffer,
        d_packed: &mut Self::Buffer,
    );

    // Elementwise -------------------------------------------------------------------------------------------------

    /// `out = silu(gate) · up`; `gate_up` is `[T, 2 F]` (gate, then up), out `[T, F]`.
    fn swiglu(&self, width: usize, gate_up: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Device::swiglu`].
    fn swiglu_backward(&self, width: usize, gate_up: &Self::Buffer, d_out: &Self::Buffer, d_gate_up: &mut Self::Buffer);
    /// `out = x σ(x)`.
    fn silu(&self, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Device::silu`].
    fn silu_backward(&self, x: &Self::Buffer, d_out: &Self::Buffer, d_x: &mut Self::Buffer);
    /// `out = x · (1 + scale[g]) + shift[g]` with `g = group_of_row[row]`; `shift` and `scale` are the column ranges
    /// that begin at `offsets.0` and `offsets.1` of `modulation`, whose rows have `stride` columns.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn modulate(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &Self::Buffer,
        modulation: &Self::Buffer,
        out: &mut Self::Buffer,
    );
    /// Gradients of [`Device::modulate`]: overwrites `d_x`, accumulates `d_modulation`.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn modulate_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &Self::Buffer,
        modulation: &Self::Buffer,
        d_out: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_modulation: &mut Self::Buffer,
    );
    /// `residual += gate[g] · x`, the gate being the column range of `modulation` at `offset`.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn gated_add(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &Self::Buffer,
        modulation: &Self::Buffer,
        residual: &mut Self::Buffer,
    );
    /// Gradients of [`Device::gated_add`] for `x` (overwritten) and the gate (accumulated); the residual's passes on.
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn gated_add_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &Self::Buffer,
        modulation: &Self::Buffer,
        d_out: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_modulation: &mut Self::Buffer,
    );
    /// `y = a x + b y`.
    fn scale_add(&self, a: f64, x: &Self::Buffer, b: f64, y: &mut Self::Buffer);
    /// Softmax of each row, in place; rows have `columns` elements.
    fn softmax(&self, columns: usize, x: &mut Self::Buffer);

    // Loss --------------------------------------------------------------------------------------------------------

    /// Softmax cross-entropy of `hidden headᵀ` at `R` chosen rows, never keeping the `R × V` logits whole.
    ///
    /// Returns the negative log-likelihood of `targets[i]` for each row, in nats. When gradients are asked for, it
    /// overwrites `d_hidden` and accumulates `d_head` with the gradient of `Σ weights[i] · nll[i]`.
    /// `forbidden`, if given, is an id whose logit is −∞ (SUBS: a clean token is never the mask).
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    fn linear_cross_entropy(
        &self,
        shape: LinearShape,
        hidden: &Self::Buffer,
        head: &Self::Buffer,
        targets: &[u32],
        weights: &[f64],
        forbidden: Option<u32>,
        gradients: Option<(&mut Self::Buffer, &mut Self::Buffer)>,
    ) -> Result<Vec<f64>, DeviceError>;

    /// Any other cost of the rows of `hidden headᵀ`: hands each row of logits to `read`, which turns it into the gradient of
    /// the cost; then overwrites `d_hidden` and accumulates `d_head`. `read` is called by any thread, in any order.
    fn linear_learn_rows(
        &self,
        shape: LinearShape,
        hidden: &Self::Buffer,
        head: &Self::Buffer,
        read: &ReadRow<'_>,
        gradients: (&mut Self::Buffer, &mut Self::Buffer),
    );

    // Optimisation ------------------------------------------------------------------------------------------------

    /// Sum of squares of all elements, in f64, in a fixed order.
    fn sum_of_squares(&self, x: &Self::Buffer) -> f64;
    /// One AdamW update with the gradient multiplied by `gradient_scale` (clipping).
    fn adamw(
        &self,
        step: AdamW,
        gradient_scale: f64,
        gradient: &Self::Buffer,
        first: &mut Self::Buffer,
        second: &mut Self::Buffer,
        parameter: &mut Self::Buffer,
    );
}
