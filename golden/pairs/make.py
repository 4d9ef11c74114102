"""What texts cost under the network of `golden/plain`, exactly: the expectation of the bound over every count of masks and
every set of positions, enumerated.

Run with:  python golden/pairs/make.py
Needs PyPI's numpy. It shares nothing with the crates: the network is written down again below, in f64, and masks are not
drawn but all counted.
"""

import itertools
import json
import pathlib
import struct

import numpy

HERE = pathlib.Path(__file__).resolve().parent
HEADS, SIZE, MASK, EPSILON = 2, 4, 10, 1e-6

# Cases of texts that are nearly the same, with the positions that are open in each: all, what is common, what differs;
# texts of one length and of several.
CASES = [
    {"texts": [[1, 2, 3, 4, 5], [1, 7, 3, 4, 5]], "open": [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]},
    {"texts": [[1, 2, 3, 4, 5], [1, 7, 3, 4, 5]], "open": [[0, 2, 3, 4], [0, 2, 3, 4]]},
    {"texts": [[6, 2, 8, 4, 9, 0], [6, 3, 1, 8, 4, 9, 0]], "open": [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]},
    {"texts": [[6, 2, 8, 4, 9, 0], [6, 3, 1, 8, 4, 9, 0]], "open": [[1], [1, 2]]},
    {"texts": [[5, 5, 2], [5, 2], [0, 9, 9, 1]], "open": [[0, 1, 2], [0, 1], [0, 1, 2, 3]]},
]


def tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    out = {}
    for name, about in header.items():
        if name.startswith("parameter."):
            start, end = about["data_offsets"]
            out[name.removeprefix("parameter.")] = numpy.frombuffer(body[start:end]).reshape(about["shape"])
    return out


def norm(x, weight):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def turned(x):
    """Rotary positions of `[T, heads, E]`."""
    half = SIZE // 2
    angle = numpy.arange(len(x))[:, None, None] * 10000.0 ** (-2 * numpy.arange(half) / SIZE)
    a, b = x[..., :half], x[..., half:]
    return numpy.concatenate([a * numpy.cos(angle) - b * numpy.sin(angle), a * numpy.sin(angle) + b * numpy.cos(angle)], -1)


def softmax(x):
    x = numpy.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def costs(w, tokens):
    """-log p of every token at every position, the mask never predicted."""
    x = w["model.embed_tokens.weight"][tokens]
    for layer in range(2):
        p = f"model.layers.{layer}."
        h = norm(x, w[p + "input_layernorm.weight"])
        q, k, v = ((h @ w[f"{p}self_attn.{name}_proj.weight"].T).reshape(-1, HEADS, SIZE) for name in "qkv")
        weights = softmax(numpy.einsum("ihe,jhe->hij", turned(q), turned(k)) / SIZE**0.5)
        x = x + numpy.einsum("hij,jhe->ihe", weights, v).reshape(len(x), -1) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, w[p + "post_attention_layernorm.weight"])
        gate, up = (h @ w[f"{p}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (gate / (1 + numpy.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
    logits = norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
    logits[:, MASK] = -numpy.inf
    high = logits.max(-1, keepdims=True)
    return high + numpy.log(numpy.exp(logits - high).sum(-1, keepdims=True)) - logits


def bound(w, text, positions):
    """E over n uniform on 1..L and over sets of n of the L open positions: L/n Σ −log p."""
    total, length = 0.0, len(positions)
    for count in range(1, length + 1):
        sets = list(itertools.combinations(positions, count))
        for hidden in sets:
            tokens = numpy.array(text)
            tokens[list(hidden)] = MASK
            nats = costs(w, tokens)
            total += length / count * sum(nats[i, text[i]] for i in hidden) / len(sets) / length
    return total


w = tensors(HERE.parent / "plain" / "fixture.safetensors")
cases = [{**case, "nats": [bound(w, *one) for one in zip(case["texts"], case["open"])]} for case in CASES]
about = f"numpy {numpy.__version__}, Python 3.11.7, parameters of golden/plain"
body = ",\n".join("  " + json.dumps(case) for case in cases)
(HERE / "pairs.json").write_text(f'{{\n "about": "{about}",\n "cases": [\n{body}\n ]\n}}\n', encoding="utf-8")
