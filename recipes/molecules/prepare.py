"""Make the files of molecules that `moses.toml` reads: one SMILES a line.

Run with:  python recipes/molecules/prepare.py MOLSETS OUT
MOLSETS is PyPI's molsets 0.3.1 (MIT), the benchmark MOSES (1811.12823), as `pip download --no-deps molsets==0.3.1` gets it or
unpacked. No library is needed. OUT gets:

- train.txt: the benchmark's training set less the molecules of valid.txt.
- valid.txt: `--valid` molecules of the training set, those with the least hash. The benchmark has no set to choose a
  model by, and its test sets are left alone.
- test.txt, test_scaffolds.txt: its two test sets, of which the second has scaffolds that no other molecule has.

SMILES are those of the files: the canonical form of RDKit, by which the benchmark's novelty counts. The lines of train.txt are
shuffled by the same hash.
"""

import argparse
import gzip
import hashlib
import io
import pathlib
import zipfile

FILES = {"train": "train.csv.gz", "test": "test.csv.gz", "test_scaffolds": "test_scaffolds.csv.gz"}
FOLDER = "moses/dataset/data"


def content(molsets, name):
    if molsets.is_file():
        with zipfile.ZipFile(molsets) as wheel:
            return wheel.read(f"{FOLDER}/{name}")
    found = next((path for path in (molsets / name, molsets / FOLDER / name) if path.is_file()), None)
    if found is None:
        raise SystemExit(f"{molsets} has no {name}; it is to be the wheel of molsets 0.3.1, or its folder {FOLDER}")
    return found.read_bytes()


def molecules(molsets, name):
    with gzip.open(io.BytesIO(content(molsets, name)), "rt", encoding="ascii") as file:
        heading, *rows = (line.strip().split(",")[0] for line in file)
    if heading != "SMILES" or not all(rows):
        raise SystemExit(f"{name} is no table of SMILES: its first line is {heading!r}")
    return rows


def by_hash(text):
    return hashlib.sha256(text.encode()).digest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molsets", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--valid", type=int, default=10_000, help="molecules that are held out of the training set")
    arguments = parser.parse_args()
    sets = {name: molecules(arguments.molsets, file) for name, file in FILES.items()}
    shuffled = sorted(sets.pop("train"), key=by_hash)
    if not 0 < arguments.valid < len(shuffled):
        raise SystemExit(f"--valid is {arguments.valid}; allowed: 1 to {len(shuffled) - 1}")
    sets["valid"], sets["train"] = shuffled[: arguments.valid], shuffled[arguments.valid :]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        path = arguments.out / f"{name}.txt"
        path.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        print(f"{path}: {len(rows)} molecules")


if __name__ == "__main__":
    main()
