"""Forward and backward of every operation that is more than a copy, one after the other, on small odd sizes.

For each operation the file holds its operands, its output, a gradient of the output drawn at random, and what PyTorch's
backward makes of that gradient.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from reference import PADDING, attention, batch_mask, costs, layout_mask, rms_norm, rope, silu, split_heads, two_stream_mask, write

generator = torch.Generator().manual_seed(11)
out = {}


def normal(*shape):
    return torch.randn(shape, generator=generator)


def record(name, function, **operands):
    """Runs `function(**operands)` and keeps operands, output, and gradients of the floating ones."""
    leaves = {key: value.clone().requires_grad_() for key, value in operands.items()}
    result = function(**leaves)
    gradient = normal(*result.shape)
    result.backward(gradient)
    out[f"{name}.out"], out[f"{name}.d_out"] = result, gradient
    for key, value in leaves.items():
        out[f"{name}.{key}"], out[f"{name}.d_{key}"] = operands[key], value.grad


rows, columns = 7, 10

record("linear", lambda x, w, bias: x @ w.T + bias, x=normal(rows, columns), w=normal(5, columns), bias=normal(5))
record("mixture", lambda p, table: p @ table, p=normal(rows, 6).softmax(-1), table=normal(6, columns))
ids = torch.tensor([3, 0, 3, 5, 1, 3, 0])
out["gather.ids"] = ids
record("gather", lambda table: table[ids], table=normal(6, columns))
record("rms_norm", lambda x, weight: rms_norm(x, weight, 1e-3), x=normal(rows, columns), weight=normal(columns))
record("rms_norm_plain", lambda x: rms_norm(x, None, 1e-3), x=normal(rows, columns))

heads, groups, size = 4, 2, 6
packed_columns = (heads + 2 * groups) * size
positions = torch.tensor([0, 1, 2, 3, 0, 1, 40])
out["rope.positions"] = positions


def turned(packed, query=None, key=None):
    q, k, v = split_heads(packed, heads, groups, size)
    if query is not None:
        q, k = rms_norm(q, query, 1e-3), rms_norm(k, key, 1e-3)
    return torch.cat([rope(q, positions, 500.0), rope(k, positions, 500.0), v], 1).flatten(1)


record("rope", turned, packed=normal(rows, packed_columns))
record("rope_normed", turned, packed=normal(rows, packed_columns), query=normal(size), key=normal(size))

documents = [0, 0, 0, 1, 1, PADDING]
masks = {
    "full": batch_mask([layout_mask("full", [0] * 4), layout_mask("full", [0] * 3)]),
    "causal": batch_mask([layout_mask("causal", [0] * 4), layout_mask("causal", [0] * 3)]),
    "documents": batch_mask([layout_mask("full", documents), layout_mask("full", [0])]),
    "block": batch_mask([layout_mask("block", [0] * 7, 3)]),
    "two_streams": two_stream_mask(5, 2),
}
for name, sees in masks.items():
    record(
        f"attention_{name}",
        lambda packed: attention(*split_heads(packed, heads, groups, size), sees),
        packed=normal(len(sees), packed_columns),
    )

record("swiglu", lambda gate_up: silu(gate_up[:, :columns]) * gate_up[:, columns:], gate_up=2 * normal(rows, 2 * columns))
record("silu", silu, x=3 * normal(rows, columns))
groups_of_rows = torch.tensor([0, 0, 1, 1, 1, 2, 2])
out["modulate.groups"] = groups_of_rows


def modulated(x, modulation):
    part = modulation[groups_of_rows]
    return x * (1 + part[:, columns : 2 * columns]) + part[:, 2 * columns : 3 * columns]


record("modulate", modulated, x=normal(rows, columns), modulation=normal(3, 3 * columns))
record(
    "gated_add",
    lambda x, modulation, residual: residual + modulation[groups_of_rows][:, columns : 2 * columns] * x,
    x=normal(rows, columns),
    modulation=normal(3, 3 * columns),
    residual=normal(rows, columns),
)
record("softmax", lambda x: x.softmax(-1), x=4 * normal(rows, columns))

for name, forbidden in (("cross_entropy", None), ("cross_entropy_forbidden", 2)):
    targets = torch.tensor([0, 4, 1, 1, 8, 3, 5])
    weights = torch.rand(rows, generator=generator)
    hidden, head = normal(rows, columns).requires_grad_(), normal(9, columns).requires_grad_()
    nll = costs(hidden @ head.T, targets, forbidden)
    (weights * nll).sum().backward()
    out.update({f"{name}.hidden": hidden, f"{name}.head": head, f"{name}.targets": targets, f"{name}.weights": weights})
    out.update({f"{name}.costs": nll, f"{name}.d_hidden": hidden.grad, f"{name}.d_head": head.grad})

parameter = torch.nn.Parameter(normal(20))
out["adamw.start"] = parameter.clone()
optimiser = torch.optim.AdamW([parameter], lr=0.03, betas=(0.8, 0.97), eps=1e-6, weight_decay=0.2)
for step in range(1, 4):
    parameter.grad = normal(20)
    out[f"adamw.gradient{step}"] = parameter.grad.clone()
    optimiser.step()
    out[f"adamw.after{step}"] = parameter.clone()

# The softmax of the device has no backward: probabilities enter networks as constants.
del out["softmax.d_out"], out["softmax.d_x"]
write(__file__, out, {"masks": {name: len(sees) for name, sees in masks.items()}, "seed": 11})
