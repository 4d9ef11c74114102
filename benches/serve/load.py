"""A load test of `aquatint serve` on loopback: many requests at once, each of which has to get the text that it gets alone.

Run with:  python benches/serve/load.py --program target/release/aquatint
Needs the program (`cargo build --release`), Linux, and PyPI's aiohttp (3.14.5). `--out` writes every figure as JSON.

The requests are drawn from a seed: prompts, lengths, policies, temperatures and endpoints, a part of them streamed. They
are sent twice to one server: first one at a time, read to the end; then `--at-once` at a time, where a tenth of them are
left by their clients in the middle and a few have readers that take half a second for what others read at once.

It fails when an answer is lost, when a text differs from the one that the same request got alone (of a request that was
left: when what was read is not the beginning of it), when `aquatint generate` writes another text for one of the first
requests, when the server does not notice that a client is gone, or when its memory grows between the middle and the end of
the second part. Latencies are those of requests that were neither left nor read slowly.
"""

import argparse
import asyncio
import json
import pathlib
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

import aiohttp

PROMPTS = [
    "Once upon a time", "The old king", "In a dark forest there lived", "", "\"Who are you?\" asked the fox.",
    "On the third day the miller's daughter came to the river, and there she saw", "It was late in the evening when",
]
POLICIES = [None, None, "confidence", "margin", "entropy", "random", "ancestral", "threshold:0.5", "entropy-bound:4"]
# What the memory of the server may grow by between the middle and the end: pages that the allocator keeps.
SLACK_MIB = 16
LEFT, SLOW, WHOLE = "left", "slow", "whole"


def drawn(count, seed):
    """The requests: path, body, and what their readers do."""
    draw = random.Random(seed)
    requests = []
    for number in range(count):
        body = {"max_tokens": draw.randint(4, 64), "seed": number, "temperature": draw.choice([0, 0.5, 0.8, 1])}
        body |= {"policy": policy} if (policy := draw.choice(POLICIES)) else {}
        body |= {"block_length": draw.choice([8, 16, 32])} if draw.random() < 0.3 else {}
        body |= {"steps": draw.choice([4, 8, 16])} if draw.random() < 0.3 else {}
        body |= {"stop": [" the "]} if draw.random() < 0.1 else {}
        prompt = draw.choice(PROMPTS)
        if draw.random() < 0.3:
            path, body = "/v1/chat/completions", body | {"messages": [{"role": "user", "content": prompt or "Hello"}]}
        else:
            path, body = "/v1/completions", body | {"prompt": prompt}
            body |= {"suffix": " And so they lived happily."} if draw.random() < 0.2 else {}
        kind = draw.random()
        reader = LEFT if kind < 0.1 else SLOW if kind < 0.13 else WHOLE
        streamed = reader != WHOLE or draw.random() < 0.3
        if reader == LEFT:
            body["max_tokens"] += 60
        requests.append((path, body, reader, streamed))
    return requests


def small_window(address):
    """A socket into which the server cannot push much that is not read."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    return made


class Client:
    """Sends requests to one server."""

    def __init__(self, address, sessions):
        self.address, (self.session, self.slow) = address, sessions

    async def whole(self, path, body):
        """The text, and when it was there."""
        begun = time.monotonic()
        async with self.session.post(self.address + path, json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        choice = answer["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        return {"text": text, "ended": True, "seconds": time.monotonic() - begun}

    async def stream(self, path, body, reader):
        """The text as it comes, and when the first of it was there."""
        begun, text, first, ended = time.monotonic(), "", None, False
        body = body | {"stream": True}
        session = self.session
        if reader == SLOW:
            # The canvas is sent along, so that there is much to read.
            session, body["stream_options"] = self.slow, {"denoising": True}
        async with session.post(self.address + path, json=body) as response:
            assert response.status == 200, await response.text()
            async for line in lines(response, reader == SLOW):
                if line == b"data: [DONE]":
                    ended = True
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                for choice in chunk.get("choices", ()):
                    part = choice["delta"].get("content", "") if "delta" in choice else choice["text"]
                    text += part
                    first = first or (time.monotonic() - begun if part else None)
                if reader == LEFT and text:
                    break
            if reader == LEFT:
                response.close()
        return {"text": text, "ended": ended, "first": first, "seconds": time.monotonic() - begun}

    async def send(self, request):
        path, body, reader, streamed = request
        return await (self.stream(path, body, reader) if streamed else self.whole(path, body))

    async def metric(self, name, label=""):
        async with self.session.get(f"{self.address}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and label in line)


async def lines(response, slowly):
    """The lines of a stream; a slow reader takes 2 KiB, then waits."""
    rest = b""
    while part := await (response.content.read(2048) if slowly else response.content.readany()):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line
        if slowly:
            await asyncio.sleep(0.05)


def memory(process):
    """MiB of the server's memory that are resident."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def quantiles(seconds):
    """The median and the 95th percentile in milliseconds."""
    if len(seconds) < 20:
        return {"requests": len(seconds)}
    cuts = statistics.quantiles(seconds, n=20)
    return {"requests": len(seconds), "p50_ms": round(cuts[9] * 1000, 1), "p95_ms": round(cuts[18] * 1000, 1)}


def figures(requests, answers, seconds, tokens):
    whole = [answer for request, answer in zip(requests, answers) if request[2] == WHOLE]
    first = [answer["first"] for answer in whole if answer.get("first")]
    return {
        "seconds": round(seconds, 2), "tokens": int(tokens), "tokens_per_second": round(tokens / seconds, 1),
        "latency": quantiles([answer["seconds"] for answer in whole]), "time_to_first_text": quantiles(first),
    }


def generated(program, request):
    """The text that the program writes for a completion."""
    _, body, _, _ = request
    command = [program, "generate", body["prompt"], "--format", "json"]
    for field in ("max_tokens", "seed", "temperature", "policy", "block_length", "steps"):
        command += [f"--{field.replace('_', '-')}", str(body[field])] if field in body else []
    output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return output["filled"][0]


def session(**options):
    connector = aiohttp.TCPConnector(limit=0, **options)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600))


async def measure(arguments, process, address):
    async with session() as fast, session(socket_factory=small_window) as slow:
        return await measure_with(Client(address, (fast, slow)), arguments, process)


async def measure_with(client, arguments, process):
    requests = drawn(arguments.requests, arguments.seed)
    report = {"requests": len(requests), "at_once": arguments.at_once, "seed": arguments.seed}
    rss = {"ready": memory(process)}

    async def part(send, at_once):
        """Sends everything, so many at a time; the seconds until the last answer that is not read slowly, and tokens."""
        answers, waiting = [None] * len(requests), list(enumerate(requests))[::-1]
        committed, begun = await client.metric("aquatint_tokens_committed"), time.monotonic()
        last = begun

        async def worker():
            nonlocal last
            while waiting:
                number, request = waiting.pop()
                answers[number] = await send(request)
                if request[2] != SLOW:
                    last = time.monotonic()
                if at_once > 1 and len(waiting) == len(requests) // 2:
                    rss["middle"] = memory(process)

        await asyncio.gather(*(worker() for _ in range(at_once)))
        return answers, last - begun, await client.metric("aquatint_tokens_committed") - committed

    alone, seconds, tokens = await part(lambda request: client.whole(request[0], request[1]), 1)
    report["one_by_one"] = figures(requests, alone, seconds, tokens)
    rss["one by one"] = memory(process)
    cancelled = await client.metric("aquatint_requests", "ancelled")
    together, seconds, tokens = await part(client.send, arguments.at_once)
    report["together"] = figures(requests, together, seconds, tokens)
    rss["end"] = memory(process)
    report["ratio"] = round(report["together"]["tokens_per_second"] / report["one_by_one"]["tokens_per_second"], 2)
    report["resident_mib"] = {name: round(mib, 1) for name, mib in rss.items()}

    wrong = []
    for number, (request, one, other) in enumerate(zip(requests, alone, together)):
        left = request[2] == LEFT
        right = one["text"].startswith(other["text"]) if left else other["ended"] and one["text"] == other["text"]
        if not right:
            wrong.append({"number": number, "request": request, "alone": one, "together": other})
    plain = [n for n, r in enumerate(requests) if r[0] == "/v1/completions" and not {"suffix", "stop"} & r[1].keys()]
    for number in plain[: arguments.generated]:
        text = generated(arguments.program, requests[number])
        if text != alone[number]["text"]:
            wrong.append({"number": number, "request": requests[number], "alone": alone[number], "generate": text})
    # A client that is gone is noticed at the next step; those whose texts were complete by then are not cancelled.
    report["left"] = sum(request[2] == LEFT for request in requests)
    report["slow"] = sum(request[2] == SLOW for request in requests)
    for _ in range(100):
        report["cancelled"] = int(await client.metric("aquatint_requests", "ancelled") - cancelled)
        report["running_at_end"] = int(await client.metric("aquatint_requests_running"))
        if report["running_at_end"] == 0:
            break
        await asyncio.sleep(0.1)
    report["wrong"] = len(wrong)
    report["failures"] = [
        name
        for name, failed in {
            "texts differ": wrong,
            "requests go on without a reader": report["running_at_end"] or not report["cancelled"],
            "memory grows": rss["end"] > rss["middle"] + SLACK_MIB,
        }.items()
        if failed
    ]
    for one in wrong[:3]:
        print(json.dumps(one), file=sys.stderr)
    return report


def table(report):
    def row(name, part):
        latency, first = part["latency"], part["time_to_first_text"]
        cells = [part["seconds"], part["tokens_per_second"], latency.get("p50_ms", "–"), latency.get("p95_ms", "–")]
        return f"| {name} | " + " | ".join(map(str, cells + [first.get("p50_ms", "–"), first.get("p95_ms", "–")])) + " |"

    memory_shown = ", ".join(f"{name} {mib} MiB" for name, mib in report["resident_mib"].items())
    return "\n".join([
        "| | seconds | tokens/s | latency p50 (ms) | p95 | first text p50 (ms) | p95 |",
        "|---|---:|---:|---:|---:|---:|---:|",
        row("one by one", report["one_by_one"]),
        row(f"{report['at_once']} at once", report["together"]),
        "",
        f"{report['requests']} requests, {report['left']} left ({report['cancelled']} of them cancelled in time), "
        f"{report['slow']} read slowly; {report['wrong']} wrong texts; ratio {report['ratio']}.",
        f"Resident memory: {memory_shown}.",
        f"Failures: {', '.join(report['failures']) or 'none'}.",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/aquatint")
    parser.add_argument("--model", action="append", help="what `aquatint serve -m` takes; the built-in model by default")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--generated", type=int, default=10, help="requests that `aquatint generate` is compared with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, help="where the report is written as JSON")
    arguments = parser.parse_args()
    models = [word for model in arguments.model or () for word in ("-m", model)]
    command = [arguments.program, "serve", "--port", "0", "--queue", str(max(256, arguments.at_once)), *models]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(line.split()[-1] for line in process.stderr if line.startswith("listening on "))
        report = asyncio.run(measure(arguments, process, address))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    report["machine"] = {"platform": platform.platform(), "processor": processor()}
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))
    sys.exit(1 if report["failures"] else 0)


def processor():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


if __name__ == "__main__":
    main()
