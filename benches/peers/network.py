"""The transformer that Aquatint is measured on, as people write it in PyTorch: what the other scripts here share.

A network is named by a file of `benches/networks/`, the very file that `aquatint bench --config` reads, so that both
sides compute the same shape. Weights are random. Needs PyPI's torch.
"""

import json
import pathlib
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

NETWORKS = pathlib.Path(__file__).parent.parent / "networks"
STANDARD_DEVIATION = 0.02


class Cache:
    """Keys and values of every position, for each layer `[B, H, L, E]`, as Fast-dLLM's dual cache keeps them."""

    def __init__(self, layers):
        self.layers = [None] * layers
        self.start = None

    def update(self, layer, keys, values):
        """Keeps what a full pass computed, or replaces the block's share in place; returns what is attended to."""
        if self.start is None:
            self.layers[layer] = (keys, values)
        else:
            kept = self.layers[layer]
            for old, new in zip(kept, (keys, values)):
                old[:, :, self.start:self.start + new.shape[2]] = new
        return self.layers[layer]


class Layer(nn.Module):
    """Pre-norm attention with RoPE, with or without QK-norm, then SwiGLU."""

    def __init__(self, config):
        super().__init__()
        width, feed_forward, epsilon = config["hidden_size"], config["intermediate_size"], config["rms_norm_eps"]
        self.heads, self.size = config["num_attention_heads"], config["head_dim"]
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width, eps=epsilon), nn.RMSNorm(width, eps=epsilon)
        self.head_norms = None
        if config["qk_norm"]:
            self.head_norms = nn.ModuleList(nn.RMSNorm(self.size, eps=epsilon) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * self.heads * self.size, bias=False)
        self.out = nn.Linear(self.heads * self.size, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, rotation, keep=None):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, self.size).unbind(2)
        if self.head_norms is not None:
            q, k = (norm(z.to(norm.weight.dtype)) for norm, z in zip(self.head_norms, (q, k)))
        q, k, v = (z.to(v.dtype).transpose(1, 2) for z in (rotate(q, rotation), rotate(k, rotation), v))
        if keep is not None:
            k, v = keep(k, v)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, -1))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, rotation):
    """Turns pairs `i` and `i + E/2`; the factors are cast to the type of `x`, which is the faster way for bf16."""
    cosine, sine = (factor.to(x.dtype) for factor in rotation)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), -1)


class Network(nn.Module):
    """Embedding, layers, final norm and head. `hidden` leaves the head to the caller."""

    def __init__(self, config, length):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        self.head = None
        if not config["tie_word_embeddings"]:
            self.head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=STANDARD_DEVIATION)
        half = config["head_dim"] // 2
        angle = torch.arange(length)[:, None] * config["rope_theta"] ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos()[None, :, None], persistent=False)
        self.register_buffer("sine", angle.sin()[None, :, None], persistent=False)

    def hidden(self, tokens, cache=None):
        start = 0 if cache is None or cache.start is None else cache.start
        rotation = tuple(factor[:, start:start + tokens.shape[1]] for factor in (self.cosine, self.sine))
        x = self.embedding(tokens)
        for index, layer in enumerate(self.layers):
            keep = None if cache is None else lambda k, v, index=index: cache.update(index, k, v)
            x = layer(x, rotation, keep)
        return self.norm(x)

    def head_weight(self):
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, tokens, cache=None):
        """Logits `[B, L, V]` of every position that `tokens` holds."""
        return F.linear(self.hidden(tokens, cache), self.head_weight())


def add_arguments(parser, network, **numbers):
    """The flags that every script here takes, and numbers of its own."""
    parser.add_argument("--network", default=network, help="a file of benches/networks, without its ending")
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    parser.add_argument("--compile", action="store_true", help="through torch.compile, which needs a C++ compiler")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    for name, value in numbers.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)


# f32 weights; f32 weights with products in bf16; bf16 weights.
PRECISIONS = ("f32", "bf16-autocast", "bf16")


def prepare(arguments, length):
    """The network that the arguments ask for, and the context in which its forward runs."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = json.loads((NETWORKS / f"{arguments.network}.json").read_text())
    network = Network(config, length)
    if arguments.precision == "bf16":
        network = network.to(torch.bfloat16)
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.precision == "bf16-autocast")
    return network.to(arguments.device), autocast


def wait():
    """A GPU is asked and not waited for: what is timed has to wait."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(repeat, work):
    """Times of `repeat` runs, after one that does not count."""
    work()
    wait()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def report(arguments, times, **figures):
    """Prints one line of JSON."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if arguments.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    name = "torch compiled" if arguments.compile else "torch"
    line = dict(peer=name, version=torch.__version__, network=arguments.network, precision=arguments.precision,
                threads=arguments.threads, device=arguments.device, median_ms=statistics.median(times), best_ms=min(times), times_ms=times,
                peak_mib=peak)
    print(json.dumps(line | figures))
