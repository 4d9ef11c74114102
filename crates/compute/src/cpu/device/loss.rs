//! Losses.

use crate::cpu::cost::Vectors;
use crate::cpu::fast::{self, f32s, f32s_mut};
use crate::cpu::prepared::PreparedKind;
use crate::cpu::scalar::{self, ScalarHead, ScalarLoss};
use crate::cpu::{Buffer, Cpu, Prepared};
use crate::{
    DeviceError, Element, Head, Later, Loss, LossGradients, LossRows, ReadRow, RowCost, RowLoss, Targets, TokenVectors,
};

type Rows<'a, E> = LossRows<'a, Buffer<E>, Prepared<E>>;

impl<E: Element> Loss for Cpu<E> {
    fn linear_cross_entropy(
        &self,
        logits: Rows<'_, E>,
        targets: Targets<'_>,
        gradients: Option<LossGradients<'_, Buffer<E>>>,
    ) -> Result<Later<Vec<f64>>, DeviceError> {
        let gradients = gradients.map(|gradients| gradients.map(Buffer::as_mut_slice));
        let costs = match &self.fast {
            Some(fast) => {
                let gradients = gradients.map(|gradients| gradients.map(f32s_mut));
                fast.linear_cross_entropy(packed(logits), targets, gradients)?
            }
            None => scalar::linear_cross_entropy(self.specified(logits), targets, gradients),
        };
        Ok(Later::ready(costs))
    }

    fn linear_cost_rows(
        &self,
        logits: Rows<'_, E>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, Buffer<E>>>,
        gradients: Option<LossGradients<'_, Buffer<E>>>,
    ) -> Result<Later<Vec<RowLoss>>, DeviceError> {
        assert_eq!(logits.shape.rows, costs.len(), "as many costs as rows");
        let gradients = gradients.map(|gradients| gradients.map(Buffer::as_mut_slice));
        let vectors = vectors.map(|vectors| Vectors { size: vectors.size, values: vectors.values.as_slice() });
        let paid = match &self.fast {
            Some(fast) => {
                let vectors = vectors.map(|vectors| Vectors { size: vectors.size, values: f32s(vectors.values) });
                let gradients = gradients.map(|gradients| gradients.map(f32s_mut));
                fast.linear_cost_rows(packed(logits), costs, vectors, gradients)?
            }
            None => scalar::linear_cost_rows(self.specified(logits), costs, vectors, gradients),
        };
        Ok(Later::ready(paid))
    }

    fn linear_learn_rows(
        &self,
        logits: Rows<'_, E>,
        read: &ReadRow<'_>,
        gradients: LossGradients<'_, Buffer<E>>,
    ) -> Result<(), DeviceError> {
        let gradients = gradients.map(Buffer::as_mut_slice);
        match &self.fast {
            Some(fast) => fast.linear_learn_rows(packed(logits), read, gradients.map(f32s_mut)),
            None => {
                scalar::linear_learn_rows(self.specified(logits), read, gradients);
                Ok(())
            }
        }
    }
}

/// Rows as the fast paths read them.
fn packed<E: Element>(rows: Rows<'_, E>) -> fast::Paid<'_> {
    let LossRows { shape, hidden, head, bias, soft_cap, forbidden, evidence } = rows;
    let head = match head {
        Head::Values(values) => Head::Values(f32s(values.as_slice())),
        Head::Prepared(Prepared(PreparedKind::Packed(packed))) => Head::Prepared(packed),
        Head::Prepared(_) => unreachable!("a device with a fast path packs"),
    };
    let evidence = evidence.map(|evidence| evidence.map(Buffer::as_slice).map(f32s));
    let bias = bias.map(Buffer::as_slice).map(f32s);
    LossRows { shape, hidden: f32s(hidden.as_slice()), head, bias, soft_cap, forbidden, evidence }
}

impl<E: Element> Cpu<E> {
    /// Rows as the specification reads them.
    fn specified<'a>(&self, rows: Rows<'a, E>) -> ScalarLoss<'a, E> {
        let LossRows { shape, hidden, head, bias, soft_cap, forbidden, evidence } = rows;
        let head = match head {
            Head::Values(values) => {
                ScalarHead::Real { values: values.as_slice().into(), round: Self::rounding(self.precision) }
            }
            Head::Prepared(weight) => {
                let (values, round) = self.stands_for(weight);
                match &weight.0 {
                    PreparedKind::Quantised(matrix) => ScalarHead::Quantised { matrix, values, round },
                    _ => ScalarHead::Real { values, round },
                }
            }
        };
        let evidence = evidence.map(|evidence| evidence.map(Buffer::as_slice));
        let bias = bias.map(Buffer::as_slice);
        ScalarLoss { shape, hidden: hidden.as_slice(), head, bias, soft_cap, forbidden, evidence }
    }
}
