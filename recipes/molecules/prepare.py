"""Make the files of molecules that `moses.toml` and `properties.toml` read: one SMILES a line.

Run with:  python recipes/molecules/prepare.py MOLSETS OUT
MOLSETS is PyPI's molsets 0.3.1 (MIT), the benchmark MOSES (1811.12823), as `pip download --no-deps molsets==0.3.1` gets it or
unpacked. RDKit is needed for `--properties` and `--randomised` only. OUT gets:

- train.txt: the benchmark's training set less the molecules of valid.txt.
- valid.txt: `--valid` molecules of the training set, those with the least hash. The benchmark has no set to choose a
  model by, and its test sets are left alone.
- test.txt, test_scaffolds.txt: its two test sets, of which the second has scaffolds that no other molecule has.

SMILES are those of the files: the canonical form of RDKit, by which the benchmark's novelty counts. The lines of train.txt are
shuffled by the same hash.

`--properties` writes properties in front of half of the molecules of train.txt and valid.txt, `[QED=8][RINGS=2]CCO…`; the
others stand alone, so that a model learns both. Each of the three is there with probability 1/2, at least one is, in this order:

- `[QED=0]` to `[QED=9]`: the quantitative estimate of drug-likeness (RDKit's `QED.qed`), `[QED=8]` from 0.8 to below 0.9.
- `[LOGP=-2]` to `[LOGP=6]`: the octanol-water partition coefficient of Wildman and Crippen (RDKit's `Crippen.MolLogP`),
  `[LOGP=3]` from 3 to below 4; what lies beyond either end counts with it.
- `[RINGS=0]` to `[RINGS=7]`: rings (RDKit's `CalcNumRings`); `[RINGS=7]` is seven or more.

`--randomised N` writes each molecule of train.txt N times more, as SMILES that begin at other atoms and take other branches
first (1703.07076). Those of more than 54 symbols are left out, as no canvas of the recipe holds them, and so are those that
are there already.
"""

import argparse
import gzip
import hashlib
import io
import math
import pathlib
import re
import zipfile

FILES = {"train": "train.csv.gz", "test": "test.csv.gz", "test_scaffolds": "test_scaffolds.csv.gz"}
FOLDER = "moses/dataset/data"
# What `data.pre_tokenizer = "smiles"` makes a token of, and how many of them a canvas of the recipe holds beside its end token.
SYMBOL = re.compile(r"\[[^\[\]\s]+\]|Br|Cl|%[0-9]{2}|.")
MOST_SYMBOLS = 54
# Of each property the lowest and the highest bin; bins are whole numbers.
BINS = {"QED": (0, 9), "LOGP": (-2, 6), "RINGS": (0, 7)}


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


def bins(molecule):
    """The bin of each property of one of RDKit's molecules."""
    from rdkit.Chem import QED, Crippen, rdMolDescriptors

    found = {
        "QED": math.floor(10 * QED.qed(molecule)),
        "LOGP": math.floor(Crippen.MolLogP(molecule)),
        "RINGS": rdMolDescriptors.CalcNumRings(molecule),
    }
    return {name: min(max(found[name], low), high) for name, (low, high) in BINS.items()}


def with_properties(row, canonical):
    """A line with properties in front, or without: what its hash says."""
    from rdkit import Chem

    chance = by_hash("properties of " + row)
    if chance[0] % 2:
        return row
    chosen = [name for bit, name in enumerate(BINS) if chance[1] >> bit & 1] or [list(BINS)[chance[2] % len(BINS)]]
    found = bins(Chem.MolFromSmiles(canonical))
    return "".join(f"[{name}={found[name]}]" for name in chosen) + row


def randomised(row, count):
    """Other SMILES of a molecule, at most so many, none twice."""
    from rdkit import Chem

    seed = int.from_bytes(by_hash("randomised " + row)[:3], "big")
    found = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(row), count, randomSeed=seed)
    return [text for text in dict.fromkeys(found) if text != row and len(SYMBOL.findall(text)) <= MOST_SYMBOLS]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molsets", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--valid", type=int, default=10_000, help="molecules that are held out of the training set")
    parser.add_argument("--limit", type=int, help="molecules of the training set, at most")
    parser.add_argument("--properties", action="store_true", help="write properties in front of half of the molecules")
    parser.add_argument("--randomised", type=int, default=0, metavar="N", help="other SMILES of each training molecule")
    arguments = parser.parse_args()
    if arguments.randomised < 0 or (arguments.limit is not None and arguments.limit < 1):
        parser.error("--randomised is 0 or more, and --limit 1 or more")
    sets = {name: molecules(arguments.molsets, file) for name, file in FILES.items()}
    shuffled = sorted(sets.pop("train"), key=by_hash)
    if not 0 < arguments.valid < len(shuffled):
        raise SystemExit(f"--valid is {arguments.valid}; allowed: 1 to {len(shuffled) - 1}")
    sets["valid"], train = shuffled[: arguments.valid], shuffled[arguments.valid :][: arguments.limit]
    forms = {row: [row, *randomised(row, arguments.randomised)] if arguments.randomised else [row] for row in train}
    sets["train"] = sorted((form for row in train for form in forms[row]), key=by_hash)
    if arguments.properties:
        of = {form: row for row in train for form in forms[row]}
        sets["train"] = [with_properties(row, of[row]) for row in sets["train"]]
        sets["valid"] = [with_properties(row, row) for row in sets["valid"]]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        path = arguments.out / f"{name}.txt"
        path.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        print(f"{path}: {len(rows)} lines")


if __name__ == "__main__":
    main()
