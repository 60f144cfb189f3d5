"""Checkpoints of strangers: nothing of theirs is run, and what is broken gets one sentence that names file and key."""

from __future__ import annotations

import functools
import json
import multiprocessing
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import UNSET, ask, pool, spec, trainer
from running import scratch, sloop
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from sloop.records import Checkpoint, UserError
from sloop.store import Dataset, checkpoint_at, write_rows
from sloop.students.local import LocalStudent, load_tokenizer
from sloop.students.templates import render_prompt
from sloop.students.tiny import RECORD_FILE

WEIGHTS = "model.safetensors"


@functools.cache
def whole() -> Path:
    """A checkpoint with nothing wrong, made once."""
    folder = scratch() / "bad-checkpoints"
    write_rows(folder / "pool.jsonl", pool())
    return Path(spec().make(Dataset(folder / "pool.jsonl"), seed=0, out=folder / "whole").path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(whole(), tmp_path / "given")


def changed(path: Path, **changes: Any) -> None:
    plain = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**plain, **changes}))


def student(folder: Path) -> LocalStudent:
    return LocalStudent(
        name="s", path=str(folder), scratch=None, answer_format=None, threads=1, dtype="fp32", device="cpu", **UNSET
    )


def load(folder: Path) -> None:
    student(folder).load(Checkpoint(path=str(folder), digest="0"))


def test_a_checkpoint_with_nothing_wrong_is_loaded(folder: Path) -> None:
    load(folder)


# --- code of its own ----------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
Path({sentinel!r}).write_text("run")
from transformers import Lfm2Config as Config, Lfm2ForCausalLM as Model, PreTrainedTokenizerFast as Tokenizer
def generate(model, **kwargs): ...
"""
HOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "model": ("config.json", {"auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}),
    "unknown model": (
        "config.json",
        {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}},
    ),
    "elsewhere": ("config.json", {"auto_map": {"AutoConfig": "someone/else--code.Config"}}),
    "nested": ("config.json", {"text_config": {"auto_map": {"AutoConfig": "code.Config"}}}),
    "tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}}),
    "processor": ("processor_config.json", {"auto_map": {"AutoProcessor": "code.Tokenizer"}}),
    "generation": ("generation_config.json", {"custom_generate": "someone/else"}),
    "trust": ("config.json", {"trust_remote_code": True}),
    "kernel": ("config.json", {"attn_implementation": "someone/else"}),
    "adapter": ("adapter_config.json", {"base_model_name_or_path": "someone/else"}),
}


def with_code(folder: Path, kind: str) -> Path:
    """Put code into a folder that makes a file, and a key that asks for it; the file's path."""
    sentinel = folder.parent / "sentinel"
    (folder / "code.py").write_text(CODE.format(sentinel=str(sentinel)))
    name, keys = HOOKS[kind]
    changed(folder / name, **keys)
    return sentinel


@pytest.fixture
def no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(prompt: str = "") -> str:
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", ask)


@pytest.mark.usefixtures("no_question")
@pytest.mark.parametrize("kind", HOOKS)
def test_a_checkpoint_with_code_of_its_own_is_refused_wherever_it_is_loaded(kind: str, folder: Path) -> None:
    sentinel = with_code(folder, kind)
    data = Dataset(whole().parent / "pool.jsonl")
    named = HOOKS[kind][0]
    out = folder.parent / "out"
    loads: tuple[Callable[[], object], ...] = (
        lambda: student(folder).start(data, seed=0, out=out),
        lambda: load(folder),
        lambda: load_tokenizer(folder),
        lambda: trainer().train(Checkpoint(path=str(folder), digest="0"), data, None, steps=1, seed=0, out=out),
    )
    for loading in loads:
        with pytest.raises(UserError, match=named.replace(".", r"\.")):
            loading()
    assert not sentinel.exists()


def test_a_folder_of_generation_code_is_refused(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE)
    with pytest.raises(UserError, match="custom_generate is code"):
        load(folder)


@pytest.mark.usefixtures("no_question")
def test_serving_a_checkpoint_with_code_is_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentinel = with_code(folder, "unknown model")
    assert sloop("serve", f"path={folder}", "port=0") == 2
    error = capsys.readouterr().err
    assert "code of its own" in error
    assert "Traceback" not in error
    assert not sentinel.exists()


def test_the_same_code_does_run_for_who_trusts_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = with_code(folder, "unknown model")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder.parent / "modules"))
    # In a process of its own: what it imports would stay in this one.
    trusting = multiprocessing.get_context("fork").Process(
        target=AutoConfig.from_pretrained, args=(folder,), kwargs={"trust_remote_code": True}
    )
    trusting.start()
    trusting.join(30)
    assert sentinel.exists()


# --- what is broken -----------------------------------------------------------------------------------------------


def header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of the weights, and leave the data."""
    content = (folder / WEIGHTS).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    plain = json.loads(content[8 : 8 + length])
    change(plain)
    text = json.dumps(plain).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def first(plain: dict[str, Any]) -> dict[str, Any]:
    return next(row for name, row in plain.items() if name != "__metadata__" and len(row["shape"]) == 2)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def unweighted(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    return folder


def indexed(folder: Path, place: str) -> None:
    shutil.move(folder / WEIGHTS, folder.parent / "outside.safetensors")
    changed(folder / f"{WEIGHTS}.index.json", weight_map={"a": place})


def without(folder: Path, *names: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: value for name, value in tensors.items() if name not in names}, folder / WEIGHTS, {"format": "pt"})


def shaped(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(
        {name: value[..., :-1].contiguous() for name, value in tensors.items()}, folder / WEIGHTS, {"format": "pt"}
    )


def sized(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: changed(folder / "config.json", **changes)


def wrote(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled": (pickled, "pytorch_model.bin may hold code"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no model.safetensors"),
    "index outside": (lambda f: indexed(f, "../outside.safetensors"), "index.json: weight_map names '../outside"),
    "index to the root": (lambda f: indexed(f, "/etc/passwd"), "index.json: weight_map names '/etc/passwd'"),
    "index of nothing": (lambda f: indexed(f, "none.safetensors"), "index.json: weight_map names 'none"),
    "index without map": (lambda f: changed(unweighted(f) / f"{WEIGHTS}.index.json", weight_map=[]), "weight_map"),
    "empty weights": (wrote(WEIGHTS, b""), "model.safetensors: its header"),
    "weights of zeros": (wrote(WEIGHTS, bytes(100)), "model.safetensors: its header"),
    "header bomb": (wrote(WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}"), "model.safetensors: its header"),
    "header of garbage": (wrote(WEIGHTS, struct.pack("<Q", 8) + b"\xff" * 20), "model.safetensors: its header"),
    "header of a list": (wrote(WEIGHTS, struct.pack("<Q", 2) + b"[]"), "model.safetensors: its header"),
    "deep header": (wrote(WEIGHTS, struct.pack("<Q", 200000) + b"[" * 200000), "nests too deep"),
    "cut off": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-100]), "does not lie at"),
    "huge shape": (lambda f: header(f, lambda h: first(h).update(shape=[1 << 40, 1 << 20])), "does not lie at"),
    "negative shape": (lambda f: header(f, lambda h: first(h).update(shape=[-1, -64])), "sides that are none"),
    "unknown type": (lambda f: header(f, lambda h: first(h).update(dtype="X9")), "does not fit the file: 'X9'"),
    "wrong type": (lambda f: header(f, lambda h: first(h).update(dtype="I32")), "which no weight has"),
    "offsets outside": (lambda f: header(f, lambda h: first(h).update(data_offsets=[9**12, 9**13])), "does not lie"),
    "offsets missing": (lambda f: header(f, lambda h: first(h).pop("data_offsets")), "data_offsets"),
    "missing tensors": (lambda f: without(f, "model.layers.0.operator_norm.weight"), "such as model.layers.0"),
    "other shapes": (shaped, "cannot be loaded"),
    "broken tokenizer": (wrote("tokenizer.json", b"{"), "its tokenizer cannot be loaded"),
    "empty tokenizer": (wrote("tokenizer.json", b"{}"), "its tokenizer cannot be loaded"),
    "binary tokenizer": (wrote("tokenizer.json", b"\xff\xfe\x00"), "its tokenizer cannot be loaded"),
    "broken config": (wrote("config.json", b"{"), r"config.json: broken JSON"),
    "config of a list": (wrote("config.json", b"[]"), "config.json is no JSON object"),
    "binary config": (wrote("config.json", b"\xff\xfe"), "UTF-16"),
    "deep config": (wrote("config.json", b"[" * 100000), "more than 96 deep"),
    "unknown model": (sized(model_type="mine", architectures=["Mine"]), "cannot be loaded"),
    "no model": (wrote("config.json", b"{}"), "cannot be loaded"),
    "huge vocabulary": (sized(vocab_size=10**12), r"config.json: vocab_size=1000000000000"),
    "large vocabulary": (sized(vocab_size=10**7), r"config.json: it describes a model of"),
    "negative layers": (sized(num_hidden_layers=-1), r"config.json: num_hidden_layers=-1"),
    "many layers": (sized(num_hidden_layers=10**9), r"config.json: num_hidden_layers=1000000000"),
    "no number": (sized(rope_theta=float("inf")), r"Infinity is not JSON"),
    "a size of text": (sized(hidden_size="x" * 10), "cannot be loaded"),
    "no heads": (sized(num_attention_heads=0), "cannot be loaded"),
    "record of a list": (wrote(RECORD_FILE, b"[]"), "sloop.json is no JSON object"),
    "record broken": (wrote(RECORD_FILE, b"{"), "sloop.json: broken JSON"),
    "format of no text": (wrote(RECORD_FILE, b'{"format": 3}'), "names no answer format"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_broken_checkpoint_gets_a_sentence(kind: str, folder: Path) -> None:
    damage, words = DAMAGE[kind]
    damage(folder)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(UserError) as told:
        load(folder)
    assert words in str(told.value)
    assert "given" in str(told.value)
    assert "\n" not in str(told.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
    assert time.perf_counter() - began < 10


# --- chat templates -----------------------------------------------------------------------------------------------

ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
    "{% endfor %}",
    "builds": "{{ 'x' * 10000000000 }}",
    "pads": "{{ 'x'.center(10000000000) }}",
    "doubles": "{% set n = namespace(t='x') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}",
    "computes": "{{ 9 ** (9 ** (9 ** 9)) }}",
    "writes": "{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}",
    "recurses": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "fails": "{{ raise_exception('no tools here') }}",
    "reaches out": "{{ messages.__class__.__mro__ }}",
    "is none": "{% for %}",
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_chat_template_that_does_not_end_is_ended(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sloop.students.templates.TEMPLATE_SECONDS", 1.0)
    (folder / "chat_template.jinja").write_text(ENDLESS[kind])
    tokenizer, began = load_tokenizer(folder), time.perf_counter()
    with pytest.raises(UserError, match=r"the chat template of .*given fails on a dialogue"):
        render_prompt(tokenizer, ask("hello"))
    assert time.perf_counter() - began < 5


def test_a_template_of_a_stranger_writes_what_it_would_without_limits(folder: Path) -> None:
    ours, theirs = load_tokenizer(whole()), load_tokenizer(folder)
    theirs.chat_template += "{# theirs #}"
    for sample in pool():
        assert render_prompt(theirs, sample) == render_prompt(ours, sample)


def test_a_template_goes_on_after_a_dialogue_that_it_refuses(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].content == 'no' %}{{ raise_exception('not that') }}{% endif %}{{ messages[0].content }}"
    )
    tokenizer = load_tokenizer(folder)
    with pytest.raises(UserError, match="not that"):
        render_prompt(tokenizer, ask("no"))
    assert render_prompt(tokenizer, ask("a\ud800b é", tools=())) == "a\ud800b é"


def test_a_folder_that_is_none_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint_at(tmp_path)
