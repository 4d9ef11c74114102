"""Make the files of molecules that `moses.toml`, `properties.toml` and `fragments.toml` read: one SMILES a line.

Run with:  python recipes/molecules/prepare.py MOLSETS OUT
MOLSETS is PyPI's molsets 0.3.1 (MIT), the benchmark MOSES (1811.12823), as `pip download --no-deps molsets==0.3.1` gets it or
unpacked. RDKit is needed for `--properties`, `--randomised` and `--fragments` only. OUT gets:

- train.txt: the benchmark's training set less the molecules of valid.txt.
- valid.txt: `--valid` molecules of the training set, those with the least hash. The benchmark has no set to choose a
  model by, and its test sets are left alone.
- test.txt, test_scaffolds.txt: its two test sets, of which the second has scaffolds that no other molecule has.
- beginnings.txt: the first symbol of each of 10,000 molecules of train.txt, prompts of `recipes/reward/molecules.toml`.

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

`--fragments` writes each molecule of train.txt and valid.txt as a fragment sequence (SAFE, 2310.10773): the bonds that BRICS
cuts (RDKit's `FindBRICSBonds`) are cut, and the fragments stand one after another, joined by `.`. Each of these bonds is a
number from `%10` on that is opened in one fragment and closed in another, so that the whole is still a SMILES of the molecule:
`CC(=O)Nc1ccccc1` is `CC%10=O.c1ccc%11cc1.N%10%11`, in this order or another, which the hash draws, so that any fragment may be
given first. Numbers are in the order in which they open, none twice; fragments are written as RDKit does. A molecule without
such a bond stays as it is. Left out, and counted, are molecules that have more than 59 symbols so, and those that RDKit does not
read back as the same. With `--randomised N` the N others are other orders of the fragments. A molecule takes one to two
milliseconds.
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
# The same of a fragment sequence.
MOST_OF_SEQUENCE = 59
# Of how many molecules the first symbol is written.
BEGINNINGS = 10_000
# Stands in a fragment for the number of a bond that is cut, until the order of the fragments gives it one.
CUT = "?"
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


def fragments(molecule):
    """The fragments of one of RDKit's molecules: of each its text with marks, and the bonds that are cut by atoms with marks."""
    from rdkit import Chem
    from rdkit.Chem import BRICS

    cuts = sorted(molecule.GetBondBetweenAtoms(*ends).GetIdx() for ends, _ in BRICS.FindBRICSBonds(molecule))
    if not cuts:
        return []
    at = {}
    for cut in cuts:
        bond = molecule.GetBondWithIdx(cut)
        for end in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()):
            at.setdefault(end, []).append(cut)
    symbols = [atom.GetSmarts() + CUT * len(at.get(atom.GetIdx(), [])) for atom in molecule.GetAtoms()]
    found = []
    for atoms in Chem.GetMolFrags(Chem.FragmentOnBonds(molecule, cuts, addDummies=False)):
        text = Chem.MolFragmentToSmiles(molecule, atoms, atomSymbols=symbols)
        order = molecule.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
        found.append((text, [at[atom] for atom in order if atom in at]))
    return found


def sequence(molecule, parts, order):
    """Fragments in an order as one SMILES. Bonds that are cut are numbered as they open; an atom closes before it opens."""
    numbers, texts = {}, []
    for text, atoms in (parts[part] for part in order):
        for cuts in atoms:
            for cut in sorted(cuts, key=lambda cut: numbers.get(cut, math.inf)):
                number = numbers.setdefault(cut, 10 + len(numbers))
                is_double = molecule.GetBondWithIdx(cut).GetBondTypeAsDouble() == 2
                text = text.replace(CUT, f"{'=' * is_double}%{number}", 1)
        texts.append(text)
    return ".".join(texts)


def sequences(row, count):
    """A molecule as fragment sequences, at most so many, none twice; the molecule itself where no bond is cut."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(row)
    parts = fragments(molecule)
    if not parts:
        return [row]
    orders = (
        sorted(range(len(parts)), key=lambda part: by_hash(f"fragment {part} of {row}, {number}")) for number in range(count)
    )
    found = dict.fromkeys(sequence(molecule, parts, order) for order in orders)

    def is_kept(text):
        read = Chem.MolFromSmiles(text)
        fits = len(SYMBOL.findall(text)) <= MOST_OF_SEQUENCE
        return fits and read is not None and Chem.MolToSmiles(read) == Chem.MolToSmiles(molecule)

    return [text for text in found if is_kept(text)]


def forms_of(row, arguments, others):
    """The lines of a molecule: one, and so many others."""
    if arguments.fragments:
        return sequences(row, 1 + others)
    return [row, *randomised(row, others)] if others else [row]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molsets", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--valid", type=int, default=10_000, help="molecules that are held out of the training set")
    parser.add_argument("--limit", type=int, help="molecules of the training set, at most")
    parser.add_argument("--properties", action="store_true", help="write properties in front of half of the molecules")
    parser.add_argument("--randomised", type=int, default=0, metavar="N", help="other SMILES of each training molecule")
    parser.add_argument("--fragments", action="store_true", help="write molecules as fragment sequences")
    arguments = parser.parse_args()
    if arguments.randomised < 0 or (arguments.limit is not None and arguments.limit < 1):
        parser.error("--randomised is 0 or more, and --limit 1 or more")
    sets = {name: molecules(arguments.molsets, file) for name, file in FILES.items()}
    shuffled = sorted(sets.pop("train"), key=by_hash)
    if not 0 < arguments.valid < len(shuffled):
        raise SystemExit(f"--valid is {arguments.valid}; allowed: 1 to {len(shuffled) - 1}")
    sets["valid"], train = shuffled[: arguments.valid], shuffled[arguments.valid :][: arguments.limit]
    sets["beginnings"] = [SYMBOL.match(row)[0] for row in train[:BEGINNINGS]]
    for name, rows, others in (("train", train, arguments.randomised), ("valid", sets["valid"], 0)):
        of = {form: row for row in rows for form in forms_of(row, arguments, others)}
        sets[name] = sorted(of, key=by_hash)
        if arguments.fragments:
            print(f"{name}: {len(rows) - len(set(of.values()))} of {len(rows)} molecules are left out")
        if arguments.properties:
            sets[name] = [with_properties(form, of[form]) for form in sets[name]]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        path = arguments.out / f"{name}.txt"
        path.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        print(f"{path}: {len(rows)} lines")


if __name__ == "__main__":
    main()
