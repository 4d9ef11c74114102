"""Time one training step of a peer: PyTorch, on the network and the batch that Aquatint is measured on.

Run with:  python benches/peers/train_step.py --network width-512 --precision bf16-autocast --threads 2 \
               --batch 8 --length 256 --repeat 5
On a GPU: --device cuda --compile --network shape-150m --precision bf16-autocast --batch 16 --length 1024
Needs PyPI's torch. Prints one line of JSON.

The step: masked diffusion with half of the positions masked, the head only at masked rows (as we do), cross-entropy,
backward, clipping by global norm, fused AdamW.
"""

import argparse
import statistics

import torch
import torch.nn.functional as F
from torch import nn

from network import add_arguments, milliseconds, prepare, report


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser, "width-512", batch=8, length=256, repeat=5)
    arguments = parser.parse_args()
    network, autocast = prepare(arguments, arguments.length)
    hidden = torch.compile(network.hidden) if arguments.compile else network.hidden
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    mask = network.config["mask_token_id"]
    tokens = torch.randint(0, mask, (arguments.batch, arguments.length), device=arguments.device)
    masked = torch.rand(arguments.batch, arguments.length, device=arguments.device) < 0.5
    noisy = tokens.masked_fill(masked, mask)

    def step():
        with autocast:
            logits = F.linear(hidden(noisy)[masked], network.head_weight())
            loss = F.cross_entropy(logits.float(), tokens[masked])
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    times = milliseconds(arguments.repeat, step)
    rows = arguments.batch * arguments.length
    report(arguments, times, work="train step", batch=arguments.batch, length=arguments.length,
           rows_of_logits=int(masked.sum()), tokens_per_s=1e3 * rows / statistics.median(times))


if __name__ == "__main__":
    main()
