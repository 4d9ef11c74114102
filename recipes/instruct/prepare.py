"""Make conversations about fairy tales: questions with their answers, and edits of stories.

Run with:  python recipes/instruct/prepare.py DATA OUT
Needs PyPI's zstandard and numpy. DATA holds `fairytale-qa.jsonl.zst` (FairytaleQA, 2203.13947) and `stories-train.jsonl.zst`;
OUT gets JSON lines in OpenAI's form:

    {"messages": [{"role": "user", "content": "A passage.\\nA question?"}, {"role": "assistant", "content": "An answer."}]}

- train: questions of the training split, and edits: a story goes on (`continue`), a blank in a passage is filled (`fill`), a
  sentence is made shorter (`shorten`), a sentence is written that comes before another (`before`).
- valid: the same of stories that train has nothing of: every 12th story of the training split, by a hash of its title, and
  every 25th book.
- test: the questions of the validation split, with `references` (all answers that people gave), `passage` (the text of the
  sections that the question is about, in full), `question`, `seen` (whether the story stands in the books that the model was
  trained on, too), `attribute` and `kind`.

A canvas of 256 positions does not hold every section, so a user's turn has about `--words` words of it: the sentences that share
words with the question, or stand beside such a sentence, in their order. The answer has no part in that choice. The books are
those that the built-in model was trained on.

Where DATA holds folders `train` and `valid` of text files, as data/sample does, OUT gets edits of these texts alone:
`python recipes/instruct/prepare.py data/sample data/sample/conversations --edits 8` made the sample that is there.
"""

import argparse
import collections
import hashlib
import io
import json
import math
import pathlib
import random
import re
import zlib

import numpy
import zstandard

SHINGLE = 8
"""Words in a row that a story and a book have in common where one is in the other."""
SEEN = 0.3
"""A story with this share of its shingles in the books was seen: editions and translations differ here and there."""
EDITS = ("fill", "shorten", "continue", "before")
LONGEST = 14
"""Words of the longest answer of an edit."""


def share(text):
    """A number from 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def rows(path):
    with open(path, "rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            yield json.loads(line)


def words(text):
    return re.findall(r"\w+", text.lower())


def sentences(text):
    """The sentences of a text; one ends at a full stop, a question mark or an exclamation mark, or with its line."""
    return [part.strip() for part in re.split(r"(?<=[.!?])[\"']?\s+|\n+", text) if part.strip()]


def bm25(question, parts, k1=1.2, b=0.75):
    """Robertson's BM25 of each part, with the parts as the collection."""
    documents = [collections.Counter(words(part)) for part in parts]
    mean = sum(map(collections.Counter.total, documents)) / len(documents) or 1
    frequency = collections.Counter(word for document in documents for word in document)
    scores = []
    for document in documents:
        score = 0.0
        for word in set(words(question)) & document.keys():
            rarity = math.log(1 + (len(parts) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            count = document[word]
            score += rarity * count * (k1 + 1) / (count + k1 * (1 - b + b * document.total() / mean))
        scores.append(score)
    return scores


def shortened(section, question, limit):
    """About `limit` words of a section: its sentences by their own score and that of their neighbours, in their order."""
    parts = sentences(section)
    scores = [0.0, 0.0] + bm25(question, parts) + [0.0]
    score = [scores[i + 2] + 0.6 * scores[i + 1] + 0.3 * scores[i] + 0.4 * scores[i + 3] for i in range(len(parts))]
    chosen, used = [], 0
    for index in sorted(range(len(parts)), key=lambda index: -score[index]):
        count = len(parts[index].split())
        if not chosen or used + count <= limit:
            chosen.append(index)
            used += count
    return " ".join(" ".join(parts[index] for index in sorted(chosen)).split()[: limit + limit // 4])


def conversation(said, answer, **fields):
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **fields}


def questions(row, limit):
    passage = shortened(row["section"], row["question"], limit)
    fields = {"task": "question"}
    if row["split"] != "train":
        fields |= {"references": row["answers"], "passage": row["section"], "question": row["question"]}
        fields |= {"story": row["story"], "attribute": row["attribute"], "kind": row["kind"]}
    return conversation(f"{passage}\n{row['question']}", " ".join(row["answer"].split()), **fields)


def shorter(part):
    """A sentence without what says more of a word between commas; the same where it has nothing of the kind."""
    return re.sub(r", (?:who|which|where|when|as if|like)\b[^,;.!?]*,", "", part)


def edit(task, parts, draws):
    """An edit of some neighbouring sentences of a story; None where they have nothing that it could be made of."""
    if task == "continue":
        return conversation(" ".join(parts[:-1]) + "\nGo on with the story.", parts[-1], task=task)
    if task == "before":
        return conversation(" ".join(parts[1:]) + "\nWhat comes before this?", parts[0], task=task)
    if task == "shorten":
        long = [part for part in parts if shorter(part) != part]
        part = draws.choice(long) if long else ""
        return conversation(f"{part}\nSay this in fewer words.", shorter(part), task=task) if long else None
    part = draws.choice(parts)
    pieces = part.split()
    if len(pieces) < 7:
        return None
    length = draws.randint(1, 4)
    start = draws.randint(1, len(pieces) - length - 1)
    answer = " ".join(pieces[start : start + length])
    holed = " ".join(pieces[:start] + ["____"] + pieces[start + length :])
    # Half of the blanks can be looked up in the passage.
    if draws.random() < 0.5:
        return conversation(" ".join(parts) + f"\nFill the blank: {holed}", answer, task=task)
    around = " ".join(holed if other is part else other for other in parts)
    return conversation(f"{around}\nFill the blank.", answer, task=task)


def passage(paragraphs, limit, draws):
    """Neighbouring sentences of at most `limit` words."""
    parts = draws.choice(paragraphs)
    first = draws.randrange(len(parts))
    chosen = []
    for part in parts[first:]:
        if sum(len(other.split()) for other in chosen) + len(part.split()) > limit:
            break
        chosen.append(part)
    return chosen


def edits(book, count, limit, draws):
    """So many edits of a book, as many of each kind as there can be."""
    paragraphs = [sentences(paragraph) for paragraph in book["text"].split("\n") if len(paragraph) > 200]
    made = []
    for number in range(count if paragraphs else 0):
        for _ in range(40):
            parts = passage(paragraphs, limit, draws)
            row = edit(EDITS[number % len(EDITS)], parts, draws) if len(parts) > 2 else None
            if row is not None and 0 < len(row["messages"][1]["content"].split()) <= LONGEST:
                made.append(row)
                break
    return made


def shingles(text):
    """A number for each run of SHINGLE words."""
    hashes = numpy.array([zlib.crc32(word.encode()) for word in words(text)], dtype=numpy.uint64)
    if len(hashes) < SHINGLE:
        return numpy.zeros(0, dtype=numpy.uint64)
    mixed = numpy.zeros(len(hashes) - SHINGLE + 1, dtype=numpy.uint64)
    for place in range(SHINGLE):
        mixed = mixed * numpy.uint64(0x9E3779B97F4A7C15) + hashes[place : place + len(mixed)]
    return mixed


def write(out, name, conversations):
    out.mkdir(parents=True, exist_ok=True)
    with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in conversations)
    tasks = collections.Counter(row["task"] for row in conversations)
    print(f"{name}: {len(conversations)} conversations: " + ", ".join(f"{n} {t}" for t, n in sorted(tasks.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--words", type=int, default=64, help="words of a section that a user's turn has")
    parser.add_argument("--edits", type=int, default=4, help="edits of each book")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draws = random.Random(arguments.seed)
    if (arguments.data / "train").is_dir():
        for name in ("train", "valid"):
            texts = [path.read_text(encoding="utf-8") for path in sorted((arguments.data / name).glob("*.txt"))]
            made = [row for text in texts for row in edits({"text": text}, arguments.edits, arguments.words, draws)]
            write(arguments.out, name, made)
        return
    tales = list(rows(arguments.data / "fairytale-qa.jsonl.zst"))
    test = [row for row in tales if row["split"] != "train"]
    wanted = collections.defaultdict(set)
    for story, section in {(row["story"], row["section"]) for row in test}:
        wanted[story].update(shingles(section).tolist())
    every = numpy.array(sorted(set().union(*wanted.values())), dtype=numpy.uint64)
    found, train, valid = set(), [], []
    for book in rows(arguments.data / "stories-train.jsonl.zst"):
        of_book = shingles(book["text"])
        found.update(of_book[numpy.isin(of_book, every)].tolist())
        held_out = share(book["title"]) < 1 / 25
        (valid if held_out else train).extend(edits(book, arguments.edits, arguments.words, draws))
    for row in tales:
        if row["split"] == "train":
            (valid if share(row["story"]) < 1 / 12 else train).append(questions(row, arguments.words))
    draws.shuffle(train)
    draws.shuffle(valid)
    seen = {story for story, of_story in wanted.items() if len(of_story & found) >= SEEN * len(of_story)}
    examined = [questions(row, arguments.words) | {"seen": "yes" if row["story"] in seen else "no"} for row in test]
    for name, conversations in (("train", train), ("valid", valid), ("test", examined)):
        write(arguments.out, name, conversations)
    print(f"{len(seen)} of {len(wanted)} stories of test stand in the books, {sum(r['seen'] == 'yes' for r in examined)} questions")


if __name__ == "__main__":
    main()
