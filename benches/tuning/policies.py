"""What commit policies solve, and in how many forward passes, on the held-out prompts of a recipe of rewards.

Run with:  python benches/tuning/policies.py RECIPE POLICY@STEPS … [--set KEY=VALUE …] [--prompts 500] [--temperature 0]
                                              [--program target/release/aquatint]
RECIPE is one of recipes/reward whose `objective.kind` is "reward". A policy is one of `aquatint generate --policy` with the steps
that a completion may take, for instance `confidence@10 confidence@5 threshold:0.9@10 learnt@10`. Each is measured by a training
step whose learning rate is 0, which ends with the validation of held-out prompts. The model is `initial`; a learnt order
is that of its folder, or of `initial=MODEL+FOLDER`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

# What a policy is drawn at for the temperature 0, which a rollout does not take.
LEAST_TEMPERATURE = 1e-9


def measure(arguments, policy, steps, folder):
    stated = {
        "output": folder,
        "run.steps": 1,
        "run.validate_every": 1,
        "run.validate_canvases": arguments.prompts,
        "optimiser.batch": 8,
        "optimiser.learning_rate": 0.0,
        "reward.completions": 8,
        "reward.temperature": max(arguments.temperature, LEAST_TEMPERATURE),
        "reward.policy": policy,
        "reward.steps": steps,
    }
    command = [arguments.program.resolve(), "train", arguments.recipe]
    for setting in [f"{key}={value}" for key, value in stated.items()] + arguments.set:
        command += ["--set", setting]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{policy}: {done.stderr.strip()}")
    with open(folder / "metrics.jsonl", encoding="utf-8") as file:
        return next(row for row in map(json.loads, file) if row["kind"] == "validation")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=pathlib.Path)
    parser.add_argument("policies", nargs="+", metavar="POLICY@STEPS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("target/release/aquatint"))
    arguments = parser.parse_args()
    print("| policy | steps at most | solved, % | forward passes |\n|---|---|---|---|")
    for named in arguments.policies:
        policy, _, steps = named.rpartition("@")
        if not policy or not steps.isdigit():
            parser.error(f"a policy is POLICY@STEPS; `{named}` is none")
        with tempfile.TemporaryDirectory() as folder:
            row = measure(arguments, policy, int(steps), pathlib.Path(folder) / "run")
        solved, passes = 100 * row["held_out_solved"], row["held_out_passes"]
        print(f"| {policy} | {steps} | {solved:.1f} | {passes:.2f} |", flush=True)


if __name__ == "__main__":
    main()
