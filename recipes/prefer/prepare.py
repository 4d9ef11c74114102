"""Preferences made of stories: a passage with speech goes on as the story does, or not.

    python recipes/prefer/prepare.py data/sample data/sample/preferences

`chosen` is what stands behind a passage, where somebody speaks in it. `rejected` is in turn its first words again and again, or its
words in another order, both about as long. Rows of data/sample/train go to train.jsonl, those of data/sample/valid to valid.jsonl.
Everything is drawn by a fixed seed; Python 3.9 or later, no libraries.
"""

import json
import random
import re
import sys
from pathlib import Path

PROMPT, ANSWER = 48, 40  # words at most
PER_TALE = {"train": 6, "valid": 12}


def sentences(text):
    """The sentences of a tale, with their closing quotes; paragraphs are joined by blanks."""
    return re.findall(r"\S.*?[.!?]+[\"')]*(?=\s|$)", " ".join(text.split()))


def pairs(text):
    """Passages of two sentences, and what stands behind them with speech in it."""
    parts = sentences(text)
    for index in range(2, len(parts)):
        prompt, answer = " ".join(parts[index - 2 : index]), ""
        for part in parts[index:]:
            longer = f"{answer} {part}"
            if len(longer.split()) > ANSWER:
                break
            answer = longer
        words = answer.split()
        if 6 <= len(prompt.split()) <= PROMPT and len(words) >= 12 and '"' in answer:
            yield prompt, words


def worse(words, kind, draw):
    """The same words again and again, or in another order."""
    if kind == 0:
        first = words[: draw.randint(3, 6)]
        return (first * len(words))[: len(words)]
    shuffled = words[:]
    while shuffled == words:
        draw.shuffle(shuffled)
    return shuffled


def main():
    source, output = map(Path, sys.argv[1:3])
    output.mkdir(parents=True, exist_ok=True)
    for part, most in PER_TALE.items():
        rows = []
        for number, tale in enumerate(sorted((source / part).glob("*.txt"))):
            draw = random.Random(f"{part} {number}")
            found = list(pairs(tale.read_text(encoding="utf-8")))
            chosen = sorted(draw.sample(range(len(found)), min(most, len(found))))
            for index in chosen:
                prompt, words = found[index]
                kind = len(rows) % 2
                rows.append(
                    {
                        "prompt": prompt,
                        "chosen": " " + " ".join(words),
                        "rejected": " " + " ".join(worse(words, kind, draw)),
                        "rejected_is": ["repeated", "shuffled"][kind],
                    }
                )
        with open(output / f"{part}.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        print(f"{part}: {len(rows)} rows")


if __name__ == "__main__":
    main()
