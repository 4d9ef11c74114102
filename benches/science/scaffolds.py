"""Measure what a model makes of given parts of molecules: scaffolds to decorate, fragments to link, beginnings to complete.

Run with:  python benches/science/scaffolds.py --model FOLDER --molsets WHEEL [--scaffolds 100] [--count 10]
Needs PyPI's rdkit and numpy (measured with 2026.9.1 and 2.4.6) and the wheel of molsets 0.3.1, of which only data is read
(`pip download --no-deps molsets==0.3.1`), and the program (`--program`).

Parts are those of molecules of MOSES's scaffold test set, whose scaffolds no molecule of the training set has. A part is written as
SMILES with one hole:

- decoration: the Murcko scaffold with a hole at an atom that has a hydrogen, `c1ccc([[~4]])cc1`;
- linker: two ring systems and a hole between them in place of the atoms that joined them, `c1ccc([[~3]]C2CCCC2)cc1`;
- completion: the first half of a molecule and a hole behind it, `CC(=O)Nc1[[~51]]`, which an end token may close.

Holes of the first two have at most `--lengths` tokens by turns, the third fills the model's canvas; an end token closes each.
Each template is filled `--count` times, once held to the grammar (`--molecule`) and once as the model writes.
Reported, each over all fillings: given (the characters beside the hole are those that were given), valid (RDKit reads one
molecule), kept (of valid decorations, where the scaffold alone is a molecule: it has the scaffold's atoms and bonds as a part;
the text beside other holes is no molecule by itself, so that nothing says which part it is), unique (different molecules among the valid ones
of a template), novel (not in the training set), and diversity (1 − mean Tanimoto similarity of different molecules of a template,
Morgan fingerprints of radius 2 in 1024 bits). Refused are templates that no molecule fills by the grammar; anything else that
the program fails with ends the measurement.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import time

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

import moses

KINDS = ("decoration", "linker", "completion")
SYMBOL = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.")


def with_hole(molecule, hole, draw):
    """The text before and behind a hole in place of the one dummy atom; `None` where it would be the first atom."""
    dummy = next(atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0)
    others = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetIdx() != dummy]
    text = Chem.MolToSmiles(molecule, rootedAtAtom=draw.choice(others))
    before, _, behind = text.partition("*")
    return (before, hole, behind) if before and "*" not in behind else None


def decoration(molecule, length, draw):
    scaffold = MurckoScaffold.GetScaffoldForMol(molecule)
    free = [atom.GetIdx() for atom in scaffold.GetAtoms() if atom.GetTotalNumHs() > 0 and not atom.GetNoImplicit()]
    if scaffold.GetRingInfo().NumRings() == 0 or not free:
        return None
    whole = Chem.RWMol(scaffold)
    dummy = whole.AddAtom(Chem.Atom(0))
    whole.AddBond(draw.choice(free), dummy, Chem.BondType.SINGLE)
    try:
        Chem.SanitizeMol(whole)
    except ValueError:
        # A scaffold may keep an atom of its molecule whose valence has no room left.
        return None
    return with_hole(whole, f"[[~{length}]]", draw)


def linker(molecule, length, draw):
    """Two ring systems that single bonds join through one to four atoms: these become the hole."""
    scaffold = MurckoScaffold.GetScaffoldForMol(molecule)
    ring_bond = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond) for bond in scaffold.GetBonds()]
    ends = [
        (one, other) if scaffold.GetAtomWithIdx(one).IsInRing() else (other, one)
        for one, other, bond in ring_bond
        if not bond.IsInRing() and scaffold.GetAtomWithIdx(one).IsInRing() != scaffold.GetAtomWithIdx(other).IsInRing()
    ]
    draw.shuffle(ends)
    for (ring, first), (ring_2, last) in ((a, b) for a in ends for b in ends if a < b):
        path = Chem.GetShortestPath(scaffold, ring, ring_2)
        inner = path[1:-1]
        if path[1] != first or path[-2] != last or any(scaffold.GetAtomWithIdx(atom).IsInRing() for atom in inner):
            continue
        whole = Chem.RWMol(scaffold)
        for one, other in ((ring, first), (ring_2, last)):
            whole.RemoveBond(one, other)
        dummy = whole.AddAtom(Chem.Atom(0))
        for end in (ring, ring_2):
            whole.AddBond(end, dummy, Chem.BondType.SINGLE)
        parts = Chem.GetMolFrags(whole)
        kept = next(part for part in parts if dummy in part)
        for atom in sorted(set(range(whole.GetNumAtoms())) - set(kept), reverse=True):
            whole.RemoveAtom(atom)
        try:
            Chem.SanitizeMol(whole)
        except ValueError:
            continue
        if len(Chem.GetSymmSSSR(whole)) >= 2:
            return with_hole(whole, f"[[~{length}]]", draw)
    return None


def completion(molecule, length, draw):
    """`length` has no part in it: the hole goes on to the end of the canvas."""
    symbols = SYMBOL.findall(Chem.MolToSmiles(molecule))
    half = len(symbols) // 2
    return "".join(symbols[:half]), f"[[~{CANVAS - half}]]", ""


CANVAS = 60
"""Positions of a canvas of recipes/molecules/moses.toml behind the begin token."""
MAKERS = {"decoration": decoration, "linker": linker, "completion": completion}


def templates(kind, molecules, arguments, draw):
    """As many templates as asked for, by molecules in a drawn order; no two of the same given text."""
    found, seen = [], set()
    for text in draw.sample(molecules, len(molecules)):
        length = arguments.lengths[len(found) % len(arguments.lengths)]
        made = MAKERS[kind](Chem.MolFromSmiles(text), length, draw)
        if made is None or (made[0], made[2]) in seen or "[[" in made[0] + made[2]:
            continue
        seen.add((made[0], made[2]))
        found.append(made)
        if len(found) == arguments.scaffolds:
            return found
    raise SystemExit(f"only {len(found)} of {arguments.scaffolds} templates of kind {kind} were found")


def fill(arguments, template, is_held, seed):
    command = [arguments.program, "generate", template, "-m", str(arguments.model), "--count", str(arguments.count)]
    command += ["--seed", str(seed), "--format", "jsonl", "-q", *arguments.flags.split(), *(["--molecule"] if is_held else [])]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        # Where the grammar leaves nothing to write, that is a finding; a wrong flag or a missing model is none.
        if is_held and "cannot be filled as the molecule says" in result.stderr:
            return None, result.stderr.splitlines()[:2]
        raise SystemExit(f"{' '.join(command)}\n{result.stderr.strip()}")
    return [json.loads(line)["text"] for line in result.stdout.splitlines()], None


def part_of(before, behind):
    """The given atoms and bonds, where the text alone is a molecule without the hole; `None` where it is none."""
    text = re.sub(r"\(\)", "", before + behind) if behind else before
    return Chem.MolFromSmiles(text)


def measure(arguments, kind, found, is_held, training):
    totals = dict.fromkeys(("fillings", "refused", "given", "valid", "kept", "with_part", "unique", "novel"), 0)
    diversities, begun = [], time.perf_counter()
    for number, (before, hole, behind) in enumerate(found):
        texts, reason = fill(arguments, before + hole + behind, is_held, arguments.seed + number * arguments.count)
        totals["fillings"] += arguments.count
        if texts is None:
            totals["refused"] += 1
            if arguments.show:
                print(f"  refused: {before}{hole}{behind}: {reason}")
            continue
        totals["given"] += sum(text.startswith(before) and text.endswith(behind) for text in texts)
        molecules = [molecule for text in texts if (molecule := Chem.MolFromSmiles(text)) is not None]
        totals["valid"] += len(molecules)
        part = part_of(before, behind) if kind == "decoration" else None
        if part is not None:
            totals["with_part"] += len(molecules)
            totals["kept"] += sum(molecule.HasSubstructMatch(part) for molecule in molecules)
        different = {Chem.MolToSmiles(molecule): molecule for molecule in molecules}
        totals["unique"] += len(different)
        totals["novel"] += sum(text not in training for text in different)
        if len(different) > 1:
            prints = moses.fingerprints(list(different.values()))
            similar = next(moses.similarities(prints, prints))
            diversities.append(1 - (similar.sum() - len(prints)) / (len(prints) * (len(prints) - 1)))
        if arguments.show and number < arguments.show:
            print(f"  {before}{hole}{behind}: {' '.join(list(different)[:4])}")
    seconds = time.perf_counter() - begun
    share = lambda part, of: totals[part] / totals[of] if totals[of] else float("nan")
    return {
        "given": share("given", "fillings"),
        "valid": share("valid", "fillings"),
        "kept": share("kept", "with_part"),
        "unique": share("unique", "valid"),
        "novel": share("novel", "unique"),
        "diversity": float(np.mean(diversities)) if diversities else float("nan"),
        "refused": totals["refused"],
        "fillings/s": totals["fillings"] / seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--molsets", type=pathlib.Path, required=True)
    parser.add_argument("--program", default="target/release/aquatint")
    parser.add_argument("--scaffolds", type=int, default=100, help="templates of each kind")
    parser.add_argument("--count", type=int, default=10, help="fillings of each template")
    parser.add_argument("--lengths", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--flags", default="", help="more flags of generate, as in '--steps 16 --temperature 0.9'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print what became of the first N templates")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    molsets = moses.Molsets(arguments.molsets)
    training, molecules = set(molsets.molecules("train")), molsets.molecules("test_scaffolds")
    columns = ("given", "valid", "kept", "unique", "novel", "diversity", "refused", "fillings/s")
    rows = []
    for kind in arguments.kinds:
        found = templates(kind, molecules, arguments, random.Random(arguments.seed))
        for is_held in (True, False):
            row = measure(arguments, kind, found, is_held, training)
            rows.append((f"{kind}, {'held to the grammar' if is_held else 'as the model writes'}", row))
    print("| | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for name, row in rows:
        cells = [str(row[column]) if column == "refused" else f"{row[column]:.3f}" for column in columns]
        print(f"| {name} | " + " | ".join("–" if cell == "nan" else cell for cell in cells) + " |")


if __name__ == "__main__":
    main()
