"""A second implementation of the networks and optimisers, in PyTorch and f64, written for reading and not for speed.

It shares nothing with the crates: masks are whole matrices made from their definitions, attention is a softmax over
them, gradients are PyTorch's. `golden/README.md` says what the files hold.
"""

import json
import math
import os
import sys
from pathlib import Path

import numpy
import safetensors
import torch
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

PADDING = 2**32 - 1
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def versions():
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__.split("+")[0],
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
    }


def write(script, tensors, about):
    """Writes fixture.safetensors beside the script."""
    path = Path(script).resolve().parent / "fixture.safetensors"
    about = {**about, "versions": versions()}
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"about": json.dumps(about, sort_keys=True)})
    print(f"{path.parent.name}: {len(tensors)} tensors, {os.path.getsize(path)} bytes, {versions()}")


# Masks ----------------------------------------------------------------------------------------------------------------


def layout_mask(kind, documents, block=None):
    """`sees[i, j]` inside one canvas. Padding sees itself only; documents do not see each other."""
    length = len(documents)
    sees = torch.zeros(length, length, dtype=torch.bool)
    start = {}
    for i, document in enumerate(documents):
        start.setdefault(document, i)
    for i in range(length):
        for j in range(length):
            if documents[i] == PADDING or documents[i] != documents[j]:
                sees[i, j] = i == j
                continue
            if kind == "full":
                sees[i, j] = True
            elif kind == "causal":
                sees[i, j] = j <= i
            else:
                first = start[documents[i]]
                sees[i, j] = (j - first) // block <= (i - first) // block
    return sees


def two_stream_mask(length, block):
    """BD3-LM (2503.09573), section 3.1: `[noisy ; clean]` sees own noisy block, or clean blocks before / up to it."""
    number = torch.arange(length) // block
    own = number[:, None] == number[None, :]
    before = number[:, None] > number[None, :]
    nothing = torch.zeros(length, length, dtype=torch.bool)
    return torch.cat([torch.cat([own, before], 1), torch.cat([nothing, own | before], 1)], 0)


def batch_mask(masks):
    return torch.block_diag(*[mask.to(torch.float64) for mask in masks]) > 0


# Operations -----------------------------------------------------------------------------------------------------------


def rms_norm(x, weight, epsilon):
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return x if weight is None else x * weight


def rope(x, positions, theta):
    """x `[T, heads, E]`; elements i and i + E/2 turn by position · theta^(-2i/E)."""
    size = x.shape[-1]
    frequency = theta ** (-2 * torch.arange(size // 2).to(torch.float64) / size)
    angle = positions.to(torch.float64)[:, None, None] * frequency
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def attention(q, k, v, sees):
    """q `[T, H, E]`, k and v `[T, G, E]`, sees `[T, T]`; out `[T, H · E]`."""
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    scores = torch.einsum("ihe,jhe->hij", q, k) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~sees, -torch.inf)
    return torch.einsum("hij,jhe->ihe", scores.softmax(-1), v).flatten(1)


def split_heads(packed, heads, groups, size):
    packed = packed.view(packed.shape[0], heads + 2 * groups, size)
    return packed[:, :heads], packed[:, heads : heads + groups], packed[:, heads + groups :]


def silu(x):
    return x * torch.sigmoid(x)


def costs(logits, targets, forbidden):
    """Negative log-likelihood of each row, in nats; the logit of `forbidden` is -infinity."""
    if forbidden is not None:
        gone = torch.zeros(logits.shape[-1], dtype=torch.bool)
        gone[forbidden] = True
        logits = logits.masked_fill(gone, -torch.inf)
    return torch.logsumexp(logits, -1) - logits.gather(-1, targets[:, None])[:, 0]


# Networks -------------------------------------------------------------------------------------------------------------


def shapes(c):
    """Names and shapes of a network's tensors."""
    d, f, e = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    h, g, v = c["num_attention_heads"], c["num_key_value_heads"], c["vocab_size"]
    out = {"model.embed_tokens.weight": (v, d)}
    if c["self_conditioning"]:
        out["model.self_conditioning_norm.weight"] = (d,)
    if c["time_features"]:
        for name, inputs in [("input_proj", c["time_features"]), ("output_proj", d)]:
            out[f"model.time_embedder.{name}.weight"] = (d, inputs)
            out[f"model.time_embedder.{name}.bias"] = (d,)
        out["model.norm_modulation.weight"] = (2 * d, d)
        out["model.norm_modulation.bias"] = (2 * d,)
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        if c["time_features"]:
            out[p + "modulation.weight"] = (6 * d, d)
            out[p + "modulation.bias"] = (6 * d,)
        out[p + "input_layernorm.weight"] = (d,)
        out[p + "self_attn.q_proj.weight"] = (h * e, d)
        out[p + "self_attn.k_proj.weight"] = (g * e, d)
        out[p + "self_attn.v_proj.weight"] = (g * e, d)
        if c["qk_norm"]:
            out[p + "self_attn.q_norm.weight"] = (e,)
            out[p + "self_attn.k_norm.weight"] = (e,)
        out[p + "self_attn.o_proj.weight"] = (d, h * e)
        out[p + "post_attention_layernorm.weight"] = (d,)
        out[p + "mlp.gate_proj.weight"] = (f, d)
        out[p + "mlp.up_proj.weight"] = (f, d)
        out[p + "mlp.down_proj.weight"] = (d, f)
    out["model.norm.weight"] = (d,)
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (v, d)
    return out


def draw_parameters(c, generator):
    """Random, none small, so that no gradient is zero by initialisation."""
    out = {}
    for name, shape in shapes(c).items():
        noise = torch.randn(shape, generator=generator)
        out[name] = 1 + 0.2 * noise if name.endswith("norm.weight") else 0.35 * noise
    return out


def time_features(times, count):
    half = count // 2
    frequency = 10000.0 ** (-torch.arange(half).to(torch.float64) / half)
    angle = 1000 * times[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def forward(c, w, batch):
    """The logits of all rows. `batch`: tokens or probabilities, positions, sees, sequence of each row, times, self_conditioning."""
    table = w["model.embed_tokens.weight"]
    x = batch["probabilities"] @ table if "probabilities" in batch else table[batch["tokens"]]
    eps = c["rms_norm_eps"]
    if "self_conditioning" in batch:
        x = x + rms_norm(batch["self_conditioning"] @ table, w["model.self_conditioning_norm.weight"], eps)
    timed = bool(c["time_features"])
    if timed:
        e = "model.time_embedder."
        t = time_features(batch["times"], c["time_features"])
        t = silu(t @ w[e + "input_proj.weight"].T + w[e + "input_proj.bias"])
        t = silu(t @ w[e + "output_proj.weight"].T + w[e + "output_proj.bias"])

    def modulation(name, parts):
        if not timed:
            return [0.0, 0.0, 1.0, 0.0, 0.0, 1.0][:parts]
        return (t @ w[name + ".weight"].T + w[name + ".bias"])[batch["sequence"]].chunk(parts, -1)

    heads, groups, size = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation(p + "modulation", 6)
        h = rms_norm(x, w[p + "input_layernorm.weight"], eps) * (1 + scale_a) + shift_a
        q = (h @ w[p + "self_attn.q_proj.weight"].T).view(-1, heads, size)
        k = (h @ w[p + "self_attn.k_proj.weight"].T).view(-1, groups, size)
        v = (h @ w[p + "self_attn.v_proj.weight"].T).view(-1, groups, size)
        if c["qk_norm"]:
            q = rms_norm(q, w[p + "self_attn.q_norm.weight"], eps)
            k = rms_norm(k, w[p + "self_attn.k_norm.weight"], eps)
        q, k = rope(q, batch["positions"], c["rope_theta"]), rope(k, batch["positions"], c["rope_theta"])
        x = x + gate_a * (attention(q, k, v, batch["sees"]) @ w[p + "self_attn.o_proj.weight"].T)
        h = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps) * (1 + scale_m) + shift_m
        inner = silu(h @ w[p + "mlp.gate_proj.weight"].T) * (h @ w[p + "mlp.up_proj.weight"].T)
        x = x + gate_m * (inner @ w[p + "mlp.down_proj.weight"].T)
    shift, scale = modulation("model.norm_modulation", 2)
    h = rms_norm(x, w["model.norm.weight"], eps) * (1 + scale) + shift
    return h @ w.get("lm_head.weight", table).T


# Optimisers -----------------------------------------------------------------------------------------------------------


def orthogonalise(u):
    """Newton-Schulz, five steps; `u` has the shape of its parameter."""
    a, b, c = NEWTON_SCHULZ
    x = u / (u.norm() + 1e-7)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if turned else x


class Muon:
    """See golden/README.md for the formulas."""

    def __init__(self, parameters, rate, decay, momentum=0.95):
        self.parameters, self.rate, self.decay, self.momentum = parameters, rate, decay, momentum
        self.moments = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self):
        for p, m in zip(self.parameters, self.moments):
            m.mul_(self.momentum).add_(p.grad)
            u = orthogonalise(p.grad + self.momentum * m)
            p.mul_(1 - self.rate * self.decay).sub_(self.rate * 0.2 * math.sqrt(max(p.shape)) * u)


def is_muon(name, tensor):
    return tensor.dim() == 2 and name not in ("model.embed_tokens.weight", "lm_head.weight")


ADAMW = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-8}
DECAY = 0.1


def optimise(c, start, batch, kind, rows, targets, weights):
    """The parameters after steps 1 and 3 on the same batch."""
    w = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    if kind == "adamw":
        optimisers = [torch.optim.AdamW(list(w.values()), weight_decay=DECAY, **ADAMW)]
    else:
        matrices = [tensor for name, tensor in w.items() if is_muon(name, tensor)]
        others = [tensor for name, tensor in w.items() if not is_muon(name, tensor)]
        optimisers = [
            Muon(matrices, ADAMW["lr"], DECAY),
            torch.optim.AdamW(others, weight_decay=0.0, **ADAMW),
        ]
    out = {}
    for step in range(1, 4):
        for tensor in w.values():
            tensor.grad = None
        (weights * costs(forward(c, w, batch)[rows], targets, c["mask_token_id"])).sum().backward()
        for optimiser in optimisers:
            optimiser.step()
        if step in (1, 3):
            out.update({f"{kind}{step}.{name}": tensor.detach().clone() for name, tensor in w.items()})
    return out


# Cases ----------------------------------------------------------------------------------------------------------------

PLAIN = {
    "model_type": "aquatint",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 12,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "qk_norm": False,
    "tie_word_embeddings": False,
    "time_features": None,
    "self_conditioning": False,
    "max_position_embeddings": 16,
    "attention": "full",
    "mask_token_id": 10,
}


def simplex(rows, columns, generator):
    """Points of the simplex that f32 holds exactly, because that is how a network is given them."""
    return (2 * torch.randn(rows, columns, generator=generator)).softmax(-1).float().double()


def network_case(script, changes, seed, lengths=(5, 3, 6), documents=None, two_streams=None, inputs=None):
    """Runs one network and writes its file.

    `documents` holds one list of document ids per sequence; `two_streams` = (length, block) replaces the sequences;
    `inputs(generator, rows, vocabulary)` adds probabilities, times or self-conditioning.
    """
    c = {**PLAIN, **changes}
    generator = torch.Generator().manual_seed(seed)
    start = draw_parameters(c, generator)
    vocabulary, mask = c["vocab_size"], c["mask_token_id"]
    if two_streams:
        length, block = two_streams
        lengths, documents = (2 * length,), [[0] * (2 * length)]
        sees = two_stream_mask(length, block)
        positions = torch.arange(length).repeat(2)
        clean = torch.randint(vocabulary - 1, (length,), generator=generator)
        hidden = torch.rand(length, generator=generator) < 0.6
        tokens = torch.cat([torch.where(hidden, mask, clean), clean])
        rows = hidden.nonzero()[:, 0]
        targets = clean[rows]
    else:
        documents = documents or [[0] * length for length in lengths]
        kind, _, block = c["attention"].partition(":")
        sees = batch_mask([layout_mask(kind, inside, int(block or 0)) for inside in documents])
        positions = torch.cat([torch.arange(length) for length in lengths])
        tokens = torch.randint(vocabulary - 1, (sum(lengths),), generator=generator)
        real = torch.tensor([document != PADDING for inside in documents for document in inside])
        if mask is None:
            rows = real.nonzero()[:, 0]
        else:
            rows = (real & (torch.rand(len(tokens), generator=generator) < 0.6)).nonzero()[:, 0]
            tokens[rows] = mask
        targets = torch.randint(vocabulary - 1, (len(rows),), generator=generator)
    weights = 0.25 + torch.rand(len(rows), generator=generator)
    sequence = torch.tensor([i for i, length in enumerate(lengths) for _ in range(length)])
    batch = {"tokens": tokens, "positions": positions, "sees": sees, "sequence": sequence}
    extra = inputs(generator, len(tokens), vocabulary) if inputs else {}
    batch.update(extra)

    w = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    logits = forward(c, w, batch)[rows]
    nll = costs(logits, targets, mask)
    (weights * nll).sum().backward()
    out = {"tokens": tokens, "positions": positions, "rows": rows, "targets": targets, "weights": weights}
    out.update({name: tensor for name, tensor in extra.items()})
    out.update({"logits": logits, "costs": nll})
    out.update({f"parameter.{name}": tensor for name, tensor in start.items()})
    out.update({f"gradient.{name}": tensor.grad for name, tensor in w.items()})
    for kind in ("adamw", "muon"):
        out.update(optimise(c, start, batch, kind, rows, targets, weights))
    about = {"config": c, "lengths": list(lengths), "documents": sum(documents, []), "seed": seed}
    about.update({"two_streams": list(two_streams) if two_streams else None})
    about.update({"optimiser": {**ADAMW, "weight_decay": DECAY, "momentum": 0.95}})
    write(script, out, about)
