"""Time one forward pass of a peer: llama.cpp's diffusion example, with the logits of all positions.

Run with:  python benches/peers/llama_cpp.py FOLDER --precision q8_0 --threads 1 --length 128 --steps 16
FOLDER is the one that `llama_cpp.sh` filled. Prints one line of JSON. `--model FILE.gguf` measures another network than
llada-31m, such as one that `random_gguf.py` wrote.

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
# When a step began, by the clock of its log: minutes, seconds, milliseconds, microseconds.
BEGUN = re.compile(r"(\d+)\.(\d+)\.(\d+)\.(\d+) I\s*diffusion step: (\d+)/")
TIMES = re.compile(r"time per step: ([\d.]+)ms, sampling time per step: ([\d.]+)ms")


def step_times(words):
    """The time of a step and of the sampling in it, in ms. The program sometimes ends before it tells them; then its log
    says when each step began, and sampling is not told apart."""
    found = TIMES.search(words)
    if found is not None:
        return tuple(float(figure) for figure in found.groups())
    begun = [6e4 * int(m) + 1e3 * int(s) + int(ms) + int(us) / 1e3 for m, s, ms, us, _ in BEGUN.findall(words)]
    return ((begun[-1] - begun[0]) / (len(begun) - 1), 0.0) if len(begun) > 1 else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--precision", default="q8_0")
    parser.add_argument("--model", type=pathlib.Path, help="a GGUF file [default: llada-31m in the precision]")
    for name, value in dict(threads=1, length=128, block_length=32, steps=16).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    arguments = parser.parse_args()
    length = str(arguments.length)
    program = arguments.folder / f"llama_cpp_python-{VERSION}/vendor/llama.cpp/build/bin/llama-diffusion-cli"
    model = arguments.model or arguments.folder / f"llada-31m-{arguments.precision}.gguf"
    command = [program, "-m", model, "-p", "the quick brown fox",
               "-ub", length, "-b", length, "-c", length, "--diffusion-block-length", str(arguments.block_length),
               # Its temperature 0 is not greedy; taking the best of one is.
               "--diffusion-steps", str(arguments.steps), "--temp", "0", "--top-k", "1", "--seed", "1",
               "-t", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    found = step_times(done.stdout + done.stderr)
    if done.returncode or found is None:
        # It draws its progress with carriage returns; its last words are one line here.
        words = (done.stdout + done.stderr)[-500:].split()
        sys.exit(f"{program.name} ended with {done.returncode} and told no times: {' '.join(words)}")
    step, sampling = found
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    forward = step - sampling
    print(json.dumps(dict(
        peer="llama.cpp", version=f"llama-cpp-python {VERSION}", network=model.stem, precision=arguments.precision,
        threads=arguments.threads, median_ms=forward, best_ms=forward, times_ms=[forward], peak_mib=peak,
        work="forward", batch=1, length=arguments.length, rows_of_logits=arguments.length, step_ms=step,
        steps=arguments.steps)))


if __name__ == "__main__":
    main()
