"""A checkpoint that answers on this machine: batched decoding, greedy or drawn, with log-probabilities."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import torch
from pydantic import AfterValidator
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from sloop.calls.formats import FORMATS, known_format, parse
from sloop.records import Checkpoint, Decode, Prediction, Sample, UserError, digest
from sloop.records.ranges import Name, PathText, Sha256, Threads, Tokens, refused
from sloop.store import Dataset, checkpoint_at, is_file, write_json
from sloop.store.files import named
from sloop.students.chosen import OWN, Choice, Day, Source, Variables, dress, told
from sloop.students.converted import converted, gguf_file
from sloop.students.decoding import Draws, Watch, Written, draw_seed, generate
from sloop.students.freed import give_back
from sloop.students.templates import (
    check,
    encode,
    end_marks,
    fit_tokenizer,
    fitted,
    opened_thought,
    render_prompt,
    template_format,
)
from sloop.students.tiny import RECORD_FILE, TinySpec
from sloop.students.trust import check_described, check_files, check_loaded, loading, read_object

DTypeName = Literal["fp32", "bf16"]
DTYPES: dict[DTypeName, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _usable(device: str) -> str:
    try:
        torch.ones(1, device=device).item()  # the device "meta" makes tensors, and holds no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise refused(f"give a device that PyTorch can use here, such as cpu ({str(error).splitlines()[0]})") from error
    return device


Device = Annotated[str, AfterValidator(_usable)]

Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"]

AUTO = "auto"
CHECKED = 24
"""Samples of the data that checkpoint 0 is tried with, before anything is trained."""


def _chosen(answer_format: str) -> str:
    return answer_format if answer_format == AUTO else known_format(answer_format)


AnswerFormat = Annotated[str, AfterValidator(_chosen)]
"""Name of a format, or ``auto``: the one of the chat template."""


class Prompt(NamedTuple):
    """What is read before an answer."""

    tokens: list[int]
    thought: str
    """The mark of the thought within which it ends, and with which the answer goes on; empty: it ends within none."""


class LocalStudent:
    """A Hugging Face causal language model, made from scratch, from a folder, from a GGUF file or from the Hub."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.formats",
        "sloop.students.chosen",
        "sloop.students.converted",
        "sloop.students.decoding",
        "sloop.students.fitting",
        "sloop.students.local",
        "sloop.students.prefill",
        "sloop.students.templates",
        "sloop.students.tiny",
        "sloop.students.trust",
        "sloop.models.bounded",
        "sloop.models.prompts",
    )

    FOLDERS = frozenset({"path"})

    NOT_RESULTS = frozenset({"models"})

    def __init__(
        self,
        *,
        name: Name,
        path: PathText | None,
        scratch: TinySpec | None,
        answer_format: AnswerFormat | None,
        threads: Threads,
        dtype: DTypeName,
        device: Device,
        attn_implementation: Attention | None,
        prefill_tokens: Tokens | None,
        models: PathText | None,
        sha256: Sha256 | None,
        chat_template: Source,
        chat_template_kwargs: Variables,
        date: Day,
    ) -> None:
        """Take the settings as they stand in ``conf/student/*.yaml``, which says what each value is.

        Raises:
            UserError: not exactly one of ``path`` and ``scratch`` is given.
        """
        if (path is None) == (scratch is None):
            raise UserError(
                f"student {name}: path is {path!r} and scratch is {'given' if scratch else 'not given'}; give "
                "a checkpoint (student=checkpoint student.path=<folder or hub id>) or a recipe to make one "
                "(student=tiny), not both."
            )
        self.name = name
        self.path = path
        self.scratch = scratch
        self.answer_format = answer_format
        self.threads = threads
        self.dtype = DTYPES[dtype]
        self.device = device
        self.attn_implementation = attn_implementation
        self.prefill_tokens = prefill_tokens
        self.models = models
        self.sha256 = sha256
        self.template = Choice(chat_template, chat_template_kwargs, date)
        self._model: PreTrainedModel | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._format = ""
        self._stops: frozenset[int] = frozenset()

    @classmethod
    def at(
        cls,
        path: str,
        *,
        answer_format: str | None = None,
        threads: int,
        dtype: DTypeName = "fp32",
        device: str = "cpu",
        prefill_tokens: int | None = None,
    ) -> Self:
        """A checkpoint's folder as it stands, its weights loaded; errors as of `load`."""
        student = cls(
            name="local", path=path, scratch=None, answer_format=answer_format, threads=threads, dtype=dtype,
            device=device, attn_implementation=None, prefill_tokens=prefill_tokens, models=None, sha256=None,
            chat_template=OWN.source, chat_template_kwargs=OWN.kwargs, date=OWN.day,
        )  # fmt: skip
        student.load(checkpoint_at(Path(path)))
        return student

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """Checkpoint 0: made from scratch under ``out``, or the given weights with the chosen chat template.

        Raises:
            UserError: the chat template refuses or loses most of the first samples of ``data``.
        """
        if self.scratch is not None:
            return self.scratch.make(data, seed=seed, out=out)
        given = Path(self._given(out).path)
        cached = self.models is not None and given.parent == Path(self.models)
        dressed = dress(given, out, raw_tokenizer(given), self.template, self._asked, linked=cached)
        tokenizer = load_tokenizer(dressed)
        check(tokenizer, islice(data or (), CHECKED), self._format_for(dressed, tokenizer))
        return checkpoint_at(dressed)

    def _given(self, out: Path) -> Checkpoint:
        """The weights that the path names: a folder as it is, a GGUF file as it was converted once, or a copy of a Hub
        model.
        """
        assert self.path is not None
        if (file := gguf_file(self.path)) is not None:
            return converted(file, Path(self.models or out), self.sha256)
        if os.path.isdir(self.path):  # noqa: PTH112 - a path that no folder can have is none
            given = checkpoint_at(Path(self.path))
            check_files(Path(self.path))
            return given
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
            tokenizer.save_pretrained(out)
            AutoModelForCausalLM.from_pretrained(
                self.path, dtype="auto", trust_remote_code=False, use_safetensors=True
            ).save_pretrained(out)
        except (OSError, ValueError) as error:
            raise UserError(
                f"student.path={self.path}: neither a folder nor a model that could be had from the Hub and runs "
                f"without code of its own ({error}). Give a folder with config.json and model.safetensors, or a hub id "
                "such as Qwen/Qwen3-0.6B, or a .gguf file."
            ) from error
        write_json(out / RECORD_FILE, {"format": self._asked or template_format(tokenizer), "source": self.path})
        return checkpoint_at(out)

    def load(self, checkpoint: Checkpoint) -> None:
        """Answer from these weights from now on.

        Raises:
            UserError: no answer format is configured or recorded in the checkpoint, and its chat template shows none;
                or it names no token that ends an answer, or no longest context.
        """
        folder = Path(checkpoint.path)
        self.close()
        torch.set_num_threads(self.threads)
        tokenizer = load_tokenizer(folder)
        found = self._format_for(folder, tokenizer)
        if found is None:
            raise UserError(
                f"checkpoint {named(folder)} does not say in which format it writes calls (no {RECORD_FILE}), and its "
                f"chat template shows none. Set student.answer_format to one of: {', '.join(sorted(FORMATS))}"
            )
        known_format(found)  # an unknown format is said now, and not after the first answers
        self._format = found
        self._tokenizer = tokenizer
        self._model = load_model(folder, self.dtype, self.attn_implementation).to(self.device).eval()
        self._stops = stop_ids(self._model, tokenizer)
        if longest_context(self._model.config) is None:
            raise UserError(
                f"checkpoint {named(folder)}: it names no longest context (max_position_embeddings in config.json). "
                "Write it there, or give another checkpoint."
            )

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Answers to one batch, in input order; the caller fixes the batches.

        What is written does not depend on the rest of the batch, nor does what is drawn at a temperature; ``logprob``
        does in its last bits, as padding changes the order of sums, and is the model's own at any temperature. A prompt
        that leaves no room for ``max_tokens`` in the model's context is not asked (error ``truncated``, no text):
        cutting it would cut tools.
        """
        prompts = [self.prompt(sample) for sample in samples]
        room = self.context - decode.max_tokens
        asked = [index for index, prompt in enumerate(prompts) if len(prompt.tokens) <= room]
        draws = None
        if decode.temperature:
            drawn = ([decode.seed, samples[index].id, decode.trial] for index in asked)
            draws = Draws([(decode.temperature, draw_seed(parts)) for parts in drawn])
        lengths = [decode.max_tokens] * len(asked)
        answers = self.write([prompts[index].tokens for index in asked], lengths, draws=draws)
        predictions = {
            index: self.read(samples[index], answer, thinking=bool(prompts[index].thought))
            for index, answer in zip(asked, answers, strict=True)
        }
        return [
            predictions.get(index) or Prediction(sample_id=sample.id, error="truncated")
            for index, sample in enumerate(samples)
        ]

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The format in which answers are read, and the chat template's digest."""
        folder = Path(checkpoint.path)
        tokenizer = load_tokenizer(folder)
        return {
            "parser": str(self._format_for(folder, tokenizer)),
            "template": digest(tokenizer.chat_template)[:16],
        }

    def template_notes(self, checkpoint: Checkpoint) -> list[str]:
        """What is put otherwise before the checkpoint's template sees it, and what it cannot take."""
        tokenizer = load_tokenizer(Path(checkpoint.path))
        return told(fitted(tokenizer, tokenizer.chat_template), self.name)

    @property
    def format(self) -> str:
        """Name of the format in which the loaded weights write calls."""
        return self._format

    @property
    def context(self) -> int:
        """Most tokens that a prompt and its answer may have together."""
        return longest_context(self._loaded()[0].config) or 0

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._stops

    @property
    def shares(self) -> bool:
        """Whether a beginning that prompts of a batch share is read once."""
        return self.prefill_tokens is not None

    def prompt(self, sample: Sample) -> Prompt:
        """What is read before ``sample`` is answered."""
        _, tokenizer = self._loaded()
        text = render_prompt(tokenizer, sample)
        return Prompt(encode(tokenizer, [text])[0], opened_thought(text))

    def write(
        self,
        prompts: Sequence[list[int]],
        max_tokens: Sequence[int],
        watch: Watch | None = None,
        draws: Draws | None = None,
    ) -> list[Written]:
        """What follows each prompt; see `generate`."""
        return generate(self._loaded()[0], prompts, max_tokens, self.stops, watch, draws, self.prefill_tokens)

    def text(self, tokens: Sequence[int], *, with_end: bool = False) -> str:
        """The text of tokens as they stand, special ones included, as they mark calls; without the one that ends it."""
        over = tokens and tokens[-1] in self._stops and not with_end
        written = list(tokens[:-1] if over else tokens)
        text = self._loaded()[1].decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    def read(self, sample: Sample, written: Written, *, thinking: bool) -> Prediction:
        """What was written after the prompt of a sample, as an answer to it."""
        tokens, logprobs, ended = written
        text = self.text(tokens)
        measured = {
            "sample_id": sample.id,
            "text": text,
            "thinking": thinking,
            "logprob": sum(logprobs),
            "num_tokens": len(tokens),
        }
        if not ended:
            return Prediction(**measured, error="truncated")
        parsed = parse(self._format, text, thinking=thinking, tools=sample.tools)
        return Prediction(
            **measured, calls=parsed.calls, content=parsed.content, error=parsed.error, recovered=parsed.recovered
        )

    def close(self) -> None:
        """Free the weights."""
        self._model = self._tokenizer = None
        give_back()

    @property
    def _asked(self) -> str | None:
        """The format that the settings name."""
        return None if self.answer_format == AUTO else self.answer_format

    def _format_for(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> str | None:
        """The format that is set, else recorded in the checkpoint, else shown by its template; None: none is known."""
        recorded = recorded_format(folder) if self.answer_format is None else None
        return self._asked or recorded or template_format(tokenizer)

    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._model is None or self._tokenizer is None:
            raise UserError("the student has no weights yet: call load(checkpoint) before it is asked.")
        return self._model, self._tokenizer


def recorded_format(folder: Path) -> str | None:
    """The answer format that a checkpoint records; None: it says nothing.

    Raises:
        UserError: its record is broken.
    """
    path = folder / RECORD_FILE
    found = read_object(path).get("format") if is_file(path) else None
    if not isinstance(found, str | None):
        raise UserError(f'{named(path)} names no answer format. It should hold {{"format": "hermes"}}, or another one.')
    return found


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, its chat template as it takes most shapes of dialogues; see `raw_tokenizer`."""
    tokenizer = raw_tokenizer(folder)
    fit_tokenizer(tokenizer)
    return tokenizer


def raw_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        UserError: it cannot be loaded, or asks for code of its own.
    """
    check_files(folder)
    with loading(folder, "tokenizer"):
        return AutoTokenizer.from_pretrained(
            folder, padding_side="left", trust_remote_code=False, local_files_only=True
        )


def load_config(folder: Path) -> Any:
    """The configuration of the model in a folder.

    Raises:
        UserError: it cannot be loaded, or asks for code of its own.
    """
    check_files(folder)
    with loading(folder, "configuration"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def longest_context(config: Any) -> int | None:
    """Most tokens that a model reads, by its configuration, whichever name that has there; of one that sees as well,
    its text model. None: it does not say.
    """
    found = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def load_model(
    folder: Path, dtype: torch.dtype, attention: Attention | None = None, how: Mapping[str, Any] | None = None
) -> Any:
    """The causal language model in a folder, without Transformers' progress bars.

    Args:
        folder: of the checkpoint.
        dtype: of its weights.
        attention: which implementation; None: Transformers' choice.
        how: further arguments to ``from_pretrained``.

    Raises:
        UserError: it cannot be loaded, asks for code of its own, or its files do not fit each other.
    """
    entries = check_files(folder)
    auto: Any = AutoModelForCausalLM
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with loading(folder, "model"):
        if entries is not None:
            config = load_config(folder)
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                empty = auto.from_config(config, trust_remote_code=False)
            check_described(empty.num_parameters(), entries, folder / "config.json")
        model, found = auto.from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation=attention,
            output_loading_info=True,
            **how or {},
        )
        check_loaded(folder, found)
    return model


def save_trained(model: Any, tokenizer: Any, start: Path, out: Path) -> Checkpoint:
    """Keep what was trained from ``start``: its weights, and all else as it was there."""
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if is_file(record := start / RECORD_FILE):
        shutil.copyfile(record, out / RECORD_FILE)
    return checkpoint_at(out)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: what the configurations name, and the ends of turns that the vocabulary holds.

    Raises:
        UserError: there are none.
    """
    configured: Any = model.generation_config.eos_token_id
    found = (*(configured if isinstance(configured, list) else [configured]), *end_marks(tokenizer).values())
    if stops := frozenset(token for token in found if token is not None):
        return stops
    raise UserError(
        f"checkpoint {named(Path(str(model.name_or_path)))}: it names no token that ends an answer (eos_token_id in "
        "config.json). Write it there, or give another checkpoint."
    )
