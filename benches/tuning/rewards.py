"""Learn from rewards by several estimators and seeds, side by side, and draw what becomes of the share that is solved.

Run with:  python benches/tuning/rewards.py RECIPE OUT --arms NAME=SET,SET… NAME=SET… [--seeds 1,2,3] [--minutes 10]
                                            [--set KEY=VALUE …] [--program target/release/aquatint] [--table-only]
RECIPE is one of recipes/reward. An arm is a name and what the recipe sets under it, for instance
`trace=reward.estimator=trace,reward.readings=5 d1=reward.estimator=mean-field`. Runs go one after the other, each with one
thread and the same time. When the program is started again, runs that came to their end are passed over, and those that were
interrupted or killed go on from what they saved. OUT gets the runs, their `metrics.jsonl`, `table.md` and `plot.svg`: the share
of the completions of rollouts that are solved, by forward passes of rollouts and by wall time, the mean of the seeds with the
range from the least to the most shaded; and the share of held-out prompts. Rollouts are of prompts that are learned from, and
noisy: points are means of `--together` updates.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a5a9e", "#b08900", "#555555")
WIDTH, HEIGHT, LEFT, TOP, GAP = 420, 300, 56, 34, 70


def rows(folder):
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        # A kill cuts the last line short, and no other.
        return [json.loads(line) for line in lines[:-1]]


def is_done(folder):
    """Whether a run came to its end, by its last line: one that was interrupted did not, nor one that goes on since."""
    last = rows(folder)[-1:]
    return any(row["kind"] == "ending" and row["ending"] != "interrupted" for row in last)


def learn(arguments, name, settings, seed):
    folder = arguments.out / f"{name}-{seed}"
    if is_done(folder):
        return folder
    command = [arguments.program.resolve(), "train", arguments.recipe, "--threads", "1"]
    resumed = (folder / "state" / "run.safetensors").is_file()
    # The limit counts the minutes of one process.
    spent = max((row["seconds"] for row in rows(folder)), default=0.0) / 60 if resumed else 0.0
    left = max(0.0, arguments.minutes - spent)
    stated = [f"output={folder}", f"seed={seed}", f"run.max_minutes={left}", "run.log_every=1"]
    for setting in stated + arguments.set + settings:
        command += ["--set", setting]
    if resumed:
        command.append("--resume")
    print(f"{name}, seed {seed}{', resumed' if resumed else ''}", flush=True)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if not is_done(folder):
        sys.exit(f"{name}, seed {seed}: {done.stderr.strip()}")
    return folder


def updates_of(folder):
    return [row for row in rows(folder) if row["kind"] == "step"]


def curve(folder, together):
    """Points of a run: updates, seconds, forward passes, and the share that is solved. A rest of fewer updates makes no point."""
    steps = updates_of(folder)
    points, passes = [], 0.0
    for start in range(0, len(steps) - together + 1, together):
        some = steps[start : start + together]
        passes += sum(row["passes"] for row in some)
        solved = statistics.mean(row["solved"] for row in some)
        points.append((some[-1]["step"], some[-1]["seconds"], passes, solved))
    return points


def held_out(folder):
    """The shares of held-out prompts that are solved, by step."""
    return [(row["step"], row["held_out_solved"]) for row in rows(folder) if row["kind"] == "validation"]


def value_at(points, axis, at):
    """Between the points, by straight lines; nothing beyond the last."""
    before = None
    for point in points:
        if point[axis] >= at:
            if before is None:
                return point[3] if point[axis] == at else None
            share = (at - before[axis]) / (point[axis] - before[axis])
            return before[3] + share * (point[3] - before[3])
        before = point
    return None


def panel(arms, axis, label, offset):
    """One picture of all arms over an axis."""
    most = max((points[-1][axis] for curves in arms.values() for points in curves if points), default=1.0)
    top = max((point[3] for curves in arms.values() for points in curves for point in points), default=1.0)
    top = min(1.0, math.ceil(top * 10 + 0.5) / 10)
    x = lambda value: offset + LEFT + value / most * WIDTH
    y = lambda value: TOP + HEIGHT - value / top * HEIGHT
    parts = []
    for line in range(int(round(top * 10)) + 1):
        share = line / 10
        parts.append(f'<line x1="{x(0):.1f}" x2="{x(most):.1f}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(0) - 8:.1f}" y="{y(share) + 4:.1f}" text-anchor="end">{share * 100:.0f} %</text>')
    for part in range(5):
        value = most * part / 4
        shown = f"{value / 60:.1f}" if axis == 1 else f"{value:,.0f}"
        parts.append(f'<text x="{x(value):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{shown}</text>')
    parts.append(f'<text x="{x(most / 2):.1f}" y="{TOP + HEIGHT + 38}" text-anchor="middle">{label}</text>')
    for colour, curves in zip(COLOURS, arms.values()):
        band = []
        for part in range(81):
            at = most * part / 80
            values = [value_at(points, axis, at) for points in curves]
            if values and None not in values:
                band.append((at, min(values), statistics.mean(values), max(values)))
        if len(band) < 2:
            continue
        edge = [f"{x(at):.1f},{y(most_of):.1f}" for at, _, _, most_of in band]
        edge += [f"{x(at):.1f},{y(least):.1f}" for at, least, _, _ in reversed(band)]
        mean = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, _, value, _ in band)
        parts.append(f'<polygon points="{" ".join(edge)}" fill="{colour}" opacity="0.18"/>')
        parts.append(f'<polyline points="{mean}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


def plot(arms, title):
    total = 2 * (LEFT + WIDTH) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {TOP + HEIGHT + 84}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    parts += panel(arms, 2, "forward passes of each completion's rollout, all updates", 0)
    parts += panel(arms, 1, "minutes", LEFT + WIDTH + GAP)
    for index, (colour, name) in enumerate(zip(COLOURS, arms)):
        x = LEFT + index * 150
        y = TOP + HEIGHT + 66
        parts.append(f'<rect x="{x}" y="{y - 9}" width="14" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{y}">{name}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def spread(values):
    if not values:
        return "-"
    return f"{100 * statistics.mean(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def table(folders, together):
    lines = [
        "| estimator | seeds | updates | solved in rollouts, first | last | held out, last |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in folders.items():
        steps = [some for some in map(updates_of, runs) if some]
        count = f"{statistics.mean(some[-1]['step'] for some in steps):.1f}" if steps else "-"
        first = [statistics.mean(row["solved"] for row in some[:together]) for some in steps]
        last = [statistics.mean(row["solved"] for row in some[-together:]) for some in steps]
        held = [points[-1][1] for points in map(held_out, runs) if points]
        lines.append(f"| {name} | {len(runs)} | {count} | {spread(first)} | {spread(last)} | {spread(held)} |")
    lines.append("")
    lines.append(
        f"Per cent: the mean of the seeds, and the least and the most. Rollouts: the first {together} updates of each run and its "
        f"last {together}."
    )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--arms", nargs="+", required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--title", default="Share of completions that are solved")
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("target/release/aquatint"))
    parser.add_argument("--table-only", action="store_true", help="read the runs that there are")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    named = {}
    for arm in arguments.arms:
        name, _, settings = arm.partition("=")
        if not settings:
            parser.error(f"an arm is NAME=KEY=VALUE,…; `{arm}` is none")
        named[name] = settings.split(",")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Seed by seed, so that a comparison that is stopped has whole rounds.
    for seed in seeds:
        for name, settings in named.items():
            if not arguments.table_only:
                learn(arguments, name, settings, seed)
    folders = {name: [f for seed in seeds if is_done(f := arguments.out / f"{name}-{seed}")] for name in named}
    arms = {name: [curve(folder, arguments.together) for folder in folders[name]] for name in named}
    text = table(folders, arguments.together)
    (arguments.out / "table.md").write_text(text, encoding="utf-8")
    (arguments.out / "plot.svg").write_text(plot(arms, arguments.title), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
