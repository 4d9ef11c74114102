"""Measure how far a model of molecules with properties in front writes what is asked for, and predicts properties of molecules.

Run with:  python benches/science/properties.py --model FOLDER --molsets WHEEL [--count 100] [--held-out 500]
Needs PyPI's rdkit and numpy (measured with 2026.9.1 and 2.4.6) and the wheel of molsets 0.3.1, of which only data is read
(`pip download --no-deps molsets==0.3.1`), and the program (`--program`). The model is that of recipes/molecules/properties.toml;
recipes/molecules/prepare.py says what a bin of a property holds.

Written: `--count` molecules for each property of `--asked` at each `--guidance` (classifier-free; 1 is the model's own prediction
given the property, 0 that without it), at each `--classifier` (classifier-based, with `--candidates`), each `--first-order` (the
same by a gradient) and `--temperature`, held to the grammar or, with `--free`, as the model writes. Reported are valid (RDKit reads one molecule), unique (different ones among
the valid ones), novel (different ones that the training set has not), the mean of the property, with its standard deviation, and
the share of valid molecules in the bin that was asked for, with its 95 % interval (Wilson), beside the share of the test set in
that bin.

Predicted: for `--held-out` molecules of the test set, which no training has read, the distribution at three open positions before
the molecule, one for each property, from `aquatint serve` (`/v1/canvas/alternatives`), each over the bins of its property.
Reported are the share of molecules whose likeliest bin is right, beside that of the bin that is most frequent; the mean absolute
error in bins of the mean of the distribution, beside that of the median bin; and the shortest run of neighbouring bins that has
90 % of the probability: its mean probability, its mean length in bins, and the share of molecules whose bin is in it.
"""

import argparse
import collections
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time
import urllib.error

from rdkit import Chem, RDLogger
from rdkit.Chem import QED, Crippen, rdMolDescriptors

import moses

sys.path.append(str(pathlib.Path(__file__).parents[1]))
sys.path.append(str(pathlib.Path(__file__).parents[2] / "recipes" / "molecules"))
import prepare  # noqa: E402
from server import Server  # noqa: E402
from shares import wilson  # noqa: E402

# Values of the properties themselves.
VALUES = {"QED": QED.qed, "LOGP": Crippen.MolLogP, "RINGS": rdMolDescriptors.CalcNumRings}
MASS = 0.9


def written(arguments, asked, guidance, scale):
    """Molecules that are asked for, without what stands before them."""
    begun = time.perf_counter()
    command = [arguments.program, "generate", f"{asked}[[~{arguments.room}]]", "-m", str(arguments.model), "-q"]
    command += [] if arguments.free else ["--molecule"]
    command += ["--temperature", str(arguments.temperature), "--policy", "sequential", "--steps", str(arguments.room)]
    command += ["--count", str(arguments.count), "--format", "jsonl"]
    if guidance == "classifier-free":
        command += ["--guidance-scale", str(scale)]
    else:
        command += ["--classifier-target", asked, "--classifier-scale", str(scale)]
        of_method = {"classifier": ["--classifier-candidates", str(arguments.candidates)]}
        command += of_method.get(guidance, ["--classifier-method", guidance])
    command += ["--seed", str(arguments.seed)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    if len(texts) != arguments.count or not all(text.startswith(asked) for text in texts):
        raise SystemExit(f"{' '.join(command)} wrote {len(texts)} texts")
    return [text[len(asked) :] for text in texts], (time.perf_counter() - begun) / arguments.count


def row(texts, training, name, wanted):
    """The figures of some texts; only of their validity where none of them is a molecule."""
    molecules = [molecule for molecule in map(Chem.MolFromSmiles, texts) if molecule is not None and molecule.GetNumAtoms()]
    if not molecules:
        return {"valid": 0.0}
    canonical = {Chem.MolToSmiles(molecule) for molecule in molecules}
    values = [VALUES[name](molecule) for molecule in molecules]
    hits = sum(prepare.bins(molecule)[name] == wanted for molecule in molecules)
    low, high = wilson(hits, len(molecules))
    return {
        "valid": len(molecules) / len(texts),
        "unique": len(canonical) / len(molecules),
        "novel": len(canonical - training) / len(canonical),
        "mean": statistics.fmean(values),
        "deviation": statistics.pstdev(values),
        "share": hits / len(molecules),
        "low": low,
        "high": high,
    }


def cells(own):
    """The figures of valid molecules as cells of the table, empty where there is none."""
    if own["valid"] == 0:
        return " | | | "
    return (
        f"{own['unique']:.1%} | {own['novel']:.1%} | {own['mean']:.2f} ± {own['deviation']:.2f} "
        f"| {own['share']:.1%} ({own['low']:.1%}–{own['high']:.1%})"
    )


def ask(server, path, body):
    try:
        return server.post(path, body)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{path}: {error.read().decode()}") from error


def distributions(server, molecule):
    """Of each property the probabilities of its bins before a molecule, behind the begin token where the model's texts have one;
    ends follow up to the length of a canvas, as in training."""
    begin = ask(server, "/tokenize", {"prompt": ""})["tokens"]
    asked = ask(server, "/tokenize", {"prompt": molecule, "add_special_tokens": False})
    tokens, length = asked["tokens"], asked["max_model_len"]
    ends = max(length - len(begin) - len(prepare.BINS) - len(tokens), 1)
    places = list(range(len(begin), len(begin) + len(prepare.BINS)))
    before, behind = ([{"state": "given", "token": token} for token in some] for some in (begin, tokens + [1] * ends))
    canvas = {"positions": before + [{"state": "open"} for _ in places] + behind}
    answer = ask(server, "/v1/canvas/alternatives", {"canvas": canvas, "positions": places, "count": 64})
    found = {}
    for (name, (low, high)), position in zip(prepare.BINS.items(), answer["positions"]):
        of = {likely["text"]: likely["probability"] for likely in position["alternatives"]}
        own = {number: of.get(f"[{name}={number}]", 0.0) for number in range(low, high + 1)}
        total = sum(own.values())
        if total <= 0:
            raise SystemExit(f"{molecule}: the model gives {name} no probability; was it trained with properties?")
        found[name] = {number: probability / total for number, probability in own.items()}
    return found


def shortest(distribution):
    """The shortest run of bins that has the mass, of several the likeliest one: its first and last bin, and its probability."""
    bins = sorted(distribution)
    runs = [(first, last) for index, first in enumerate(bins) for last in bins[index:]]
    mass = {(first, last): sum(distribution[number] for number in range(first, last + 1)) for first, last in runs}
    enough = [run for run in runs if mass[run] >= MASS - 1e-9]
    first, last = min(enough, key=lambda run: (run[1] - run[0], -mass[run]))
    return first, last, mass[first, last]


def predicted(name, distributions, bins):
    truths = [of[name] for of in bins]
    usual, middle = collections.Counter(truths).most_common(1)[0], statistics.median_low(truths)
    own = [of[name] for of in distributions]
    means = [sum(number * probability for number, probability in of.items()) for of in own]
    runs = [shortest(of) for of in own]
    within = sum(first <= truth <= last for truth, (first, last, _) in zip(truths, runs))
    low, high = wilson(within, len(truths))
    return {
        "right": sum(max(of, key=of.get) == truth for of, truth in zip(own, truths)) / len(truths),
        "most frequent": usual[1] / len(truths),
        "error": statistics.fmean(abs(mean - truth) for mean, truth in zip(means, truths)),
        "error of the median": statistics.fmean(abs(middle - truth) for truth in truths),
        "probability": statistics.fmean(mass for _, _, mass in runs),
        "length": statistics.fmean(last - first + 1 for first, last, _ in runs),
        "covered": within / len(truths),
        "low": low,
        "high": high,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--molsets", type=pathlib.Path, required=True)
    parser.add_argument("--program", default="target/release/aquatint")
    parser.add_argument("--asked", default="[QED=9],[LOGP=4],[RINGS=1]", help="properties, separated by commas")
    parser.add_argument("--guidance", default="0,1,2,4", help="guidance scales, separated by commas")
    parser.add_argument("--classifier", default="", help="scales of guidance by the classifier, separated by commas")
    parser.add_argument("--first-order", default="", help="scales of guidance by the classifier's gradient, separated by commas")
    parser.add_argument("--candidates", type=int, default=8, help="tokens that the classifier tries at each position")
    parser.add_argument("--count", type=int, default=100, help="molecules for each property and scale; 0 for none")
    parser.add_argument("--temperature", type=float, default=1)
    parser.add_argument("--free", action="store_true", help="not held to the grammar; what is no molecule counts as invalid only")
    parser.add_argument("--held-out", type=int, default=500, help="molecules whose properties are predicted; 0 for none")
    parser.add_argument("--room", type=int, default=59, help="tokens of a molecule and its end, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    molsets = moses.Molsets(arguments.molsets)
    held_out = random.Random(arguments.seed).sample(molsets.molecules("test"), max(arguments.held_out, 1000))
    bins = [prepare.bins(Chem.MolFromSmiles(text)) for text in held_out]
    figures = {"written": [], "predicted": {}}
    if arguments.count:
        training = set(molsets.molecules("train"))
        print("| asked | in the test set | guidance | scale | valid | unique | novel | mean ± deviation | in the bin | s each |")
        print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|")
        kinds = {
            "classifier-free": arguments.guidance,
            "classifier": arguments.classifier,
            "first-order": arguments.first_order,
        }
        guided = [(kind, float(scale)) for kind, scales in kinds.items() for scale in scales.split(",") if scale]
        for asked in arguments.asked.split(","):
            name, value = asked.strip("[]").split("=")
            there = sum(of[name] == int(value) for of in bins) / len(bins)
            for guidance, scale in guided:
                texts, seconds = written(arguments, asked, guidance, scale)
                own = row(texts, training, name, int(value))
                of = {"asked": asked, "guidance": guidance, "scale": scale, "test set": there, "seconds": seconds}
                figures["written"].append({**of, **own})
                begun = f"| `{asked}` | {there:.1%} | {guidance} | {scale:g} | {own['valid']:.1%}"
                print(f"{begun} | {cells(own)} | {seconds:.2f} |", flush=True)
    if arguments.held_out:
        molecules = held_out[: arguments.held_out]
        with Server(arguments.program, f"molecules={arguments.model}") as server:
            found = [distributions(server, text) for text in molecules]
        print("| predicted | likeliest bin is right | most frequent bin | error of the mean, bins | error of the median bin "
              "| probability of the run | its bins | covered |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name in prepare.BINS:
            own = predicted(name, found, bins[: len(molecules)])
            figures["predicted"][name] = own
            print(
                f"| {name} | {own['right']:.1%} | {own['most frequent']:.1%} | {own['error']:.2f} | {own['error of the median']:.2f} "
                f"| {own['probability']:.1%} | {own['length']:.2f} | {own['covered']:.1%} ({own['low']:.1%}–{own['high']:.1%}) |"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
