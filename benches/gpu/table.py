"""What run.sh found, in tables.

    table.py tests LOGS CASES PROCESSOR    each check, and the same work here and on the processor
    table.py speed LOGS RUNS               times beside PyTorch's, and profiles by kernel
    table.py steps METRICS SECONDS         the steps that fit into these seconds, at the speed of a short run
"""
import glob
import json
import os
import re
import sys


def read(path):
    try:
        return open(path, errors='replace').read()
    except OSError:
        return ''


def rows(path):
    """The lines of a file that are JSON."""
    out = []
    for line in read(path).splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            pass
    return out


def stem(path):
    return os.path.basename(path).rsplit('.', 1)[0]


def failure(text):
    """The first words of what went wrong: a report of compute-sanitizer, a panic, or the last lines."""
    found = [line.strip('= ') for line in text.splitlines() if line.startswith('=========')]
    found = [line for line in found if re.search(r'rror|Race|hazard|Invalid|Uninit|barrier|at .*\+0x', line) and 'SUMMARY: 0' not in line]
    if found:
        return ' | '.join(found[:4])[:400]
    panic = re.search(r'panicked at [^\n]*\n.{0,400}', text, re.S)
    return ' '.join((panic[0] if panic else text[-300:]).split())[:400]


def tests(logs, cases, references):
    good, bad, idle = [], [], []
    for line in sorted(read(f'{logs}/results.txt').splitlines()):
        name, rc, took = line.split()
        text = read(f'{logs}/{name}.log')
        # A sanitizer calls it an error when a test asks nothing of a GPU.
        if 'before first instrumented API call' in text:
            idle.append(name)
            continue
        summary = re.findall(r'(?:ERROR|RACECHECK) SUMMARY: (.*)', text)
        clean = all(re.match(r'0 (errors|hazards)', each) for each in summary)
        if name.split('-')[0] in ('race', 'mem', 'init', 'sync'):
            clean = clean and bool(summary)
        # A name that no test has is no success either.
        ran = 'running 0 tests' not in text
        word = f'{name} {int(took) / 1e3:.1f}s' + (f' [{summary[-1]}]' if summary else '')
        (good if rc == 'rc=0' and clean and ran else bad).append((word, rc, failure(text) if ran else 'there is no such test'))
    print(f'{len(good)} good: ' + ', '.join(word for word, _, _ in good))
    if idle:
        print(f'{len(idle)} with nothing for a sanitizer to see: ' + ', '.join(idle))
    print(f'{len(bad)} bad' + (':' if bad else ''))
    alike = {}
    for word, rc, why in bad:
        alike.setdefault(re.sub(r'[\d.e-]+', '#', why)[:90], []).append((f'{word} {rc}', why))
    for group in alike.values():
        print(f"  {', '.join(word for word, _ in group)}: {group[0][1]}")
    print('-- here / on the processor')
    for path in sorted(glob.glob(f'{references}/*')):
        name, here = stem(path), f'{cases}/{os.path.basename(path)}'
        if not os.path.exists(here):
            print(f'{name:13s} was not run')
        elif path.endswith('.txt'):
            ours, theirs = read(here), read(path)
            print(f'{name:13s} ' + ('the same text' if ours == theirs else 'another text: ' + ' '.join(ours.split())[:160]))
        else:
            figures = [{(row.get('kind', 'bound'), row.get('step', 0)): row.get('loss', row.get('nats_per_token')) for row in rows(each)} for each in (here, path)]
            ours, theirs = [{key: value for key, value in each.items() if value is not None} for each in figures]
            both = sorted(set(ours) & set(theirs), key=lambda key: (key[1], key[0]))
            if not both:
                print(f'{name:13s} nothing to compare')
                continue
            worst, last = max(abs(ours[key] - theirs[key]) for key in both), both[-1]
            print(f'{name:13s} {len(both)} of {len(theirs)} figures, largest difference {worst:.2e}; last {ours[last]:.6f} / {theirs[last]:.6f}')


def speed(logs, runs):
    print(f"{'':22s}{'median ms':>10s}{'best':>9s}{'TFLOP/s':>9s}{'peak':>7s}{'share':>7s}{'tokens/s':>10s}{'GiB':>6s}")
    operations = {}
    for path in sorted(glob.glob(f'{logs}/ours-*.out')):
        for report in rows(path):
            operations[stem(path)[5:]] = report['work']['operations']
            for row in report['results']:
                time, peak = row['time'], row['peak_gflops'] or 0
                print(f"{stem(path):22s}{time['median_ms']:10.2f}{time['best_ms']:9.2f}{row['gflops'] / 1e3:9.1f}{peak / 1e3:7.0f}"
                      f"{100 * (row['share_of_peak'] or 0):6.1f}%{row['positions_per_second']:10.0f}  start {row['start_up_s']:.2f}s")
                if row.get('generation'):
                    print(f"  generated: {row['generation']['tokens_per_second']:.0f} tokens/s in {row['generation']['forward_passes']} passes")
    for path in sorted(glob.glob(f'{logs}/peer-*.out')):
        for row in rows(path):
            # A forward pass of a peer computes more logits than ours, so that its rate would not be comparable.
            rate = f"{operations.get(stem(path)[5:], 0) / row['median_ms'] / 1e9:9.1f}" if row['work'] == 'train step' else ' ' * 9
            tokens = 1e3 * row['batch'] * row['length'] / row['median_ms']
            print(f"{stem(path):22s}{row['median_ms']:10.2f}{row['best_ms']:9.2f}{rate}{'':14s}{tokens:10.0f}{row['peak_mib'] / 1024:6.1f}"
                  f"  {row['peer']} {row['version']}, {row['rows_of_logits']} rows of logits")
    for name in ('real', 'real-graphs', 'real-other'):
        steps = [row for row in rows(f'{runs}/{name}/metrics.jsonl') if row['kind'] == 'step']
        if steps:
            print(f'{name:10s} tokens/s: ' + ' '.join(f"{row['tokens_per_second'] / 1e3:.0f}k" for row in steps)
                  + f"; step {steps[-1]['step']}, loss {steps[0]['loss']:.3f} to {steps[-1]['loss']:.3f}")
    for path in sorted(glob.glob(f'{logs}/profile-*.txt')):
        print('--', stem(path))
        for line in read(path).splitlines()[:17]:
            print('  ' + re.sub(r'\s+', ' ', line)[:118])


def steps(metrics, seconds):
    """From the second half of a run, since the first steps choose algorithms; saving and validating take some of the time."""
    done = [row for row in rows(metrics) if row['kind'] == 'step']
    if not done:
        sys.exit(f'{metrics} has no steps')
    first, last = done[(len(done) - 1) // 2], done[-1]
    if first is last:
        first = {'step': 0, 'seconds': 0}
    speed = (last['step'] - first['step']) / (last['seconds'] - first['seconds'])
    print(max(2, int(0.955 * float(seconds) * speed)))


if __name__ == '__main__':
    {'tests': tests, 'speed': speed, 'steps': steps}[sys.argv[1]](*sys.argv[2:])
