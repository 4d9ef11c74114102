//! Mixtures of experts on the tape: rows are routed, copied to their experts, multiplied group by group, and combined.

use super::{Record, Slots, Tape, Value};
use crate::{
    Activation, Combine, Device, DeviceError, Element, Factor, Gradients, GroupBackwardWeight, GroupedOperands,
    LinearShape, Parameters, RouteBackward, Router, RouterLogits, RouterScore, RowGroup, WeightId,
};
use std::rc::Rc;

/// The experts of the rows of a pass, and where their copies stand, sorted by expert.
#[derive(Debug)]
pub struct Routes<D: Device> {
    router: Router,
    /// The places of each expert that has any, in the order of the experts; the weight is the expert.
    groups: Vec<RowGroup<usize>>,
    /// The row of each place.
    rows: D::Indices,
    /// The places of each row, `[T, K]`.
    places: D::Indices,
    /// The experts of each row, `[T, K]`.
    chosen: D::Indices,
}

impl<D: Device> Routes<D> {
    fn new(device: &D, router: Router, chosen: &[u32]) -> Result<Self, DeviceError> {
        let mut next = vec![0; router.experts];
        chosen.iter().for_each(|&expert| next[expert as usize] += 1);
        let (mut groups, mut start) = (Vec::new(), 0);
        for (expert, next) in next.iter_mut().enumerate() {
            let count = std::mem::replace(next, start);
            if count > 0 {
                groups.push(RowGroup { rows: start..start + count, weight: expert });
            }
            start += count;
        }
        let (mut rows, mut places) = (vec![0; chosen.len()], Vec::with_capacity(chosen.len()));
        for (index, &expert) in chosen.iter().enumerate() {
            let place = &mut next[expert as usize];
            rows[*place] = (index / router.per_token) as u32;
            places.push(*place as u32);
            *place += 1;
        }
        Ok(Self {
            router,
            groups,
            rows: device.upload_indices(&rows)?,
            places: device.upload_indices(&places)?,
            chosen: device.upload_indices(chosen)?,
        })
    }

    /// How many rows go to each expert, `[N]`.
    fn load(&self) -> Vec<u32> {
        let mut load = vec![0; self.router.experts];
        self.groups.iter().for_each(|group| load[group.weight] = group.rows.len() as u32);
        load
    }

    /// The experts of each row, `[T, K]`.
    pub(super) fn chosen(&self) -> &D::Indices {
        &self.chosen
    }

    /// The same groups with the weights of their experts.
    fn with<W: Copy>(&self, weights: &[W]) -> Vec<RowGroup<W>> {
        self.groups
            .iter()
            .map(|RowGroup { rows, weight }| RowGroup { rows: rows.clone(), weight: weights[*weight] })
            .collect()
    }
}

/// What the backward of a product over rows sorted by expert needs.
pub(super) struct GroupedLinear<D: Device> {
    x: Value<D>,
    shape: LinearShape,
    groups: Vec<RowGroup<WeightId>>,
    pub(super) out: usize,
}

/// What the backward of a sum over experts needs.
pub(super) struct Combined<D: Device> {
    sorted: Value<D>,
    weights: Value<D>,
    routes: Rc<Routes<D>>,
    pub(super) out: usize,
}

impl<D: Device> Combined<D> {
    fn operands(&self) -> Combine<'_, D::Buffer, D::Indices> {
        combine(&self.sorted, &self.weights, &self.routes)
    }
}

fn combine<'a, D: Device>(
    sorted: &'a Value<D>,
    weights: &'a Value<D>,
    routes: &'a Routes<D>,
) -> Combine<'a, D::Buffer, D::Indices> {
    Combine {
        columns: sorted.columns,
        per_token: weights.columns,
        places: &routes.places,
        weights: &weights.buffer,
        sorted: &sorted.buffer,
    }
}

/// The matrix of each group.
type Factors<'a, D> = Vec<RowGroup<Factor<'a, <D as crate::Memory>::Buffer, <D as crate::Linear>::Prepared>>>;

/// The matrices of groups: prepared, unless they are learned and recorded.
fn factors<'a, D: Device>(
    parameters: &'a Parameters<D>,
    groups: &[RowGroup<WeightId>],
    recorded: bool,
) -> Result<Factors<'a, D>, DeviceError> {
    let factor = |group: &RowGroup<WeightId>| {
        let weight = match recorded && parameters.trains(group.weight) {
            true => Factor::Values(parameters.get(group.weight)?),
            false => Factor::Prepared(parameters.prepared(group.weight)?),
        };
        Ok(RowGroup { rows: group.rows.clone(), weight })
    };
    groups.iter().map(factor).collect()
}

/// The same groups with what is made of their weights.
fn with_weights<A: Copy, B>(groups: &[RowGroup<A>], weight: impl Fn(A) -> B) -> Vec<RowGroup<B>> {
    groups.iter().map(|group| RowGroup { rows: group.rows.clone(), weight: weight(group.weight) }).collect()
}

impl<'p, D: Device> Tape<'p, D> {
    /// The weights of each row's experts, `[T, K]`, and where its copies go, from logits `[T, N]`. `bias` is added where
    /// experts are chosen, and is not learned by the gradient. `blocks` are the first rows of those that choose together,
    /// see [`RouterLogits::blocks`].
    ///
    /// On a tape that balances by a weight `w`, a router without bias adds the cost `w · N Σ_e f_e P_e` to what is learned
    /// (Switch Transformer: Fedus et al., 2101.03961, equations 4 to 6): `f_e` is the share of the `T·K` copies that go to
    /// expert e, which is constant, and `P_e` the mean over the rows of its probability, its share of the scores. It is `w`
    /// where all experts have the same share. A router with a bias is balanced by that (2412.19437, section 2.1.2).
    ///
    /// # Errors
    /// When the device fails.
    pub fn route(
        &mut self,
        router: Router,
        logits: &Value<D>,
        bias: Option<WeightId>,
        blocks: Option<&D::Indices>,
    ) -> Result<(Value<D>, Rc<Routes<D>>), DeviceError> {
        let bias = bias.map(|bias| self.parameters.get(bias)).transpose()?;
        let mut weights = self.device().uninitialised(logits.rows * router.per_token)?;
        let operands = RouterLogits { logits: &*logits.buffer, bias, blocks };
        let chosen = self.device().route(&router, operands, &mut weights)?;
        let routes = Rc::new(Routes::new(self.device(), router, &chosen)?);
        if self.learning {
            self.loads.push(routes.load());
        }
        let balance = Some(self.balance).filter(|weight| *weight > 0.0 && bias.is_none());
        let weights = self.value(weights, logits.rows, router.per_token, logits.slot.is_some());
        self.note(&weights, |out| Record::Route { logits: logits.clone(), routes: Rc::clone(&routes), balance, out });
        Ok((weights, routes))
    }

    /// The copies of rows for their experts, `[T·K, D]`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn dispatch(&mut self, x: &Value<D>, routes: &Rc<Routes<D>>) -> Result<Value<D>, DeviceError> {
        let rows = self.device().count(&routes.rows);
        let mut out = self.device().uninitialised(rows * x.columns)?;
        self.device().gather(x.columns, &x.buffer, &routes.rows, &mut out);
        let out = self.value(out, rows, x.columns, x.slot.is_some());
        if let Some(slot) = x.slot {
            let routes = Rc::clone(routes);
            self.note(&out, |out| Record::Dispatch { x: slot, routes, rows: x.rows, columns: x.columns, out });
        }
        Ok(out)
    }

    /// `x wᵀ` of rows that are sorted by expert; `weights` has the matrix of each expert.
    ///
    /// # Errors
    /// When the device lacks the memory, or the matrix of an expert on demand cannot be read.
    pub fn grouped_linear(
        &mut self,
        x: &Value<D>,
        routes: &Routes<D>,
        weights: &[WeightId],
    ) -> Result<Value<D>, DeviceError> {
        let shape = self.linear_shape(x, weights[0]);
        let groups = routes.with(weights);
        let (device, mut out) = (self.device(), self.device().uninitialised(x.rows * shape.outputs)?);
        if self.records.is_some() {
            let factors = factors(self.parameters, &groups, true)?;
            device.grouped_linear(GroupedOperands { shape, x: &*x.buffer, groups: &factors }, &mut out);
        } else {
            self.each_lent(
                &groups,
                |weight| [weight],
                |groups| {
                    let factors = with_weights(groups, |[weight]| Factor::Prepared(weight));
                    device.grouped_linear(GroupedOperands { shape, x: &*x.buffer, groups: &factors }, &mut out);
                },
            )?;
        }
        let trains = groups.iter().any(|group| self.parameters.trains(group.weight));
        let out = self.value(out, x.rows, shape.outputs, x.slot.is_some() || trains);
        self.note(&out, |out| Record::GroupedLinear(GroupedLinear { x: x.clone(), shape, groups, out }));
        Ok(out)
    }

    /// `f(x gateᵀ) · (x upᵀ)` of rows that are sorted by expert, as [`Tape::linear_glu`] with the weights of each
    /// expert.
    ///
    /// # Errors
    /// When the device lacks the memory, or the matrix of an expert on demand cannot be read.
    pub fn grouped_glu(
        &mut self,
        activation: Activation,
        x: &Value<D>,
        routes: &Routes<D>,
        stacked: &[WeightId],
        apart: &[(WeightId, WeightId)],
    ) -> Result<Value<D>, DeviceError> {
        let parameters = self.parameters;
        let is_recorded = self.records.is_some();
        let is_apart = apart.iter().any(|&(gate, _)| parameters.is_prepared_only(gate));
        if (is_recorded && !is_apart) || stacked.iter().any(|&weight| parameters.is_prepared_only(weight)) {
            let gate_up = self.grouped_linear(x, routes, stacked)?;
            return self.glu(activation, &gate_up);
        }
        if is_recorded {
            let (gates, ups): (Vec<WeightId>, Vec<WeightId>) = apart.iter().copied().unzip();
            let (gate, up) = (self.grouped_linear(x, routes, &gates)?, self.grouped_linear(x, routes, &ups)?);
            let gate_up = self.beside(&gate, &up)?;
            return self.glu(activation, &gate_up);
        }
        let shape = self.linear_shape(x, apart[0].0);
        let (device, mut out) = (self.device(), self.device().uninitialised(x.rows * shape.outputs)?);
        self.each_lent(
            &routes.with(apart),
            |(gate, up)| [gate, up],
            |groups| {
                let pairs = with_weights(groups, |[gate, up]| (gate, up));
                device.grouped_glu(activation, GroupedOperands { shape, x: &*x.buffer, groups: &pairs }, &mut out);
            },
        )?;
        Ok(self.value(out, x.rows, shape.outputs, false))
    }

    /// Calls `run` with groups of rows and the prepared matrices of each, as many groups at a time as the memory of experts
    /// on demand allows; `ids` are the weights of a group.
    fn each_lent<W: Copy, const N: usize>(
        &self,
        groups: &[RowGroup<W>],
        ids: impl Fn(W) -> [WeightId; N],
        mut run: impl FnMut(&[RowGroup<[&D::Prepared; N]>]),
    ) -> Result<(), DeviceError> {
        let ids: Vec<[WeightId; N]> = groups.iter().map(|group| ids(group.weight)).collect();
        let mut done = 0;
        while done < groups.len() {
            let lent = self.parameters.lend(&ids[done..])?;
            let with_matrices = groups[done..].iter().zip(&lent).map(|(group, matrices)| RowGroup {
                rows: group.rows.clone(),
                weight: matrices.each_ref().map(|matrix| &**matrix),
            });
            run(&with_matrices.collect::<Vec<_>>());
            done += lent.len();
        }
        Ok(())
    }

    /// What the experts of each row give, weighted and summed: `[T, D]`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn combine(
        &mut self,
        sorted: &Value<D>,
        weights: &Value<D>,
        routes: &Rc<Routes<D>>,
    ) -> Result<Value<D>, DeviceError> {
        let (rows, columns) = (weights.rows, sorted.columns);
        let mut out = self.device().uninitialised(rows * columns)?;
        self.device().combine(combine(sorted, weights, routes), &mut out);
        let out = self.value(out, rows, columns, sorted.slot.is_some() || weights.slot.is_some());
        self.note(&out, |out| {
            let (sorted, weights, routes) = (sorted.clone(), weights.clone(), Rc::clone(routes));
            Record::Combine(Combined { sorted, weights, routes, out })
        });
        Ok(out)
    }

    pub(super) fn route_backward(
        &self,
        (logits, routes): (&Value<D>, &Routes<D>),
        d_weights: &D::Buffer,
        slots: &mut Slots<D>,
    ) -> Result<(), DeviceError> {
        let mut d_logits = self.device().uninitialised(logits.rows * logits.columns)?;
        let operands = RouteBackward { logits: &*logits.buffer, chosen: &routes.chosen, d_weights };
        self.device().route_backward(&routes.router, operands, &mut d_logits);
        self.give(slots, logits.slot, d_logits);
        Ok(())
    }

    /// Adds the gradient of the balancing cost. The probabilities of all experts are the weights of a router that chooses
    /// all, so that its backward is theirs.
    pub(super) fn balance_backward(
        &self,
        (logits, routes): (&Value<D>, &Routes<D>),
        weight: f64,
        slots: &mut Slots<D>,
    ) -> Result<(), DeviceError> {
        let (rows, Router { experts, per_token, score, .. }) = (logits.rows, routes.router);
        let all = Router {
            experts,
            per_token: experts,
            score,
            groups: 1,
            groups_per_token: 1,
            per_block: None,
            normalised: score == RouterScore::Sigmoid,
            scale: 1.0,
        };
        let chosen: Vec<u32> = (0..rows).flat_map(|_| 0..experts as u32).collect();
        let of_share = weight * experts as f64 / rows as f64;
        let share = |count: u32| f64::from(count) / (rows * per_token) as f64;
        let d_row = routes.load().into_iter().map(|count| D::Element::from_f64(of_share * share(count)));
        let d_weights = self.device().upload(&d_row.collect::<Vec<D::Element>>().repeat(rows))?;
        let chosen = self.device().upload_indices(&chosen)?;
        let mut d_logits = self.device().uninitialised(rows * experts)?;
        let operands = RouteBackward { logits: &*logits.buffer, chosen: &chosen, d_weights: &d_weights };
        self.device().route_backward(&all, operands, &mut d_logits);
        self.give(slots, logits.slot, d_logits);
        Ok(())
    }

    /// The gradient of rows is the sum over their copies, in the order of the experts.
    pub(super) fn dispatch_backward(
        &self,
        routes: &Routes<D>,
        (columns, d_out): (usize, &D::Buffer),
        d_x: &mut D::Buffer,
    ) {
        self.device().scatter_add(columns, d_out, &routes.rows, d_x);
    }

    pub(super) fn grouped_linear_backward(
        &self,
        record: GroupedLinear<D>,
        d_out: D::Buffer,
        (slots, gradients): (&mut Slots<D>, &mut Gradients<D>),
    ) -> Result<(), DeviceError> {
        let GroupedLinear { x, shape, groups, .. } = record;
        for RowGroup { rows, weight } in &groups {
            gradients.accumulate(self.parameters, *weight, |device, d_weight| {
                let operands = GroupBackwardWeight { shape, d_out: &d_out, x: &*x.buffer, rows: rows.clone() };
                device.grouped_backward_weight(operands, d_weight);
            })?;
        }
        if x.slot.is_some() {
            let mut d_x = self.device().uninitialised(shape.rows * shape.inputs)?;
            let factors = factors(self.parameters, &groups, true)?;
            self.device().grouped_backward_input(GroupedOperands { shape, x: &d_out, groups: &factors }, &mut d_x);
            self.give(slots, x.slot, d_x);
        }
        Ok(())
    }

    pub(super) fn combine_backward(
        &self,
        record: Combined<D>,
        d_out: &D::Buffer,
        slots: &mut Slots<D>,
    ) -> Result<(), DeviceError> {
        let (sorted, weights) = (&record.sorted, &record.weights);
        let mut d_weights = self.device().uninitialised(weights.rows * weights.columns)?;
        let mut d_sorted = self.device().uninitialised(sorted.rows * sorted.columns)?;
        self.device().combine_backward(record.operands(), d_out, &mut d_weights, &mut d_sorted);
        self.give(slots, weights.slot, d_weights);
        self.give(slots, sorted.slot, d_sorted);
        Ok(())
    }
}
