"""Preferences from a judge: a model's own drafts, the best beside the worst, and how far a model pleases the judge.

    python recipes/prefer/judge.py draft data/sample runs/judged
    python recipes/prefer/judge.py measure data/sample tales tales+runs/prefer-judged

The judge rewards speech and counts repetition: the share of words that stand within quotation marks, less the share of runs of
three words that stood before in the same draft; 1 at best, -1 at worst. It reads what is written alone, not the passage before it.

`draft` writes train.jsonl and valid.jsonl. Prompts are passages of two sentences of the tales of `train` and `valid`; `--drafts`
continuations of each are drawn by `--model`, and where the best and the worst are at least `--apart` apart, both make a row.
`measure` draws two drafts after each of `--prompts` passages of `valid`, or as many as there are, and prints the mean of the
judge's score, of its two parts and, for the second and further models, of the difference to the first one, with 95 % intervals
over passages. Models draw with the same seeds.

Drafts have `--tokens` tokens and are drawn at temperature 1 without nucleus or penalty. `--sampling` replaces these flags, and
`--sampling=""` takes the model's own settings; its policy, blocks and cache are its own in any case. Python 3.9 or later, no
libraries, and the program (`--program`).
"""

import argparse
import json
import math
import random
import re
import shlex
import statistics
import subprocess
from pathlib import Path

from prepare import sentences

OWN = "--temperature 1 --top-p 1 --repetition-penalty 1"


def speech(text):
    """The share of words within quotation marks; speech that is not closed goes to the end, one that is not opened is none."""
    quoted = re.findall(r"""(?<!\S)["“](\S[^"“”]*)""", text)
    words = len(text.split())
    return min(1.0, sum(len(part.split()) for part in quoted) / words) if words else 0.0


def repetition(text):
    """The share of runs of three words that stood before."""
    words = re.findall(r"\w+", text.lower())
    runs = list(zip(words, words[1:], words[2:]))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def score(text):
    return speech(text) - repetition(text)


def passages(folder, most):
    """Passages of two sentences, `most` at most, and of no tale more than an equal share of these."""
    tales = sorted(folder.glob("*.txt"))
    if not tales:
        raise SystemExit(f"{folder} has no tales (*.txt)")
    found = []
    for number, tale in enumerate(tales):
        parts = sentences(tale.read_text(encoding="utf-8"))
        pairs = [" ".join(pair) for pair in zip(parts, parts[1:])]
        # A passage that ends within speech would be continued by it.
        fit = [pair for pair in pairs if 8 <= len(pair.split()) <= 48 and pair.count('"') % 2 == 0 and "[[" not in pair]
        draw = random.Random(number)
        found.append(draw.sample(fit, min(len(fit), -(-most // len(tales)))))
    return [pair for pairs in found for pair in pairs][:most]


def drafts(arguments, model, passage, count, seed):
    """Continuations of a passage."""
    command = [arguments.program, "generate", f"{passage}[[{arguments.tokens}]]", "--model", model, "--count", str(count)]
    command += ["--seed", str(seed), "--format", "jsonl", "-q", *shlex.split(arguments.sampling)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise SystemExit(f"--program {arguments.program}: {error.strerror}") from error
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr}")
    return [json.loads(line)["filled"][0] for line in done.stdout.splitlines()]


def draft(arguments):
    arguments.output.mkdir(parents=True, exist_ok=True)
    for part, most in (("train", arguments.prompts), ("valid", max(1, arguments.prompts // 8))):
        rows = []
        for number, passage in enumerate(passages(arguments.source / part, most)):
            ranked = sorted(drafts(arguments, arguments.model, passage, arguments.drafts, 1000 * number), key=score)
            worst, best = ranked[0], ranked[-1]
            if score(best) - score(worst) >= arguments.apart:
                scores = {"chosen_score": round(score(best), 3), "rejected_score": round(score(worst), 3)}
                rows.append({"prompt": passage, "chosen": best, "rejected": worst, **scores})
        with open(arguments.output / f"{part}.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        print(f"{part}: {len(rows)} rows")


def interval(values):
    """A mean and the half of its 95 % interval."""
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), half


def measure(arguments):
    prompts = passages(arguments.source / "valid", arguments.prompts)
    measures = {"score": score, "speech": speech, "repetition": repetition}
    of = {}
    for model in arguments.models:
        texts = [drafts(arguments, model, passage, 2, 1000 * number) for number, passage in enumerate(prompts)]
        of[model] = {name: [statistics.fmean(map(by, pair)) for pair in texts] for name, by in measures.items()}
    print(f"{len(prompts)} passages\n\n| model | {' | '.join(measures)} | more than {arguments.models[0]} |\n|---|" + "---:|" * 4)
    for model, values in of.items():
        cells = ["{:.3f} ± {:.3f}".format(*interval(values[name])) for name in measures]
        more = [new - old for new, old in zip(values["score"], of[arguments.models[0]]["score"])]
        cells.append("" if model == arguments.models[0] else "{:.3f} ± {:.3f}".format(*interval(more)))
        print(f"| {model} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("draft", draft), ("measure", measure)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("source", type=Path, help="a folder with tales in train and valid")
        if run is draft:
            command.add_argument("output", type=Path)
            command.add_argument("--model", default="tales")
            command.add_argument("--drafts", type=int, default=6, help="drafts of each passage")
            command.add_argument("--apart", type=float, default=0.2, help="least distance of the scores of a row")
        else:
            command.add_argument("models", nargs="+", metavar="MODEL")
        command.add_argument("--prompts", type=int, default=160 if run is draft else 120)
        command.add_argument("--tokens", type=int, default=48)
        command.add_argument("--sampling", default=OWN)
        command.add_argument("--program", default="aquatint")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
