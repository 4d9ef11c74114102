"""Compare Aquatint with llama.cpp on networks of real shapes: the same GGUF file, one canvas, by turns, in one session.

Run with:  python benches/canvas.py --llama-cpp FOLDER --rounds 3 --threads 2
Needs the program (`cargo build --release`), the FOLDER that `peers/llama_cpp.sh` filled, and PyPI's gguf and numpy. Files
with random weights are made in `--files` by `peers/random_gguf.py` where they are not there, and removed again unless
`--keep` is given: 5 GB for llada-8b in q4_k_m, 9 GB in q8_0.

Two works for each file:
- forward: one pass over a canvas of `--length` with the logits of all positions. Ours is `aquatint bench` in int4 beside
  q4_k_m and int8 beside q8_0; it takes the numbers of the file into its own format first.
- generation: half of the canvas is filled, block by block, in as many steps on both sides. Ours keeps keys and values
  between the steps of a block (`--cache dual`), llama.cpp reads the whole canvas at each step, so that its time is that of
  its passes.

Prints the tables, and writes them with every single time and a description of the machine to benches/results/.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from compare import HERE, Contender, first_line, machine, read_ours, read_peer, table

PRECISIONS = {"q4_k_m": "int4", "q8_0": "int8"}
BLOCK, STEPS = 32, 8


def model(arguments, network, kind):
    """The file, which is made if it is not there; and whether it was."""
    path = arguments.files / f"{network}-{kind}.gguf"
    if path.exists():
        return path, False
    arguments.files.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    subprocess.run([sys.executable, HERE / "peers" / "random_gguf.py", network, part, "--type", kind], check=True)
    part.rename(path)
    return path, True


def contenders(arguments, path, kind, threads):
    length, filled = arguments.length, arguments.length // 2
    steps = filled // BLOCK * STEPS
    common = [arguments.program, "bench", path, "--precision", PRECISIONS[kind], "--threads", str(threads), "--length",
              str(length), "--repeat", str(arguments.repeat), "--format", "json", "--device", "cpu"]
    # One block: each step is a pass over the whole canvas.
    theirs = [sys.executable, HERE / "peers" / "llama_cpp.py", arguments.llama_cpp, "--model", path, "--precision", kind,
              "--threads", str(threads), "--length", str(length), "--block-length", str(length), "--steps",
              str(arguments.repeat)]

    def generation(told):
        """What their passes take for the steps of ours."""
        return read_peer(told) | dict(times_ms=[steps * told["step_ms"]], tokens=filled, forward_passes=steps)

    ask = ("--generate", str(filled), "--steps", str(STEPS), "--block-length", str(BLOCK))
    return {
        "forward": [Contender("aquatint", PRECISIONS[kind], common, read_ours),
                    Contender("llama.cpp", kind, theirs, read_peer)],
        "generation": [Contender("aquatint, dual cache", PRECISIONS[kind], [*common, *ask, "--cache", "dual"], read_ours),
                       Contender("llama.cpp", kind, theirs, generation)],
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def listed(text):
        return text.split(",")

    parser.add_argument("--program", default=HERE.parent / "target" / "release" / "aquatint", type=pathlib.Path)
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True, help="the folder that peers/llama_cpp.sh filled")
    parser.add_argument("--files", type=pathlib.Path, default=pathlib.Path("/tmp/shapes"), help="where GGUF files lie")
    parser.add_argument("--networks", default=["llada-8b", "dream-7b"], type=listed)
    parser.add_argument("--types", default=list(PRECISIONS), type=listed)
    parser.add_argument("--works", default=["forward", "generation"], type=listed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="passes of each contender in a round")
    parser.add_argument("--keep", action="store_true", help="leave the files that were made")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results")
    arguments = parser.parse_args()
    arguments.peers = None
    if unknown := set(arguments.types) - set(PRECISIONS):
        parser.error(f"no type is called {', '.join(sorted(unknown))}; there are {', '.join(PRECISIONS)}")
    if not arguments.program.is_file():
        parser.error(f"{arguments.program} is not there; build it with: cargo build --release")
    return arguments


def main():
    arguments = parse()
    description, works, tables = machine(arguments), [], []
    for network in arguments.networks:
        for kind in arguments.types:
            path, made = model(arguments, network, kind)
            for work, group in contenders(arguments, path, kind, arguments.threads).items():
                if work not in arguments.works:
                    continue
                for turn in range(arguments.rounds):
                    for contender in group:
                        print(f"{path.name}, {work}, round {turn + 1}: {contender.label}", file=sys.stderr, flush=True)
                        contender.run(None)
                for contender in group:
                    if contender.troubles:
                        print(f"{contender.label}: {contender.troubles[-1]}")
                results = [contender.result() for contender in group if contender.times]
                title = f"{work}, {network} as {kind}, one canvas of {arguments.length}"
                works.append(dict(title=title, threads=arguments.threads, results=results))
                if results:
                    tables.append(table(title, arguments.threads, results))
                    print(tables[-1], flush=True)
            if made and not arguments.keep:
                path.unlink()
    stem = f"{description['date']}-canvas"
    arguments.out.mkdir(parents=True, exist_ok=True)
    version = first_line(arguments.program, "--version")
    told = dict(machine=description | dict(program=version), works=works)
    (arguments.out / f"{stem}.json").write_text(json.dumps(told, indent=1) + "\n")
    about = "\n".join(f"- {key}: {value}" for key, value in told["machine"].items())
    (arguments.out / f"{stem}.md").write_text(f"# One canvas beside llama.cpp\n\n{about}\n\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
