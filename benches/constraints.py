#!/usr/bin/env python3
"""Validity and price of constraints, with the built-in model.

    python3 benches/constraints.py target/release/aquatint [--seeds 8]

Runs `generate` for each prompt, schema and seed: without a constraint, with the schema (any order), and with a grammar
for the same texts (from left to right). Prints how many texts were valid, forward passes and milliseconds for each
token. Needs Python's standard library only.
"""

import argparse
import json
import re
import subprocess
import tempfile

# Schemas, each with a check of its values and a grammar of some of its texts.
CASES = [
    (
        {"type": "object", "properties": {"name": {"type": "string", "maxLength": 16},
                                          "age": {"type": "integer", "minimum": 0, "maximum": 120}},
         "required": ["name", "age"]},
        lambda v: isinstance(v["name"], str) and len(v["name"]) <= 16 and 0 <= v["age"] <= 120,
        'start: "{\\"name\\":" STRING ",\\"age\\":" AGE "}"\nSTRING: /"[A-Za-z ,.]{0,16}"/\nAGE: /[1-9]?[0-9]/\n',
    ),
    (
        {"type": "array", "items": {"enum": ["cat", "dog", "fox", "bird"]}, "minItems": 2, "maxItems": 6},
        lambda v: 2 <= len(v) <= 6 and all(i in ("cat", "dog", "fox", "bird") for i in v),
        'start: "[" ITEM ("," ITEM){1,5} "]"\nITEM: "\\"cat\\"" | "\\"dog\\"" | "\\"fox\\"" | "\\"bird\\""\n',
    ),
    (
        {"type": "object", "properties": {"title": {"type": "string", "minLength": 3, "maxLength": 30},
                                          "year": {"type": "string", "format": "date"},
                                          "tags": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 3},
                                          "good": {"type": ["boolean", "null"]}},
         "required": ["title", "year", "good"]},
        lambda v: 3 <= len(v["title"]) <= 30 and re.fullmatch(r"\d{4}-\d\d-\d\d", v["year"]) is not None
        and v["good"] in (True, False, None),
        'start: "{\\"title\\":" TITLE ",\\"year\\":" DATE ",\\"good\\":" GOOD "}"\nTITLE: /"[A-Za-z ,.]{3,30}"/\n'
        'DATE: /"19[0-9]{2}-0[1-9]-[01][1-9]"/\nGOOD: "true" | "false" | "null"\n',
    ),
    (
        {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {
            "value": {"type": "integer"}, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
            "required": ["value"], "additionalProperties": False}}},
        lambda v: is_tree(v),
        'start: tree\ntree: "{\\"value\\":" NUMBER (",\\"left\\":" tree)? (",\\"right\\":" tree)? "}"\nNUMBER: /0|[1-9][0-9]{0,3}/\n',
    ),
]
PROMPTS = ["Once upon a time there was a girl. As JSON: ", "The story of the fox: ", "It was a cold day. He wrote: "]


def is_tree(value):
    return isinstance(value, dict) and isinstance(value.get("value"), int) and set(value) <= {"value", "left", "right"} \
        and all(is_tree(value[key]) for key in ("left", "right") if key in value)


def is_valid(check, text):
    try:
        return bool(check(json.loads(text)))
    except (ValueError, KeyError, TypeError):
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tokens", default="64")
    options = parser.parse_args()
    figures = {}
    for schema, check, grammar in CASES:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as schema_file, \
                tempfile.NamedTemporaryFile("w", suffix=".lark") as grammar_file:
            schema_file.write(json.dumps(schema)), schema_file.flush()
            grammar_file.write(grammar), grammar_file.flush()
            ways = {"none": [], "any order": ["--json-schema", schema_file.name],
                    "left to right": ["--grammar", grammar_file.name]}
            for prompt in PROMPTS:
                for seed in range(options.seeds):
                    for way, flags in ways.items():
                        command = [options.program, "generate", prompt, "--seed", str(seed), "--format", "json",
                                   "--max-tokens", options.tokens, *flags]
                        done = subprocess.run(command, check=True, capture_output=True, text=True)
                        result = json.loads(done.stdout)
                        figures.setdefault(way, []).append((is_valid(check, result["filled"][0]), result))
    print(f"{'constraint':<15} {'valid':>9} {'tokens':>7} {'passes':>7} {'tokens/pass':>12} {'ms/token':>9} {'ms/pass':>8}")
    for way, rows in figures.items():
        valid, results = sum(ok for ok, _ in rows), [result for _, result in rows]
        tokens = sum(result["tokens"] for result in results)
        passes = sum(result["forward_passes"] for result in results)
        seconds = sum(result["seconds"] for result in results)
        print(f"{way:<15} {valid:>4}/{len(rows):<4} {tokens / len(rows):>7.1f} {passes / len(rows):>7.1f} "
              f"{tokens / passes:>12.2f} {1000 * seconds / tokens:>9.2f} {1000 * seconds / passes:>8.2f}")


if __name__ == "__main__":
    main()
