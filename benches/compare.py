"""Compare Aquatint with its peers on this machine: the same work, by turns, in one session.

Run with:  python benches/compare.py --peers PYTHON --llama-cpp FOLDER --rounds 5
Needs the program (`cargo build --release`). PYTHON is an interpreter with PyPI's torch; FOLDER is what
`peers/llama_cpp.sh` filled. A peer that is missing is left out, and a line says so. `--only` runs some of the works.

`--earlier PROGRAM` adds an earlier build of Aquatint to every work, which shows whether a change costs time.

Every contender runs in a process of its own, once in each round, so that what else the machine does hits all alike.
Medians are over all repetitions of all rounds. A ratio is the contender's time over ours: above 1, ours is faster.
Prints the tables, and writes them with every single time and a description of the machine to benches/results/.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROMPT, TOKENS, BLOCK, STEPS = 32, 96, 32, 4


class Contender:
    """One way to do a work: a command that prints JSON, and what it measured so far."""

    def __init__(self, name, precision, command, read):
        self.name, self.precision, self.command, self.read = name, precision, command, read
        self.times, self.peaks, self.last, self.troubles = [], [], {}, []

    @property
    def is_ours(self):
        return self.name.startswith("aquatint")

    def by(self, program):
        """The same work by an earlier build of the program."""
        return Contender(f"earlier {self.name}", self.precision, [program, *self.command[1:]], self.read)

    @property
    def label(self):
        return f"{self.name} {self.precision}"

    def run(self, environment):
        # Once may be chance; who fails twice would fail in each round.
        if len(self.troubles) > 1:
            return
        try:
            done = subprocess.run(self.command, capture_output=True, text=True, env=environment, timeout=1800)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.troubles.append(str(error))
            return
        if done.returncode:
            self.troubles.append((done.stderr.strip() or "no reason given").splitlines()[-1])
            return
        self.last = self.read(json.loads(done.stdout.strip().splitlines()[-1]))
        self.times += self.last["times_ms"]
        if self.last["peak_mib"]:
            self.peaks.append(self.last["peak_mib"])

    def result(self):
        found = {key: value for key, value in self.last.items() if key not in ("times_ms", "peak_mib")}
        memory = statistics.median(self.peaks) if self.peaks else None
        return dict(name=self.name, precision=self.precision, median_ms=statistics.median(self.times),
                    best_ms=min(self.times), peak_mib=memory, times_ms=self.times) | found


def read_ours(told):
    """What `aquatint bench --format json` prints, as the peers say it."""
    row, work = told["results"][0], told["work"]
    generation = row["generation"]
    time = generation["time"] if generation else row["time"]
    found = dict(times_ms=time["times_ms"], rows_of_logits=work["rows"], version=told["version"],
                 peak_mib=row["peak_memory_bytes"] and row["peak_memory_bytes"] / 2**20)
    if generation:
        return found | dict(tokens=generation["tokens"], forward_passes=generation["forward_passes"])
    return found | dict(operations=work["operations"], peak_gflops=row["peak_gflops"])


def read_peer(told):
    keys = ("times_ms", "rows_of_logits", "version", "peak_mib", "tokens", "forward_passes")
    return {key: told[key] for key in keys if key in told}


class Session:
    """Which programs there are and how they are asked."""

    def __init__(self, a):
        self.a = a

    def ours(self, network, precision, threads, *more, name="aquatint"):
        command = [self.a.program, "bench", "--config", HERE / "networks" / f"{network}.json", "--precision", precision,
                   "--threads", str(threads), "--repeat", str(self.a.repeat), "--format", "json", *more]
        return Contender(name, precision, command, read_ours)

    def torch(self, script, network, precision, threads, *more, name="torch"):
        command = [self.a.peers, HERE / "peers" / script, "--network", network, "--precision", precision, "--threads",
                   str(threads), "--repeat", str(self.a.repeat), *more]
        plain = [Contender(name, precision, command, read_peer)]
        compiled = [Contender(f"{name} compiled", precision, [*command, "--compile"], read_peer)]
        return plain + compiled * self.a.compile if self.a.peers else []

    def llama(self, precision, threads):
        # Its canvas is filled block after block, so the steps are a multiple of the four blocks.
        steps = 4 * max(1, self.a.repeat // 4)
        command = [self.a.peers or sys.executable, HERE / "peers" / "llama_cpp.py", self.a.llama_cpp, "--precision",
                   precision, "--threads", str(threads), "--steps", str(steps)]
        return [Contender("llama.cpp", precision, command, read_peer)] if self.a.llama_cpp else []

    # The works, each a title and its contenders -----------------------------------------------------------------

    def forward_llada(self, threads):
        contenders = [self.ours("llada-31m", precision, threads, "--length", "128") for precision in self.a.precisions]
        for precision in ("f32", "bf16-autocast", "bf16"):
            contenders += self.torch("forward.py", "llada-31m", precision, threads, "--length", "128")
        for precision in ("f32", "q8_0"):
            contenders += self.llama(precision, threads)
        return "forward, LLaDA-shaped 31.5 M, 128 positions", contenders

    def forward_width(self, threads):
        shape = ("--batch", "8", "--length", "256")
        contenders = [self.ours("width-512", precision, threads, *shape) for precision in self.a.precisions]
        for precision in ("f32", "bf16-autocast", "bf16"):
            contenders += self.torch("forward.py", "width-512", precision, threads, *shape)
        return "forward, d512 L8 SwiGLU-1408 V8192, 8 x 256", contenders

    def train(self, threads):
        shape = ("--batch", "8", "--length", "256")
        learning = [precision for precision in self.a.precisions if precision in ("f32", "bf16")]
        contenders = [self.ours("width-512", precision, threads, *shape, "--train") for precision in learning]
        for precision in ("f32", "bf16-autocast"):
            contenders += self.torch("train_step.py", "width-512", precision, threads, *shape)
        return "training step, d512 L8 SwiGLU-1408 V8192, 8 x 256, half of the positions masked", contenders

    def generate(self, threads):
        ask = ("--steps", str(STEPS), "--block-length", str(BLOCK))
        # Ways to write with fewer computed rows are contenders of their own here: another name, more flags.
        contenders = [self.ours("llada-31m", precision, threads, "--length", str(PROMPT + TOKENS), "--generate",
                                str(TOKENS), *ask, *more, name=name) for precision in self.a.precisions
                      for name, more in (("aquatint, no cache", ()), ("aquatint, dual cache", ("--cache", "dual")))]
        for precision in ("f32", "bf16"):
            for cache in ("none", "dual"):
                more = ("--prompt", str(PROMPT), "--tokens", str(TOKENS), "--cache", cache, *ask)
                name = "torch, no cache" if cache == "none" else "torch, dual cache"
                contenders += self.torch("generate.py", "llada-31m", precision, threads, *more, name=name)
        steps = STEPS * TOKENS // BLOCK
        return f"generation, LLaDA-shaped 31.5 M, {TOKENS} tokens, {steps} steps, block {BLOCK}", contenders


WORKS = {"forward-llada": Session.forward_llada, "forward-width": Session.forward_width, "train": Session.train,
         "generate": Session.generate}


def table(title, threads, results):
    """Markdown: a row for each contender, a ratio for each precision of ours."""
    own = [result for result in results if result["name"].startswith("aquatint")]
    operations = next((result["operations"] for result in own if "operations" in result), None)
    writes = any("tokens" in result for result in results)
    columns = ["contender", "precision", "rows of logits", "median ms", "best ms"]
    columns += ["tokens/s", "passes"] * writes + ["GFLOP/s", "of peak"] * (not writes) + ["peak MiB"]
    columns += [f"/ {ours['name']} {ours['precision']}" for ours in own]
    lines = [f"### {title}, {threads} thread{'s' * (threads > 1)}", "", "| " + " | ".join(columns) + " |",
             "|---|---|" + "---:|" * (len(columns) - 2)]
    for result in results:
        median = result["median_ms"]
        cells = [result["name"], result["precision"], "at each pass" if writes else result["rows_of_logits"],
                 f"{median:.1f}", f"{result['best_ms']:.1f}"]
        if writes:
            cells += [f"{1e3 * result['tokens'] / median:.1f}", result["forward_passes"]]
        else:
            speed = operations / median / 1e6 if operations else None
            peak = result.get("peak_gflops")
            cells += [f"{speed:.0f}" if speed else "-", f"{100 * speed / peak:.0f} %" if speed and peak else "-"]
        cells.append(f"{result['peak_mib']:.0f}" if result["peak_mib"] else "-")
        cells += [f"{median / ours['median_ms']:.2f}" for ours in own]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    except OSError:
        return None
    return (done.stdout or done.stderr).strip().split("\n")[0] or None if done.returncode == 0 else None


def machine(arguments):
    """What the figures depend on besides the programs."""
    cpu = {}
    try:
        told = subprocess.run(["lscpu"], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}).stdout
        cpu = {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in told.splitlines() if ":" in line)}
    except OSError:
        pass
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    system = re.search(r'PRETTY_NAME="?([^"\n]+)', read("/etc/os-release"))
    commit = first_line("git", "rev-parse", "HEAD")
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": cpu.get("Model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "caches": {key: cpu[key] for key in ("L1d cache", "L2 cache", "L3 cache") if key in cpu},
        "vector instructions": [flag for flag in cpu.get("Flags", "").split() if flag.startswith(("avx", "amx", "fma"))],
        "memory GiB": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": f"{system[1] if system else platform.system()}, {platform.release()}",
        "load at the start": os.getloadavg()[0],
        "commit": f"{commit}{' with changes' if changed else ''}",
        "rustc": first_line("rustc", "--version"),
        "C compiler of llama.cpp": first_line("cc", "--version"),
        "python of the peers": first_line(arguments.peers, "--version") if arguments.peers else None,
        "rounds": arguments.rounds,
        "repetitions in a round": arguments.repeat,
    }


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=HERE.parent / "target" / "release" / "aquatint", type=pathlib.Path)
    parser.add_argument("--earlier", type=pathlib.Path, help="an earlier build of the program")
    parser.add_argument("--peers", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--compile", action="store_true", help="also run torch through torch.compile")
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="the folder that peers/llama_cpp.sh filled")
    parser.add_argument("--precisions", default="f32,bf16,int8,int4", type=lambda text: text.split(","), help="ours")
    parser.add_argument("--threads", default="1,2", type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--only", default=list(WORKS), type=lambda text: text.split(","), help=", ".join(WORKS))
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(WORKS):
        parser.error(f"no work is called {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    if not arguments.program.is_file():
        parser.error(f"{arguments.program} is not there; build it with: cargo build --release")
    if first_line(arguments.peers, "-c", "import torch; print(torch.__version__)") is None:
        print(f"left out: torch, which {arguments.peers} does not have")
        arguments.peers = None
    models = arguments.llama_cpp and list(arguments.llama_cpp.glob("llada-31m-*.gguf"))
    if not models:
        print("left out: llama.cpp; benches/peers/llama_cpp.sh FOLDER brings it, --llama-cpp FOLDER says where it is")
        arguments.llama_cpp = None
    return arguments


def main():
    arguments = parse()
    description = machine(arguments)
    session, works, tables = Session(arguments), [], []
    for threads in arguments.threads:
        # OpenMP would take every processor for what torch does not ask it about.
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        for name in arguments.only:
            title, contenders = WORKS[name](session, threads)
            if arguments.earlier:
                contenders += [contender.by(arguments.earlier) for contender in contenders if contender.is_ours]
            for turn in range(arguments.rounds):
                for contender in contenders:
                    progress(f"{title}, {threads}: round {turn + 1}, {contender.label}")
                    contender.run(environment)
            progress("")
            for contender in contenders:
                for trouble in contender.troubles:
                    print(f"{'failed in a round' if contender.times else 'left out'}: {contender.label} in {title}: {trouble}")
            results = [contender.result() for contender in contenders if contender.times]
            works.append(dict(work=name, title=title, threads=threads, results=results))
            tables.append(table(title, threads, results))
            print(tables[-1])
    description["peers"] = sorted({f"{result['name'].split(',')[0]} {result['version']}" for work in works
                                   for result in work["results"]})
    write(arguments.out, description, works, tables)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def write(folder, description, works, tables):
    processor = re.sub(r"[^a-z0-9]+", "-", description["processor"].lower()).strip("-")
    path = folder / f"{description['date']}-{processor}"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(machine=description, works=works), indent=1)
    # Lists of numbers stay on one line.
    text = re.sub(r"\[\s+([-\d.,e\s]+?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)
    path.with_suffix(".json").write_text(text + "\n")
    lines = [f"- {key}: {json.dumps(value) if isinstance(value, (dict, list)) else value}"
             for key, value in description.items()]
    ratio = "A ratio is the contender's median time over ours: above 1, ours is faster."
    path.with_suffix(".md").write_text("\n".join([f"# {path.name}", "", *lines, "", ratio, "", *tables]))
    print(f"written to {path}.json and .md")


if __name__ == "__main__":
    main()
