"""Brings a trained model back in files of at most 15 MiB: `parts.py split RUN OUT LOGS` there, `parts.py join OUT FOLDER` here.

Weights of more than one part are packed: the lower bytes of all bf16 numbers, then the upper ones, which repeat themselves.
"""
import glob
import os
import sys
import tarfile
import zlib

PART, MOST = 15 << 20, 4
SMALL = ('config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'metrics.jsonl', 'loss.svg', 'recipe.toml')
CODECS = ('picture', 'sound')


def split(run, out, logs):
    with tarfile.open(f'{out}/run.tar.gz', 'w:gz') as tar:
        for name in SMALL:
            if os.path.exists(f'{run}/{name}'):
                tar.add(f'{run}/{name}', f'model/{name}')
        for codec in CODECS:
            if os.path.isdir(f'{run}/{codec}'):
                tar.add(f'{run}/{codec}', f'model/{codec}')
        for path in glob.glob(f'{logs}/*'):
            tar.add(path, 'logs/' + os.path.basename(path))
    # A run that was cut short has its best weights, if any.
    path = next((path for path in (f'{run}/model.safetensors', f'{run}/best/model.safetensors') if os.path.exists(path)), None)
    if path is None:
        sys.exit(f'there are no weights in {run}')
    data, kind = open(path, 'rb').read(), 'plain'
    if len(data) > PART:
        even = len(data) // 2 * 2
        data, kind = zlib.compress(data[0:even:2] + data[1:even:2] + data[even:], 1), f'planes-{even}'
    parts = [data[at:at + PART] for at in range(0, len(data), PART)]
    if len(parts) > MOST:
        sys.exit(f'the weights are too large to come back: {len(data)} bytes in {len(parts)} parts')
    for index, part in enumerate(parts):
        open(f'{out}/weights.{kind}.part-{index}', 'wb').write(part)
    print(f'{path}: {len(data)} bytes in {len(parts)} parts')


def join(out, folder):
    os.makedirs(folder, exist_ok=True)
    paths = sorted(glob.glob(f'{out}/weights.*.part-*'))
    kind = os.path.basename(paths[0]).split('.')[1]
    data = b''.join(open(path, 'rb').read() for path in paths)
    if kind.startswith('planes-'):
        data, even = zlib.decompress(data), int(kind.split('-')[1])
        whole = bytearray(even)
        whole[0::2], whole[1::2] = data[:even // 2], data[even // 2:even]
        data = bytes(whole) + data[even:]
    open(f'{folder}/model.safetensors', 'wb').write(data)
    with tarfile.open(f'{out}/run.tar.gz') as tar:
        for member in tar.getmembers():
            if member.name.startswith('model/'):
                member.name = member.name.removeprefix('model/')
                tar.extract(member, folder, filter='data')


if __name__ == '__main__':
    {'split': split, 'join': join}[sys.argv[1]](*sys.argv[2:])
