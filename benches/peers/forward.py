"""Time one forward pass of a peer: PyTorch, with the logits of all positions.

Run with:  python benches/peers/forward.py --network llada-31m --precision bf16 --threads 1 --length 128 --repeat 10
On a GPU: --device cuda --compile --network shape-8b --precision bf16 --batch 16 --length 1024
Needs PyPI's torch. Prints one line of JSON; `rows_of_logits` says for how many positions the head was computed.
"""

import argparse

import torch

from network import add_arguments, milliseconds, prepare, report


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser, "llada-31m", batch=1, length=128, repeat=10)
    arguments = parser.parse_args()
    network, autocast = prepare(arguments, arguments.length)
    run = torch.compile(network) if arguments.compile else network
    tokens = torch.randint(0, network.config["vocab_size"], (arguments.batch, arguments.length), device=arguments.device)

    def forward():
        with torch.inference_mode(), autocast:
            return run(tokens)

    times = milliseconds(arguments.repeat, forward)
    rows = forward().shape[:-1].numel()
    report(arguments, times, work="forward", batch=arguments.batch, length=arguments.length, rows_of_logits=rows)


if __name__ == "__main__":
    main()
