"""Compare this project's verdict on SMILES with RDKit's: on molecules of a set, and on the same with errors in them.

Run with:  python benches/science/smiles.py MOLECULES [--count 100000] [--seed 0]
Needs PyPI's rdkit (measured with 2026.9.1) and the example `valid` of crate `molecule`:
`cargo build --release -p aquatint-molecule --example valid`. MOLECULES holds one SMILES a line, in gzip where its name says
so; a heading `SMILES` and what follows a comma are passed over, as in the files of PyPI's molsets 0.3.1
(moses/dataset/data/train.csv.gz).

An error is one to three edits of a molecule: a symbol left out, put in, changed, or two changed about; symbols are drawn from
its first thousand molecules and from atoms, bonds and ring numbers that it has not. Many texts with errors are molecules all
the same, so that both verdicts are well represented. MOLECULES may also be fragment sequences, train.txt of
`recipes/molecules/prepare.py --fragments`.
"""

import argparse
import gzip
import pathlib
import random
import re
import subprocess

from rdkit import Chem, RDLogger

SYMBOL = re.compile(r"\[[^\]]*\]?|Br|Cl|%\d\d|.")
RARE = (
    "[N+] [O-] [n+] [nH] [C@@H] [C@H] [S+] [Si] [Se] [se] [NH3+] [B-] [13C] [2H] [C-] [N-] [O+] [P+] [CH2] [CH] [cH] [c] [n-] "
    "P B I p b # $ = - : / \\ . ( ) 1 2 7 9 %10 %11 * [Na+] [Xx] [ C= l r"
).split()


def molecules(path, count, draw):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        rows = [line.split(",")[0].strip() for line in file]
    return draw.sample([row for row in rows if row and row != "SMILES"], count)


def broken(text, symbols, draw):
    parts = SYMBOL.findall(text)
    for _ in range(draw.choice((1, 1, 2, 3))):
        place = draw.randrange(len(parts)) if parts else 0
        new = draw.choice(RARE) if draw.random() < 0.3 else draw.choice(symbols)
        match draw.randrange(4):
            case 0:
                parts[place : place + 1] = []
            case 1:
                parts.insert(place, new)
            case 2:
                parts[place : place + 1] = [new]
            case 3:
                parts[place : place + 2] = reversed(parts[place : place + 2])
    return "".join(parts)


def ours(program, texts):
    result = subprocess.run([program], input="\n".join(texts) + "\n", capture_output=True, text=True, check=True)
    return [line.split("\t") for line in result.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default="target/release/examples/valid")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N texts on which the verdicts differ")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    draw = random.Random(arguments.seed)
    whole = molecules(arguments.molecules, arguments.count, draw)
    symbols = [symbol for text in whole[:1000] for symbol in SYMBOL.findall(text)]
    # The empty text is a molecule of no atoms to RDKit, and none here.
    with_errors = [text for text in (broken(text, symbols, draw) for text in whole) if text]
    for name, texts in (("molecules of the set", whole), ("with errors", with_errors)):
        read = [Chem.MolFromSmiles(text) for text in texts]
        theirs = [molecule is not None for molecule in read]
        verdicts = ours(arguments.program, texts)
        missed = [(text, why) for text, is_valid, (verdict, *why) in zip(texts, theirs, verdicts) if is_valid and verdict == "0"]
        taken = [(text, why) for text, is_valid, (verdict, *why) in zip(texts, theirs, verdicts) if not is_valid and verdict == "1"]
        both = [(molecule, *why) for molecule, (verdict, *why) in zip(read, verdicts) if molecule is not None and verdict == "1"]
        apart = sum(len(Chem.GetMolFrags(molecule)) != int(parts) for molecule, parts in both)
        print(f"{name}: {len(texts)}, of which RDKit takes {sum(theirs)}; RDKit alone takes {len(missed)}, we alone {len(taken)}")
        print(f"  of {len(both)} that both take, {apart} have another number of parts")
        for kind, differing in (("RDKit alone", missed), ("we alone", taken)):
            for text, why in differing[: arguments.show]:
                print(f"  {kind}: {text} {' '.join(why)}")


if __name__ == "__main__":
    main()
