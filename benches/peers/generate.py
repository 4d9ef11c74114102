"""Time block diffusion decoding of a peer: PyTorch on the CPU, vanilla or with Fast-dLLM's dual cache.

Run with:  python benches/peers/generate.py --network llada-31m --precision bf16 --cache dual --threads 1 \
               --prompt 32 --tokens 96 --block-length 32 --steps 4 --repeat 3
Needs PyPI's torch. Prints one line of JSON.

LLaDA's decoding (2502.09992, low-confidence remasking, greedy): blocks from left to right; each step commits the most
confident of the block's masked positions, as many as its share of the steps. Vanilla computes every position at each
step. The dual cache (Fast-dLLM, 2505.22618, section 3.2) does so at each block's first step and keeps the keys and
values of all positions, before and after the block; the steps that follow compute the block alone and replace its
keys and values in place. Written here from the description.
"""

import argparse
import statistics

import torch

from network import Cache, add_arguments, milliseconds, prepare, report


def decode(network, arguments, prompt, forward):
    """Fills the open positions; returns the canvas and the number of forward passes."""
    mask, block = network.config["mask_token_id"], arguments.block_length
    canvas = torch.full((1, arguments.prompt + arguments.tokens), mask)
    canvas[:, :arguments.prompt] = prompt
    passes = 0
    for start in range(arguments.prompt, canvas.shape[1], block):
        cache = Cache(len(network.layers)) if arguments.cache == "dual" else None
        inside = slice(start, start + block)
        for step in range(arguments.steps):
            if step == 0 or cache is None:
                logits = forward(canvas, cache)[:, inside]
            else:
                cache.start = start
                logits = forward(canvas[:, inside], cache)
            passes += 1
            logits = logits.float()
            logits[:, :, mask] = -torch.inf
            confidence, best = logits.softmax(-1).max(-1)
            open_positions = canvas[:, inside] == mask
            count = -(-int(open_positions.sum()) // (arguments.steps - step))
            chosen = confidence.masked_fill(~open_positions, -1.0).topk(count).indices
            canvas[:, inside] = canvas[:, inside].scatter(1, chosen, best.gather(1, chosen))
    assert not (canvas == mask).any(), "a position was left open"
    return canvas, passes


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser, "llada-31m", prompt=32, tokens=96, block_length=32, steps=4, repeat=3)
    parser.add_argument("--cache", choices=("none", "dual"), default="none")
    arguments = parser.parse_args()
    if arguments.tokens % arguments.block_length:
        parser.error("--tokens has to be a multiple of --block-length")
    network, autocast = prepare(arguments, arguments.prompt + arguments.tokens)
    run = torch.compile(network, dynamic=False) if arguments.compile else network
    prompt = torch.randint(0, network.config["mask_token_id"], (1, arguments.prompt))
    passes = 0

    def work():
        nonlocal passes
        with torch.inference_mode(), autocast:
            passes = decode(network, arguments, prompt, run)[1]

    times = milliseconds(arguments.repeat, work)
    median = statistics.median(times)
    report(arguments, times, work="generate", cache=arguments.cache, tokens=arguments.tokens, forward_passes=passes,
           ms_per_forward=median / passes, tokens_per_s=1e3 * arguments.tokens / median)


if __name__ == "__main__":
    main()
