"""Measure watermarks on a model: how often a mark is found, by length and after edits, how often it is found where there is
none, and what it costs in likelihood and variety.

Run with:  python benches/trust/watermark.py HUMAN OUT [--texts 100] [--temperature 1] [--passages 10000]
HUMAN is JSON lines with the field `text` (.zst needs the program `zstd`). OUT keeps the texts that were generated, so
that a run that was stopped goes on, and `results.json`. The program is `target/release/aquatint`, or that of --program.

Texts continue the first words of human passages; only what was written is examined, re-tokenised from its characters. Levels are
p-values that `aquatint detect` prints. Edits are made in words: replaced by others of the human texts, deleted, copied (the
middle half stands between two copies of one human passage of 80 words), and written anew by the model in holes of the template (re-noised).
The bound is that of the model itself, `aquatint eval likelihood`; entropies are of words and pairs of words of all texts
of a scheme together.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import urllib.error

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from server import Server  # noqa: E402

SCHEMES = ("gumbel", "green", "order")
LENGTHS = (25, 50, 100, 200)
LEVELS = (0.01, 0.0001)
SHARES = (0.1, 0.2, 0.3)


def human_passages(path, words):
    """Passages of so many words, one behind the other, as long as there are texts."""
    command = ["zstd", "-dc", str(path)] if path.suffix == ".zst" else ["cat", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            parts = re.findall(r"\S+\s*", json.loads(line)["text"])
            for start in range(0, len(parts) - words, words):
                yield "".join(parts[start : start + words])
        process.terminate()


def map_wide(work, items):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(work, items))


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def generated(arguments, key, name, prompts):
    """The texts of a scheme with their beginnings of each length."""
    path = arguments.out / f"{name}.jsonl"
    found = rows(path)
    if len(found) >= len(prompts):
        return found
    settings = {"temperature": arguments.temperature, "top_p": arguments.top_p}

    def one(server, number):
        body = {"prompt": prompts[number], "max_tokens": max(LENGTHS) + 16, "seed": number, **settings}
        text = server.post("/v1/completions", body)["choices"][0]["text"]
        tokens = server.post("/tokenize", {"prompt": text})["tokens"]
        cut = {}
        for length in LENGTHS:
            if len(tokens) >= length:
                cut[length] = server.post("/detokenize", {"tokens": tokens[:length]})["prompt"]
        return {"text": text, "tokens": len(tokens), "cut": cut}

    marked = ["--watermark", str(key)] if key else []
    with Server(arguments.program, arguments.model, *marked) as server:
        made = map_wide(lambda number: one(server, number), range(len(prompts)))
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return rows(path)


def all_renoised(arguments, name, made, share):
    """The texts of a scheme with a share of their words written anew by the model, without the mark."""
    path = arguments.out / f"{name}-renoised-{share}.jsonl"
    if not path.exists():
        settings = {"temperature": arguments.temperature, "top_p": arguments.top_p}
        with Server(arguments.program, arguments.model) as server:
            write(path, map_wide(lambda item: renoised(server, item, share, settings), enumerate(made)))
    return [row["text"] for row in rows(path)]


def renoised(server, item, share, settings):
    """A share of the words in holes, as many tokens long as they were, filled by the model."""
    number, row = item
    draw = random.Random(number)
    parts = re.findall(r"\S+\s*", row["text"])
    template = ""
    for part in parts:
        word = part.rstrip()
        escaped = word.replace("[[", "[ [")
        hole = f"[[{max(1, round(len(word) / 4))}]]"
        template += (hole if draw.random() < share else escaped) + part[len(word) :]
    try:
        return server.post("/v1/canvas", {"template": template, "seed": number, **settings})["results"][0]["text"]
    except urllib.error.HTTPError:
        return row["text"]


def edited(texts, share, kind, words, draw):
    def edit(part):
        word = part.rstrip()
        if draw.random() >= share:
            return part
        return "" if kind == "deleted" else draw.choice(words) + part[len(word) :]

    return ["".join(edit(part) for part in re.findall(r"\S+\s*", text)) for text in texts]


def copied(texts, passages):
    """The middle half of each text with the same human passage before and behind it, no longer than the whole text."""
    made = []
    for number, text in enumerate(texts):
        parts = re.findall(r"\S+\s*", text)
        around = re.findall(r"\S+\s*", passages[number % len(passages)])
        middle = parts[len(parts) // 4 : 3 * len(parts) // 4]
        made.append("".join(around[: len(parts)]) + " " + "".join(middle) + " " + "".join(around[-len(parts) :]))
    return made


def p_values(arguments, key, texts):
    file = write(arguments.out / "examined.jsonl", texts)
    command = [arguments.program, "detect", str(file), "--key", str(key), "-m", arguments.model, "--format", "json"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line)["p_value"] for line in lines]


def rates(values):
    """The share at each level, with the error of a share, and how far from it the p-values lie."""
    found = {"texts": len(values), "median p": sorted(values)[len(values) // 2], "largest p": max(values), "least p": min(values)}
    for level in LEVELS:
        share = sum(value <= level for value in values) / len(values)
        found[str(level)] = round(share, 4)
        found[f"{level} error"] = round(math.sqrt(share * (1 - share) / len(values)), 4)
    return found


def entropy(items):
    counts = collections.Counter(items)
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def quality(arguments, name, texts):
    file = write(arguments.out / f"measured-{name}.jsonl", texts)
    command = [arguments.program, "eval", "likelihood", "-m", arguments.model, "--data", str(file), "--samples", "8"]
    report = json.loads(subprocess.run(command + ["--format", "json"], capture_output=True, text=True, check=True).stdout)
    words = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in texts]
    flat = [word for text in words for word in text]
    pairs = [pair for text in words for pair in zip(text, text[1:])]
    return {
        "report": report,
        "entropy of words, bits": round(entropy(flat), 3),
        "entropy of pairs, bits": round(entropy(pairs), 3),
        "words": len(flat),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("human", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--passages", type=int, default=10000)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--renoised", type=float, nargs="*", default=SHARES, metavar="SHARE")
    parser.add_argument("--model", default="tales")
    parser.add_argument("--program", default="target/release/aquatint")
    parser.add_argument("--schemes", nargs="*", default=SCHEMES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    passages = []
    for passage in human_passages(arguments.human, 80):
        passages.append(passage)
        if len(passages) == max(arguments.passages, 4 * arguments.texts):
            break
    words = sorted({word for passage in passages[:2000] for word in passage.split()})
    prompts = ["".join(re.findall(r"\S+\s*", passage)[:6]).rstrip() for passage in passages[: arguments.texts]]
    results = {"settings": {key: str(value) for key, value in vars(arguments).items()}}
    plain = [row["text"] for row in generated(arguments, None, "plain", prompts)]
    results["plain"] = quality(arguments, "plain", plain)
    for scheme in arguments.schemes:
        key = arguments.out / f"{scheme}.json"
        if not key.exists():
            subprocess.run([arguments.program, "watermark-key", str(key), "--scheme", scheme], check=True)
        made = generated(arguments, key, scheme, prompts)
        texts = [row["text"] for row in made if str(max(LENGTHS)) in row["cut"]]
        found = {"quality": quality(arguments, scheme, [row["text"] for row in made])}
        for length in LENGTHS:
            cut = [row["cut"][str(length)] for row in made if str(length) in row["cut"]]
            if cut:
                found[f"{length} tokens"] = rates(p_values(arguments, key, cut))
        draw = random.Random(0)
        for kind in ("replaced", "deleted"):
            for share in SHARES:
                values = p_values(arguments, key, edited(texts, share, kind, words, draw))
                found[f"{kind} {share:.0%}"] = rates(values)
        whole = [row for row in made if str(max(LENGTHS)) in row["cut"]]
        for share in arguments.renoised:
            again = all_renoised(arguments, scheme, whole, share)
            found[f"re-noised {share:.0%}"] = rates(p_values(arguments, key, again))
        found["copied"] = rates(p_values(arguments, key, copied(texts, passages[-500:])))
        found["plain texts"] = rates(p_values(arguments, key, plain))
        human = []
        for number in range(10):
            other = arguments.out / f"human-{scheme}-{number}.json"
            if not other.exists():
                subprocess.run([arguments.program, "watermark-key", str(other), "--scheme", scheme], check=True)
            human += p_values(arguments, other, passages[number : arguments.passages : 10])
        found["human passages"] = rates(human)
        results[scheme] = found
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        print(json.dumps({scheme: found}, indent=1), flush=True)


if __name__ == "__main__":
    main()
