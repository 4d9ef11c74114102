"""Time one forward pass of a peer: llama.cpp's diffusion example, with the logits of all positions.

Run with:  python benches/peers/llama_cpp.py FOLDER --precision q8_0 --threads 1 --length 128 --steps 16
FOLDER is the one that `llama_cpp.sh` filled. Prints one line of JSON.

The canvas is as long as `--length`, prompt included, and each step reads all of it and computes all its logits. The
example tells the time per step and the part of it that went into sampling; the difference is the forward pass.
"""

import argparse
import json
import pathlib
import re
import resource
import subprocess
import sys

VERSION = "0.3.36"
TIMES = re.compile(r"time per step: ([\d.]+)ms, sampling time per step: ([\d.]+)ms")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--precision", choices=("f32", "q8_0"), default="q8_0")
    for name, value in dict(threads=1, length=128, block_length=32, steps=16).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    arguments = parser.parse_args()
    length = str(arguments.length)
    program = arguments.folder / f"llama_cpp_python-{VERSION}/vendor/llama.cpp/build/bin/llama-diffusion-cli"
    command = [program, "-m", arguments.folder / f"llada-31m-{arguments.precision}.gguf", "-p", "the quick brown fox",
               "-ub", length, "-b", length, "-c", length, "--diffusion-block-length", str(arguments.block_length),
               # Its temperature 0 is not greedy; taking the best of one is.
               "--diffusion-steps", str(arguments.steps), "--temp", "0", "--top-k", "1", "--seed", "1",
               "-t", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    found = TIMES.search(done.stdout + done.stderr)
    if done.returncode or found is None:
        # It draws its progress with carriage returns; its last words are one line here.
        words = (done.stdout + done.stderr)[-500:].split()
        sys.exit(f"{program.name} ended with {done.returncode} and told no times: {' '.join(words)}")
    step, sampling = (float(figure) for figure in found.groups())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    forward = step - sampling
    print(json.dumps(dict(
        peer="llama.cpp", version=f"llama-cpp-python {VERSION}", network="llada-31m", precision=arguments.precision,
        threads=arguments.threads, median_ms=forward, best_ms=forward, times_ms=[forward], peak_mib=peak,
        work="forward", batch=1, length=arguments.length, rows_of_logits=arguments.length, step_ms=step,
        steps=arguments.steps)))


if __name__ == "__main__":
    main()
