//! Rows of logits, each looked at while it is there.

use crate::cpu::fast::f32s;
use crate::cpu::finish::Finish;
use crate::cpu::prepared::PreparedKind;
use crate::cpu::{Buffer, Cpu, Prepared, draw_row, draw_row_expecting, summarise, summarise_row};
use crate::{
    CpuPath, DType, DeviceError, DrawnRow, Element, Evidence, LogitRows, Logits, PreparedOperands, ReadRow, RowDraw,
    RowSummary, TokenVectors,
};
use std::borrow::Cow;
use std::sync::OnceLock;

impl<E: Element> Logits for Cpu<E> {
    fn padded_rows(&self, rows: usize) -> usize {
        rows
    }
    fn linear_rows(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        let LogitRows { rows, hidden, head, bias, soft_cap, forbidden, evidence } = logits;
        let (hidden, bias) = (hidden.as_slice(), bias.map(Buffer::as_slice));
        let evidence = evidence.map(|evidence| evidence.map(Buffer::as_slice));
        if let (PreparedKind::Packed(head), Some(fast)) = (&head.0, &self.fast) {
            let (bias, evidence) = (bias.map(f32s), evidence.map(|evidence| evidence.map(f32s)));
            let hidden = f32s(hidden);
            return fast.linear_rows(LogitRows { rows, hidden, head, bias, soft_cap, forbidden, evidence }, read);
        }
        let narrow = |values: &[E]| values.iter().map(|value| value.to_f64() as f32).collect::<Vec<f32>>();
        let narrowed = evidence.map(|Evidence { size, points, vectors }| (size, narrow(points), narrow(vectors)));
        let evidence =
            narrowed.as_ref().map(|(size, points, vectors)| Evidence { size: *size, points: &**points, vectors });
        let bias = bias.map(narrow);
        let soft_cap = soft_cap.map(|bound| (bound, CpuPath::Scalar));
        let finish = Finish { bias: bias.as_deref(), soft_cap, forbidden, evidence };
        let (outputs, inputs) = head.shape();
        let mut out = vec![E::default(); outputs];
        for row in 0..rows {
            let x = &hidden[row * inputs..][..inputs];
            let operands = PreparedOperands { rows: 1, x, weight: head, bias: None, accumulate: false };
            self.multiply_prepared(operands, &mut out);
            let mut numbers = narrow(&out);
            finish.row(row, &mut numbers);
            read(row, &mut numbers);
        }
        Ok(())
    }

    fn summarise_rows(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        count: usize,
    ) -> Result<Vec<RowSummary>, DeviceError> {
        self.collect(logits, |_, logits| summarise_row(logits, count))
    }

    fn nll_rows(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        targets: &[u32],
    ) -> Result<Vec<f64>, DeviceError> {
        assert_eq!(logits.rows, targets.len(), "as many targets as rows");
        self.collect(logits, |row, logits| summarise(logits).log_sum_exp - f64::from(logits[targets[row] as usize]))
    }

    fn draw_rows(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        draws: &[RowDraw<'_>],
    ) -> Result<Vec<DrawnRow>, DeviceError> {
        assert_eq!(logits.rows, draws.len(), "as many draws as rows");
        self.collect(logits, |row, logits| draw_row(logits, &draws[row]))
    }

    fn draw_rows_expecting(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        draws: &[RowDraw<'_>],
        vectors: TokenVectors<'_, Buffer<E>>,
    ) -> Result<Vec<(DrawnRow, Vec<f32>)>, DeviceError> {
        assert_eq!(logits.rows, draws.len(), "as many draws as rows");
        let (size, values) = (vectors.size, vectors.values.as_slice());
        let values = match E::DTYPE {
            DType::F32 => Cow::Borrowed(f32s(values)),
            _ => values.iter().map(|value| value.to_f64() as f32).collect(),
        };
        let vectors = TokenVectors { size, values: &*values };
        self.collect(logits, |row, logits| draw_row_expecting(logits, &draws[row], vectors))
    }
}

impl<E: Element> Cpu<E> {
    /// What `look` says of each row.
    fn collect<R: Send + Sync>(
        &self,
        logits: LogitRows<'_, Buffer<E>, Prepared<E>>,
        process: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Result<Vec<R>, DeviceError> {
        let results: Vec<OnceLock<R>> = (0..logits.rows).map(|_| OnceLock::new()).collect();
        self.linear_rows(logits, &|row, logits| {
            // Each row comes once.
            let _ = results[row].set(process(row, logits));
        })?;
        Ok(results.into_iter().filter_map(OnceLock::into_inner).collect())
    }
}
