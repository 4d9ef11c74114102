"""Make the documents of a joint model: passages with pictures, captions in many languages, spoken words.

Run with:  python recipes/canvas/prepare.py DATA OUT
Needs PyPI's zstandard. DATA holds `illustrated.jsonl.zst`, `captions.jsonl.zst`, `storybooks.jsonl.zst`, `pictures.tsv`,
`pictures.tar.zst` and `sounds.tar.zst`; OUT gets JSON lines whose texts name files of the archives as templates do:

    {"text": "A fox in the snow. [[picture:emoji/fox.png]]", "kind": "passage", "lang": "en"}

- passages-{train,valid}: a passage and the picture of something that it names, in either order.
- captions-{train,valid}: a picture with its caption, in English as it is (`fox`), in other languages behind the name of the
  language (`de: Fuchs`); and pictures alone, which is what guidance reads as no condition.
- words-{train,valid}: a word and how it sounds, in either order, and sounds alone.
- stories-{train,valid}: the English storybooks, a document each, so that text alone stays in the mix.
- books-{train,valid}: with `--books 0.1`, a tenth of the books in `stories-train.jsonl.zst`, and those of `stories-valid.jsonl.zst`.

Held out are whole concepts (every 25th by a hash of its name, with all pictures of it), whole stories in all their languages,
and every 20th word; what is held out is in `valid` files only. Licences: pictures of `stamps/` (GPL-2) are left out, and so is
all that names them; `--digits` takes in the spoken digits of the free-spoken-digit-dataset (CC-BY-SA 4.0).

A source of a recipe reads such documents where it names the pictures and sounds: `media = "DATA/pictures.tar.zst"`.
"""

import argparse
import collections
import csv
import hashlib
import io
import json
import pathlib
import random
import tarfile

import zstandard

FILES = (
    "illustrated.jsonl.zst",
    "captions.jsonl.zst",
    "storybooks.jsonl.zst",
    "pictures.tsv",
    "pictures.tar.zst",
    "sounds.tar.zst",
)
"""What DATA has to hold; the pictures themselves are read in training, by the names in the documents."""

LANGUAGES = 4
"""Captions in other languages for each order of a picture."""


def share(text):
    """A number from 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def lines(path):
    with open(path, "rb") as file:
        yield from io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")


def rows(path):
    return map(json.loads, lines(path))


def table_in(archive, name):
    """The rows of a table of tab-separated values in an archive."""
    with open(archive, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if member.name == name:
                    text = tar.extractfile(member).read().decode()
                    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    raise SystemExit(f"{archive} has no {name}")


def plain(text):
    """Text without what would name a file."""
    return " ".join(text.replace("[[", "[ [").split())


class Writer:
    """Files of JSON lines; a document goes to `valid` where something in it is held out."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.documents = folder, collections.defaultdict(list)

    def write(self, file, held_out, text, **keys):
        part = "valid" if held_out else "train"
        self.documents[f"{file}-{part}"].append(json.dumps({"text": text, **keys}, ensure_ascii=False))

    def close(self):
        for name, documents in sorted(self.documents.items()):
            random.Random(name).shuffle(documents)
            (self.folder / f"{name}.jsonl").write_text("\n".join(documents) + "\n", encoding="utf-8")
            print(f"{name}: {len(documents)} documents")


def concept_is_held_out(concept):
    return share(f"concept {concept}") < 0.04


def story_is_held_out(row):
    """Decides alike for all pages and all languages of a story, whose titles differ; a book's `id` is its author."""
    name = row["id"] + row["title"] if row["source"] == "books" else row["id"]
    return share(f"story {row['source']} {name}") < 0.03


def passages(data, pictures, writer):
    for row in rows(data / "illustrated.jsonl.zst"):
        picture = pictures.get(row["picture"])
        if picture is None:
            continue
        held_out = concept_is_held_out(row["concept"]) or story_is_held_out(row)
        text, file = plain(row["text"]), f"[[picture:{picture['file']}]]"
        keys = dict(kind="passage", lang=row["lang"], concept=row["concept"], mentions=row["mentions"])
        first = share(f"order {row['text']} {row['picture']}") < 0.35
        writer.write("passages", held_out, f"{file} {text}" if first else f"{text} {file}", **keys)


def captions(data, pictures, writer):
    names = {row["id"]: row["names"] for row in rows(data / "captions.jsonl.zst")}
    for id, picture in pictures.items():
        file, held_out = f"[[picture:{picture['file']}]]", concept_is_held_out(picture["concept"])
        english = dict.fromkeys(plain(text) for text in (picture["caption"], picture["concept"]) if text)
        others = sorted((lang, plain(name)) for lang, name in names.get(id, {}).items() if lang != "en")
        keys = dict(kind="caption", concept=picture["concept"])
        draw = random.Random(id)
        writer.write("captions", held_out, file, lang="", **keys)
        for order in ("{file} {text}", "{text} {file}"):
            for text in english:
                writer.write("captions", held_out, order.format(file=file, text=text), lang="en", **keys)
            for lang, name in draw.sample(others, min(LANGUAGES, len(others))):
                writer.write("captions", held_out, order.format(file=file, text=f"{lang}: {name}"), lang=lang, **keys)


def words(data, digits, writer):
    for row in table_in(data / "sounds.tar.zst", "sounds.tsv"):
        if row["source"] == "stamps" or (row["source"] == "fsdd" and not digits):
            continue
        file, text = f"[[sound:{row['file']}]]", plain(row["words"])
        # Digits are few: of them a share of the recordings is held out, of all others whole words.
        held_out = share(f"sound {row['file'] if row['source'] == 'fsdd' else row['words']}") < 0.05
        keys = dict(kind="word", lang=row["language"], concept=text, source=row["source"])
        for document in (f"{text} {file}", f"{file} {text}"):
            writer.write("words", held_out, document, **keys)
        if share(f"alone {row['file']}") < 0.2:
            writer.write("words", held_out, file, **keys)


def stories(data, writer):
    for row in rows(data / "storybooks.jsonl.zst"):
        if row["lang"] == "en":
            text = "\n\n".join(plain(page) for page in row["pages"])
            writer.write("stories", story_is_held_out(row), text, kind="story", lang="en")


def books(data, part, writer):
    """A part of the books to train on, by a hash of their titles, and all that are kept for validation."""
    for file, held_out in (("stories-train", False), ("stories-valid", True)):
        for row in rows(data / f"{file}.jsonl.zst"):
            if held_out or share(f"book {row['author']} {row['title']}") < part:
                text = "\n\n".join(plain(paragraph) for paragraph in row["text"].split("\n\n"))
                writer.write("books", held_out, text, kind="story", lang="en")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--digits", action="store_true", help="also the spoken digits (CC-BY-SA 4.0)")
    parser.add_argument("--books", type=float, default=0.0, metavar="SHARE", help="this share of the books, too (0)")
    arguments = parser.parse_args()
    missing = [name for name in FILES if not (arguments.data / name).is_file()]
    if missing:
        parser.error(f"`{arguments.data}` has no {', '.join(missing)}; DATA is a folder with {', '.join(FILES)}")
    with open(arguments.data / "pictures.tsv", encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        pictures = {row["id"]: row for row in table if row["source"] != "stamps"}
    writer = Writer(arguments.out)
    passages(arguments.data, pictures, writer)
    captions(arguments.data, pictures, writer)
    words(arguments.data, arguments.digits, writer)
    stories(arguments.data, writer)
    if arguments.books > 0:
        books(arguments.data, arguments.books, writer)
    writer.close()


if __name__ == "__main__":
    main()
