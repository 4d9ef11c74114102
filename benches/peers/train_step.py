"""Time one training step of a peer: PyTorch on the CPU, on the network and the batch that Aquatint is measured on.

Run with:  python benches/peers/train_step.py --dtype f32 --threads 2 --width 512 --layers 8 --heads 8 \
               --feed-forward 1408 --vocabulary 8192 --batch 8 --length 256 --steps 5
Needs PyPI's torch. Prints one line: milliseconds (best and median), tokens per second, peak memory.

The step: masked diffusion with half of the positions masked, the head only at masked rows (as we do), cross-entropy
weighted by 1/t, backward, clipping by global norm, fused AdamW.
"""

import argparse
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    """Pre-norm attention with RoPE and QK-norm, then SwiGLU: the native family's block."""

    def __init__(self, width, heads, feed_forward):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.query_norm, self.key_norm = nn.RMSNorm(self.size, eps=1e-6), nn.RMSNorm(self.size, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, cosine, sine):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, self.size).unbind(2)
        q, k = (rotate(norm(z), cosine, sine) for norm, z in ((self.query_norm, q), (self.key_norm, k)))
        y = F.scaled_dot_product_attention(*(z.transpose(1, 2) for z in (q, k, v)))
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), -1)


class Network(nn.Module):
    """Embedding, layers, final norm; the tied head is applied by the caller at the rows that it wants."""

    def __init__(self, a):
        super().__init__()
        self.embedding = nn.Embedding(a.vocabulary, a.width)
        self.layers = nn.ModuleList(Layer(a.width, a.heads, a.feed_forward) for _ in range(a.layers))
        self.norm = nn.RMSNorm(a.width, eps=1e-6)
        half = a.width // a.heads // 2
        angle = torch.arange(a.length)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos()[None, :, None])
        self.register_buffer("sine", angle.sin()[None, :, None])

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cosine, self.sine)
        return self.norm(x)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    for name, value in dict(threads=2, width=512, layers=8, heads=8, feed_forward=1408, vocabulary=8192, batch=8,
                            length=256, steps=5).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    network = Network(a)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(1, a.vocabulary, (a.batch, a.length))
    masked = torch.rand(a.batch, a.length) < 0.5
    noisy = tokens.masked_fill(masked, 0)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=a.dtype == "bf16"):
            hidden = network(noisy)[masked]
            loss = F.cross_entropy(F.linear(hidden, network.embedding.weight).float(), tokens[masked])
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    step()
    seconds = []
    for _ in range(a.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"torch {torch.__version__} {a.dtype} threads={a.threads} best_ms={1e3 * min(seconds):.1f} "
          f"median_ms={1e3 * median:.1f} tokens_per_s={a.batch * a.length / median:.0f} peak_mib={memory:.0f}")


if __name__ == "__main__":
    main()
