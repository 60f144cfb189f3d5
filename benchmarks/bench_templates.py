"""How many of a folder's chat templates take each shape of dialogue: ``bench_templates.py FOLDER...`` (``*.jinja``).

For each: the shapes that it takes as it is, what is put otherwise before it, the shapes that it takes then, and for
the rest why not. `silent` is a shape that passes and yet has lost a tool, a message or the label's call: it is looked
for in the rendered text anew and has to be 0.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

from sloop.calls.formats import parse
from sloop.models.bounded import Exceeded
from sloop.students.fitting import REFUSED, SHAPES, Fitted, fit, refusal_of, tried
from sloop.students.templates import ENDS

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
MARK = re.compile(r"\s*(<[^<>\s]{1,40}>|\[[^\]\[\s]+\]|\[e~\[)")


def render(template: str, messages: list, tools: list | None, opened: bool, more: dict) -> str:
    try:
        rows = render_jinja_template([messages], tools, None, template, False, False, opened, **TOKENS, **more)[0]
    except Exception as error:  # whatever a template raises
        raise Exceeded(f"{type(error).__name__}: {error}") from error
    return str(rows[0])


def ends_of(template: str) -> tuple[str, ...]:
    """The marks that end a turn: no tokenizer is at hand, so what a template writes behind words is taken for one."""
    known = [mark for mark in (*ENDS, "<|end|>") if mark in template]
    if "<|return|>" in known and "<|end|>" in known:
        known.remove("<|end|>")
    found: list[str] = []
    for switches in ({}, {"parts": "yes"}):
        try:
            text = Fitted(template, switches).render(render, SHAPES["no tools"], answered=True)
        except Exceeded:
            continue
        if mark := MARK.match(text.rpartition("Good morning.")[2]):
            found = [mark[1]]
            break
    return tuple(dict.fromkeys([*(mark for mark in found if mark not in known), TOKENS["eos_token"], *known]))


def silent(fitted: Fitted, shape: str, format: str, ends: tuple[str, ...]) -> bool:
    """Whether a shape that passes has lost a tool's name, a user's word or a call."""
    sample = SHAPES[shape]
    prompt, answer, _ = tried(render, fitted, sample, ends)
    assert sample.label is not None
    names = all(tool.name in prompt for tool in sample.tools)
    words = all(message.content in prompt for message in sample.messages if message.role == "user")
    end = next(filter(answer.endswith, ends), "")
    text = answer.removesuffix(end)
    said = any(parse(format, text, thinking=t, tools=sample.tools).calls == sample.label.calls for t in (False, True))
    return not (names and words and said)


def measure(template: str) -> dict:
    """What is found of one template."""
    ends = ends_of(template)
    raw = Fitted(template, {})
    found = fit(render, template, ends)
    own = [
        shape
        for shape, sample in SHAPES.items()
        if refusal_of(render, raw, sample, found.format or "hermes", ends) is None
    ]
    passed = [shape for shape in SHAPES if shape not in found.refused]
    return {
        "format": found.format,
        "own": len(own),
        "switches": found.fitted.switches,
        "passed": len(passed),
        "refused": found.refused,
        "silent": sum(silent(found.fitted, shape, found.format or "hermes", ends) for shape in passed),
    }


def main(folders: list[str]) -> int:
    paths = [path for folder in folders for path in sorted(Path(folder).glob("*.jinja"))]
    began, rows = time.process_time(), {}
    for path in paths:
        row = rows[path] = measure(path.read_text("utf-8"))
        given = " ".join(f"{key}={value}" for key, value in row["switches"].items())
        print(f"{row['passed']:2}/{len(SHAPES)}  alone {row['own']:2}  {row['format'] or '-':14} {path.name}  {given}")
        for shape, why in row["refused"].items():
            print(f"       {shape}: {json.dumps(why, ensure_ascii=False)[:160]}")
    whole = sum(not row["refused"] for row in rows.values())
    alone = sum(row["own"] == len(SHAPES) for row in rows.values())
    refused = sum(any(why.startswith(REFUSED) for why in row["refused"].values()) for row in rows.values())
    lost = sum(row["silent"] for row in rows.values())
    print(
        f"{len(rows)} templates x {len(SHAPES)} shapes: {whole} take all ({alone} alone), {len(rows) - whole} not all "
        f"({refused} of them refuse), silent {lost}; {time.process_time() - began:.0f} CPU s"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
