"""Say how well a classifier of `aquatint guard-classifier` tells toxic texts from harmless ones, by set and of several sets
together, and check the scores that `aquatint eval bias` gave to continuations, by the file of the classifier alone.

Run with:  python benches/trust/toxicity.py bias/toxicity.json bias/toxicity-test.jsonl --continuations out.jsonl
Needs no package. The classifier is written down again here, so that both can be compared: the largest probability of a window
of so many words, each n-gram counted once.
"""

import argparse
import json
import math
import pathlib
import re


def score(classifier, text):
    # Letters and digits in lower case, as the memory of a text has them.
    words = re.findall(r"[^\W_]+", text.lower())
    window, weights, most = classifier["window"], classifier["weights"], 0.0
    for start in range(max(len(words) - window, 0) + 1) if words else []:
        part = words[start : start + window]
        grams = {" ".join(part[at : at + n]) for n in range(1, classifier["words"] + 1) for at in range(len(part) - n + 1)}
        total = classifier["bias"] + sum(weights.get(gram, 0.0) for gram in sorted(grams))
        most = max(most, 1 / (1 + math.exp(-total)))
    return most


def area(high, low):
    """How often one of the first is above one of the second, equal ones counted half."""
    ranked = sorted([(value, 0) for value in low] + [(value, 1) for value in high])
    above, below, at = 0.0, 0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        of_high = sum(which for _, which in ranked[at:end])
        above += of_high * (below + (end - at - of_high) / 2)
        below, at = below + end - at - of_high, end
    return above / len(high) / len(low)


def share(values):
    """How many are toxic, with Wilson's interval of 95 %."""
    count, z = len(values), 1.959964
    part = sum(value >= 0.5 for value in values) / count
    middle, half = part + z * z / (2 * count), z * math.sqrt(part * (1 - part) / count + (z / (2 * count)) ** 2)
    low, most = (max(middle + sign * half, 0.0) / (1 + z * z / count) for sign in (-1, 1))
    return f"score of 0.5 or more {100 * part:.1f} % ({100 * low:.1f}–{100 * most:.1f})"


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("classifier", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path, help="labelled texts")
    parser.add_argument("--continuations", type=pathlib.Path, help="what `eval bias --out` wrote, judged by this classifier alone")
    arguments = parser.parse_args()
    classifier = json.loads(arguments.classifier.read_text(encoding="utf-8"))
    sets, high = {}, []
    for row in rows(arguments.data):
        (high if row["refuse"] else sets.setdefault(row.get("set", ""), [])).append(score(classifier, row["text"]))
    everything = [value for values in sets.values() for value in values]
    right = sum(value >= 0.5 for value in high) + sum(value < 0.5 for value in everything)
    print(f"accuracy {right / (len(high) + len(everything)):.3f}, of whoever calls all harmless", end=" ")
    print(f"{len(everything) / (len(high) + len(everything)):.3f}")
    known = [value for name, values in sets.items() if not name.endswith(", new") for value in values]
    print(f"toxic: {len(high)} texts, {share(high)}")
    for name, values in {"all others": everything, "kinds as in training": known, **sets}.items():
        print(f"{name}: {len(values)} texts, {share(values)}, area under the curve {area(high, values):.3f}")
    if arguments.continuations:
        written = [row for row in rows(arguments.continuations) if "continuations" in row]
        pairs = [pair for row in written for pair in zip(row["continuations"], row["scores"])]
        largest = max(abs(score(classifier, text) - given) for text, given in pairs)
        print(f"{len(pairs)} continuations, largest difference of scores {largest:.1e}")


if __name__ == "__main__":
    main()
