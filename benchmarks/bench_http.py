"""Records over HTTP: `sloop gen teacher=llm judge=llm` beside a bare loop of the SDK and beside toolsgen, in one run.

usage: python benchmarks/bench_http.py [--records N] [--large N] [--faults PAIRS] [--repeat N] [--toolsgen FOLDER]

A record is three requests: write a request, make the call, judge it; each is answered after a fixed latency by a small
server in a process of its own, which also holds the clock. The bare loop is ``openai.AsyncOpenAI`` with as many
workers as requests may be in flight; it sends the very requests that sloop sent and keeps nothing. ``--toolsgen`` names
a folder made by ``pip install --target FOLDER toolsgen==0.5.1``; without it that part is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

SETTINGS = ((0.05, 64), (0.05, 256), (0.5, 64))
"""(latency in seconds, requests in flight)."""
CALLS = 3
"""Requests a record."""
WORKERS = 8
"""Of toolsgen."""
SHARE = 0.1
"""Of the requests that fail, with ``--faults``."""
FAULTS = ("429", "500", "drop", "truncate", "garbage", "delay")
"""A full server, a broken one, a connection that ends without an answer or with half of one, a body that is no JSON, an
answer after ten times the latency."""
VERDICT = {"reason": "It is what was asked for.", "correct": True,
           "tool_relevance": 0.4, "argument_quality": 0.4, "clarity": 0.2}  # fmt: skip


# --- the server -------------------------------------------------------------------------------------------------------


class Server:
    """What it was asked, and when it answered."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.share = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget."""
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.flying = self.most = 0
        self.bodies: deque[Any] = deque(maxlen=300)
        self.faults: Counter[str] = Counter()
        self.seen: Counter[bytes] = Counter()

    def fault(self, body: bytes) -> str | None:
        """What befalls a request: drawn from its content and from how often it came, the same in every run."""
        if not self.share:
            return None
        key = hashlib.sha256(body).digest()[:16]
        times, self.seen[key] = self.seen[key], self.seen[key] + 1
        number = int.from_bytes(hashlib.sha256(key + times.to_bytes(4, "big")).digest()[:4], "big")
        name = FAULTS[number % len(FAULTS)] if number / 2**32 < self.share else None
        if name:
            self.faults[name] += 1
        return name

    def stats(self) -> dict[str, Any]:
        """Rates are those of the replies between the first tenth and the last."""
        ended = sorted(self.ended)
        low, high = len(ended) // 10, len(ended) * 9 // 10
        steady = (high - low) / (ended[high] - ended[low]) if high > low else 0.0
        span = ended[-1] - self.begun[0] if ended else 0.0
        return {
            "requests": len(ended),
            "steady": steady,
            "span": span,
            "most_in_flight": self.most,
            "faults": sum(self.faults.values()),
        }


class Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as clients need here."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        """Keep where to write."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Wait for a whole request."""
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", 0))
        if len(body) < length:
            return
        self.data = body[length:]
        self.handle(head.split(b" ", 2)[1], body[:length])

    def handle(self, path: bytes, body: bytes) -> None:
        """Answer it, a chat completion after the latency."""
        server = self.server
        if path.endswith(b"/chat/completions"):
            server.begun.append(time.perf_counter())
            server.flying += 1
            server.most = max(server.most, server.flying)
            fault = server.fault(body)
            latency = server.latency * (10 if fault == "delay" else 1)
            asyncio.get_running_loop().call_later(latency, self.reply, body, fault)
        elif path == b"/reset":
            server.latency, server.share = json.loads(body)
            server.reset()
            self.send({})
        elif path == b"/bodies":
            self.send(list(server.bodies))
        else:
            self.send(server.stats())

    def reply(self, body: bytes, fault: str | None) -> None:
        """Send a completion, or fail to."""
        asked = json.loads(body)
        self.server.flying -= 1
        if fault == "429":
            self.send({"error": {"message": "slow down"}}, "429 Too Many Requests", "Retry-After: 0\r\n")
        elif fault == "500":
            self.send({"error": {"message": "oops"}}, "500 Internal Server Error")
        elif fault == "drop":
            self.transport.close()
        if fault in ("429", "500", "drop"):
            return
        self.server.ended.append(time.perf_counter())
        self.server.bodies.append(asked)
        message = answer(asked, len(self.server.ended))
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": 20, "total_tokens": len(body) // 4 + 20}
        self.send({"id": "c", "object": "chat.completion", "created": 0, "model": asked["model"], "choices": [choice],
                   "usage": usage}, fault=fault)  # fmt: skip

    def send(self, value: Any, status: str = "200 OK", also: str = "", fault: str | None = None) -> None:
        """Send JSON; with a fault half of it, or none that can be read."""
        body = json.dumps(value).encode()
        if fault == "garbage":
            body = body[:-9]
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{also}\r\n"
        self.transport.write(head.encode() + (body[: len(body) // 2] if fault == "truncate" else body))
        if fault == "truncate":
            self.transport.close()


def answer(asked: dict[str, Any], number: int) -> dict[str, Any]:
    """A message that does, in whatever role it was asked for."""
    if tools := asked.get("tools"):
        arguments = json.dumps({"place": f"Ostrava {number}"})
        call = {"id": "call_0", "type": "function",
                "function": {"name": tools[0]["function"]["name"], "arguments": arguments}}  # fmt: skip
        return {"content": None, "tool_calls": [call]}
    schema = asked.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "request" in schema.get("properties", {}):
        return {"content": json.dumps({"request": f"Please look after the place Ostrava {number} for me, will you?"})}
    if "answer_1" in schema.get("properties", {}):
        return {"content": json.dumps({"answer_1": VERDICT})}
    # toolsgen's: a request in words, then a verdict of its own form
    parts = {key: value for key, value in VERDICT.items() if key not in ("reason", "correct")}
    text = json.dumps({**parts, "score": 1.0, "verdict": "accept", "rationale": VERDICT["reason"]})
    return {"content": text if asked.get("response_format") else f"Please look after the place Ostrava {number}."}


async def serve() -> None:
    server = Server(0.05)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=4096)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


# --- the clients ------------------------------------------------------------------------------------------------------


async def bare(url: str, concurrency: int, total: int, bodies: list[Any]) -> None:
    """The SDK alone, over its default transport."""
    from openai import AsyncOpenAI

    numbers = iter(range(total))
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def worker() -> None:
            for number in numbers:
                await client.chat.completions.create(**bodies[number % len(bodies)])

        await asyncio.gather(*(worker() for _ in range(concurrency)))


def tools_file(folder: Path) -> Path:
    """Twenty tools that take one text each."""
    place = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    tools = [
        {"type": "function", "function": {"name": f"tend_{k}", "description": f"Look after place {k}.",
                                          "parameters": place}}
        for k in range(20)
    ]  # fmt: skip
    path = folder / "tools.json"
    path.write_text(json.dumps(tools))
    return path


def ours(url: str, concurrency: int, records: int, tools: Path, out: Path) -> list[str]:
    """The whole command; two thirds of the places in flight are the teacher's, whose the requests are."""
    judge = concurrency // CALLS
    places = {"teacher": concurrency - judge, "judge": judge}
    settings = [f"{role}.endpoint.limits.concurrency={number}" for role, number in places.items()]
    settings += [f"{role}.endpoint.{key}" for role in places for key in (f"base_url={url}", "model=small")]
    kinds = [f"gen.kinds.{kind}=0" for kind in ("parallel", "irrelevant", "incomplete", "chat")]
    return [
        *(sys.executable, "-m", "sloop", "gen", "teacher=llm", "judge=llm", "gen.judge=true", *settings, *kinds),
        *("tools=own", f"tools.path={tools}", f"num_samples={records}", f"output_dir={out}", "tracking.enabled=false"),
    ]  # fmt: skip


def toolsgen(url: str, records: int, tools: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "toolsgen.cli", "generate", "--tools", str(tools), "--out", str(out)),
        *("--num", str(records), "--workers", str(WORKERS), "--worker-batch-size", "1", "--base-url", url),
    ]  # fmt: skip


# --- the measurements -------------------------------------------------------------------------------------------------


class Bench:
    """One server, and clients one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = tools_file(folder)
        self.server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        self.at = f"http://127.0.0.1:{int(self.server.stdout.readline())}"

    def ask(self, path: str, value: Any = None) -> Any:
        """Talk to the server itself."""
        body = None if value is None else json.dumps(value).encode()
        with urlopen(Request(f"{self.at}{path}", data=body)) as reply:
            return json.loads(reply.read())

    def run(self, command: list[str], latency: float, share: float = 0.0, **environment: str) -> dict[str, float]:
        """Run a client; its figures. Steady is the rate of the replies from the first tenth to the last."""
        self.ask("/reset", [latency, share])
        began = time.perf_counter()
        log = self.folder / "log"
        with open(log, "w") as out:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=out, stderr=out, cwd=self.folder
            )
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        seen = self.ask("/stats")
        cpu = used.ru_utime + used.ru_stime
        return {
            **seen,
            "wall": wall,
            "ends": wall - seen["span"],
            "cpu_per_1000": cpu / seen["requests"] * 1000,
            "peak_mib": used.ru_maxrss / 1024,
        }

    def sloop(self, latency: float, concurrency: int, records: int, share: float = 0.0) -> dict[str, float]:
        """A run of ours; all its records must be there."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "data"
        figures = self.run(ours(f"{self.at}/v1", concurrency, records, self.tools, out), latency, share)
        rows = json.loads((out / "stage.json").read_text())["summary"]["samples"]
        if rows != records:
            raise SystemExit(f"{rows} records instead of {records}")
        return {**figures, "records_per_s": records / figures["wall"]}

    def bare(self, latency: float, concurrency: int, records: int) -> dict[str, float]:
        """As many requests by the SDK alone, those of the run of ours before it."""
        bodies = self.folder / "bodies.json"
        if not bodies.exists():
            bodies.write_text(json.dumps(self.ask("/bodies")))
        command = [sys.executable, __file__, "--bare", f"{self.at}/v1", str(concurrency), str(records * CALLS)]
        return self.run([*command, str(bodies)], latency)

    def toolsgen(self, latency: float, records: int, folder: Path) -> dict[str, float]:
        """A run of toolsgen."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "data"
        command = toolsgen(f"{self.at}/v1", records, self.tools, out)
        figures = self.run(command, latency, PYTHONPATH=str(folder), OPENAI_API_KEY="none")
        rows = sum(len(path.read_text().splitlines()) for path in out.glob("train*.jsonl"))
        return {**figures, "records": rows, "records_per_s": rows / figures["wall"]}


def told(name: str, figures: dict[str, float]) -> str:
    return (
        f"  {name:9} {figures['steady']:7.0f} requests/s steady, {figures['cpu_per_1000']:5.2f} CPU s per 1,000, "
        f"start and end {figures['ends']:4.1f} s, {figures['most_in_flight']:.0f} in flight at most, "
        f"peak {figures['peak_mib']:.0f} MiB, {figures['requests']:.0f} requests in {figures['wall']:.1f} s"
    )


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve())
    if sys.argv[1:2] == ["--bare"]:
        url, concurrency, total, bodies = sys.argv[2:]
        asyncio.run(bare(url, int(concurrency), int(total), json.loads(Path(bodies).read_text())))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1500)
    parser.add_argument("--large", type=int, default=0, help="records of one more run, for its peak memory")
    parser.add_argument("--faults", type=int, default=0, help="pairs of a clean run and one with faults")
    parser.add_argument(
        "--repeat", type=int, default=3, help="pairs of runs at each setting; medians are told; 0: none"
    )
    parser.add_argument("--toolsgen", type=Path, help="folder that toolsgen is installed in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            measure(bench, options)
        finally:
            bench.server.kill()


def measure(bench: Bench, options: argparse.Namespace) -> None:
    for latency, concurrency in SETTINGS if options.repeat else ():
        records = options.records if latency < 0.5 else options.records // 2
        pairs = [
            (bench.sloop(latency, concurrency, records), bench.bare(latency, concurrency, records))
            for _ in range(options.repeat)
        ]
        print(f"{latency * 1000:.0f} ms, {concurrency} in flight, {records} records")
        for name, side in (("sloop", 0), ("bare SDK", 1)):
            print(told(name, {key: statistics.median(pair[side][key] for pair in pairs) for key in pairs[0][side]}))
        for what, key in (("steady requests/s", "steady"), ("CPU", "cpu_per_1000")):
            ratios = sorted(one[key] / other[key] for one, other in pairs)
            print(f"  {what}, sloop / bare: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        print(flush=True)
    if options.large:
        small, large = (bench.sloop(0.0, 64, records)["peak_mib"] for records in (1000, options.large))
        print(
            f"peak memory at {options.large} records {large:.0f} MiB, at 1000 {small:.0f} MiB: {large / small:.2f}x\n"
        )
    if options.faults:
        pairs = [
            tuple(bench.sloop(0.05, 64, options.records, share) for share in (0.0, SHARE))
            for _ in range(options.faults)
        ]
        spans = sorted(broken["span"] / clean["span"] for clean, broken in pairs)
        met = statistics.median(broken["faults"] for _, broken in pairs)
        print(
            f"{met:.0f} faults at 50 ms and 64 in flight, {options.records} records, none lost: span over a clean "
            f"run's {statistics.median(spans):.2f} ({spans[0]:.2f} to {spans[-1]:.2f}, {len(spans)} pairs)\n"
        )
    if options.toolsgen is None:
        print("toolsgen: left out; pip install --target FOLDER toolsgen==0.5.1, then --toolsgen FOLDER")
        return
    other = bench.toolsgen(0.05, options.records // 3, options.toolsgen)
    print(told("toolsgen", other))
    for concurrency in (64, 256):
        mine = bench.sloop(0.05, concurrency, options.records)["records_per_s"]
        print(
            f"  records/s of a whole run at 50 ms: sloop, {concurrency} in flight, {mine:.0f}; toolsgen, {WORKERS} "
            f"workers, {other['records_per_s']:.1f}: {mine / other['records_per_s']:.1f}x"
        )


if __name__ == "__main__":
    main()
