"""Stands in for the Python that has verifiers: speaks the protocol of `sloop.environments.verifiers_worker` and plays a
toy, so that what reads it is tested without the package. How it goes wrong is the environment's name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TOOL = {
    "name": "double",
    "description": "Twice a number.",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}
REFUSALS = {
    "verifiers": "verifiers 0.1 has no v1", "environment": "no module", "seats": "white, black", "judge": "it judges",
    "unsafe": "bash, agent", "endless": "Talks makes tasks without end", "slice": "level", "slow": "it was not done",
    "broken": "KeyError: 'x'",
}  # fmt: skip


def stand_in(folder: Path) -> str:
    """A program that takes this file for the worker, in a folder where it keeps what it was asked (``seen.jsonl``)."""
    program = folder / "python"
    program.write_text(f"#!{sys.executable}\nimport runpy, sys\nsys.argv.append({str(folder)!r})\n"
                       f"runpy.run_path({__file__!r}, run_name='__main__')\n")  # fmt: skip
    program.chmod(0o755)
    return str(program)


def _question(name: str, number: int) -> dict[str, Any]:
    words: Any = f"Double {number + 3} by the tool, and say it." + (f" {time.time()}" if name == "draws" else "")
    if name == "shows":
        words = [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "You count."}]},
        {"role": "user", "content": words},
    ]
    return {"messages": messages, "tools": [{"type": "function", "function": TOOL}]}


def _told(name: str, played: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    asked, calls = played["asked"], answer["calls"]
    number = played["task"] + 3
    if name == "fails":
        return {"failed": "TaskError: Connection error."}
    if not calls or len(asked["messages"]) > 4:
        reward = 1.0 if str(2 * number) in answer["content"] else 0.25
        return {
            "ended": "agent_completed",
            "measured": {"reward": reward, "reward/said": reward, "measured/turns": 2.0},
        }
    said = [{"role": "assistant", "content": answer["content"], "tool_calls": [{"id": "x", "index": 0, **calls[0]}]}]
    result = 2 * json.loads(calls[0]["function"]["arguments"]).get("n", 0)
    said.append({"role": "tool", "tool_call_id": "x", "name": "double", "content": str(result)})
    return {
        "asked": {**asked, "messages": [*asked["messages"], *said], "tools": asked["tools"] if number < 5 else None}
    }


def _say(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until standard input ends."""
    name, plays = "", dict[str, Any]()
    for line in sys.stdin:
        request = json.loads(line)
        with (Path(sys.argv[-1]) / "seen.jsonl").open("a") as seen:
            seen.write(line)
        found: Any = None
        match request:
            case {"do": "begin"}:
                name = request["environment"]
                if name in REFUSALS:
                    _say({"number": request["number"], "refused": [name, REFUSALS[name]]})
                    continue
                tasks = [
                    {"key": f"k{n}", "slice": ("odd" if n % 2 else "even") if request["slice_by"] else ""}
                    for n in range(request["num_tasks"] or 4)
                ]
                found = {
                    "tasks": tasks,
                    "versions": {"verifiers": "0.4.0", name: str(request["arguments"].get("version", 1))},
                }
            case {"do": "open"}:
                played = plays[request["key"]] = {"asked": _question(name, request["task"]), "task": request["task"]}
                found = {"asked": played["asked"]}
            case {"do": "tell"} if name == "dies":
                sys.stderr.write("it hurts\n")
                sys.stderr.flush()
                os._exit(3)
            case {"do": "tell"} if name == "hangs":
                time.sleep(600)
            case {"do": "tell"}:
                played = plays[request["key"]]
                found = _told(name, played, request["answer"])
                played["asked"] = found.get("asked")
        _say({"number": request["number"], "found": found})


if __name__ == "__main__":
    main()
