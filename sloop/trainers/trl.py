"""What the trainers over TRL share: rows that we rendered, no telemetry, counted losses, resuming, the same files.

TRL's own templating never runs: it would render tools and arguments through Arrow, whose clean-up of nulls deletes
genuine ones. Prompts and answers reach it as token ids, made by `sloop.trainers.batches.examples` like those of SFT.
"""
# No postponed annotations: subclasses in other modules inherit these fields, and their types are read there.

import copy
import dataclasses
import math
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Literal

import huggingface_hub.constants
import torch
from datasets import Dataset as Table
from datasets.utils.logging import disable_progress_bar
from transformers import GenerationConfig, PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from sloop.engine.identity import describe
from sloop.records import Checkpoint, Sample, UserError, digest
from sloop.records.ranges import Batch, Count, Positive, Share, Threads, Tokens, Within
from sloop.store import Dataset, file_digest, read_json, write_json
from sloop.students.local import Device, DTypeName, load_tokenizer, save_trained
from sloop.trainers.answers import Reader, Row, graded, labelled
from sloop.trainers.base import TRAINING_FILE, Progress, Training, settings_of
from sloop.trainers.batches import Example, check_left_out
from sloop.trainers.lora import LoraSettings, attach, load_trained, merged, whole_bytes
from sloop.trainers.memory import GIB, blocks_apart, check_memory, free_memory, memory_told, merging, needs
from sloop.trainers.ranks import Distributed, is_first, is_rank, launch, ranks, wait

huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True  # TRL reports every trainer that is made
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # to processes that this one starts as well

LearningRate = Annotated[float, Within(0, 1_000, above=True)]
TOLD = (
    "loss", "learning_rate", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "kl", "entropy",
    "rewards/accuracies", "rewards/margins", "completions/mean_length", "completions/clipped_ratio",
)  # fmt: skip
"""What of TRL's logs is told; what it calls ``tool_call/`` is told as well."""
KEYS = "trainer.accumulate higher, trainer.max_length lower, trainer.checkpointing=true or trainer.lora.rank=16"
"""What to change where memory does not suffice."""
KEY, WHOLE = "key.json", "whole"
MODULES = (
    "sloop.records.base",
    "sloop.records.samples",
    "sloop.calls",
    "sloop.students",
    "sloop.models.bounded",
    "sloop.models.prompts",
    "sloop.trainers.answers",
    "sloop.trainers.batches",
    "sloop.trainers.lora",
    "sloop.trainers.loss",
    "sloop.trainers.memory",
    "sloop.trainers.ranks",
    "sloop.trainers.trl",
)


@dataclass
class Work:
    """One training, as the methods see it."""

    start: Path
    model: Any
    tokenizer: Any
    reader: Reader
    rows: list[Row]
    """Shuffled by the seed."""
    left_out: Counter[str]
    """Samples by the reason for which they are not trained on; a method may add to it."""
    predictions: Path | None
    steps: int
    seed: int
    progress: Progress
    load: Callable[[], Any]
    """The start's weights once more."""

    def places(self, batch_size: int) -> list[int]:
        """Which row stands where in the training, by its number: each as often as the others, shuffled every time.

        One long row, so that to TRL it is one epoch: when it resumes it would shuffle the later ones otherwise.
        """
        needed, found = self.steps * batch_size, list[int]()
        while len(found) < needed:
            epoch = list(range(len(self.rows)))
            Random(digest([self.seed, "epoch", len(found)])).shuffle(epoch)
            found += epoch
        return found[:needed]

    def reference(self) -> Any:
        """The start's weights once more, as they stay; None where the model itself has them, without its adapters."""
        return None if hasattr(self.model, "disable_adapter") else self.load().eval().requires_grad_(False)


@dataclass(kw_only=True)
class TRLTrainer(ABC):
    """A method of TRL's, by the protocol of `sloop.trainers.base.Trainer`; ``conf/trainer`` says what each value is."""

    MODULES: ClassVar[tuple[str, ...]] = MODULES
    NOT_RESULTS: ClassVar[frozenset[str]] = frozenset({"save_every", "max_memory"})

    learning_rate: LearningRate
    batch_size: Batch
    accumulate: Batch
    warmup: Share
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    weight_decay: Annotated[float, Within(0, 1_000)]
    clip: Annotated[float, Within(0, 1e9, above=True)]
    checkpointing: bool
    dtype: DTypeName
    threads: Threads
    device: Device
    save_every: Positive
    max_length: Tokens
    max_left_out: Share
    max_memory: Annotated[float, Within(0, 1e6, above=True)] | None
    max_answer: Tokens
    watched: Count
    watch_every: Positive
    lora: LoraSettings
    distributed: Distributed | None = None

    @abstractmethod
    def trainer(self, work: Work, common: dict[str, Any]) -> Trainer:
        """TRL's trainer for this training, made with the ``common`` arguments among its own."""

    def train(
        self,
        start: Checkpoint,
        data: Dataset,
        predictions: Path | None,
        *,
        steps: int,
        seed: int,
        out: Path,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Train for exactly ``steps`` optimizer steps; see `sloop.trainers.base.Trainer`.

        The same arguments give the same weights on one machine with as many ``threads``, also when training was
        interrupted.

        Raises:
            UserError: too little of ``data`` can be trained on, the memory does not suffice, or the loss is not finite.
        """
        if self.distributed and not is_rank():
            return launch(self, start, data, predictions, steps=steps, seed=seed, out=out, progress=progress)
        torch.set_num_threads(self.threads)
        disable_progress_bar()
        folder = Path(start.path)
        tokenizer = load_tokenizer(folder)
        rows, left_out = labelled(tokenizer, data, self.max_length)
        check_left_out(left_out, len(data), self.max_left_out)
        Random(seed).shuffle(rows)
        set_seed(seed)

        def load() -> Any:
            return load_trained(folder, self.lora, self.dtype, self.device, sharded=self.is_sharded)

        plain = load()
        configured = copy.deepcopy((plain.config, plain.generation_config))
        reader = Reader(folder, plain, tokenizer)
        # TRL ends answers where this says, and masks what follows. Nothing else of the checkpoint's stays: what it says
        # of drawing would be followed where TRL says nothing, and Transformers saves no changed one that contradicts
        # itself, as published ones do.
        plain.generation_config = GenerationConfig(eos_token_id=sorted(reader.stops))  # type: ignore[no-untyped-call]
        # What TRL pads and ends with; it cannot do without
        tokenizer.eos_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(min(reader.stops))
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        model = attach(plain, self.lora)
        tell = progress or _unheard
        work = Work(folder, model, tokenizer, reader, rows, left_out, predictions, steps, seed, tell, load)
        answers = file_digest(predictions) if predictions else ""
        # Described as well, for what is in a folder that a setting names
        key = digest([settings_of(self), describe(self), start.digest, data.sha256, answers, steps, seed])
        partial = _Partial(out / "sidecar" / "partial", key)
        with _quiet(), memory_told(KEYS), blocks_apart(folder):
            memory = self._check_memory(work)
            trainer = self.trainer(work, self._common(work, partial.folder))
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(_Teller(self, work))
            trainer.train(resume_from_checkpoint=partial.whole())
        whole = merged(model, folder, self.lora, sharded=self.is_sharded)
        if not is_first():
            wait()
            return start
        if self.lora.bits is None and not self.is_sharded:  # else it was loaded anew, with what it was configured with
            whole.config, whole.generation_config = configured
        said = Training(left_out=dict(left_out), settings=in_force(trainer.args), memory=memory)
        write_json(out / TRAINING_FILE, said.model_dump())
        made = save_trained(whole, load_tokenizer(folder), folder, out)
        shutil.rmtree(partial.folder)
        wait()
        return made

    def steps_for(self, start: Checkpoint, data: Iterable[Sample], epochs: float) -> int:
        """Steps of so many passes over what can be trained on."""
        given = list(data)
        rows, left_out = labelled(load_tokenizer(Path(start.path)), given, self.max_length)
        check_left_out(left_out, len(given), self.max_left_out)
        return math.ceil(epochs * len(rows) / self.batch_size)

    @property
    def at_once(self) -> int:
        """Rows that are in memory at once: those of a part of a step."""
        return self.parts(self.batch_size)

    @property
    def is_sharded(self) -> bool:
        """Whether every process has a part of the weights alone."""
        return self.distributed is not None and self.distributed.kind == "fsdp"

    def copies(self, work: Work, weights: int) -> dict[str, int]:
        """Bytes of other models that stay as they are, by what they are for.

        Args:
            work: the training.
            weights: bytes of the start's.
        """
        return {"reference": 0 if self.lora.rank else weights}

    def _check_memory(self, work: Work) -> dict[str, int]:
        """What a step needs at most by what it is for, told of before the first."""
        longest = max(work.rows, key=lambda row: row.example.length).example
        widest = Example(
            longest.prompt, longest.answer + longest.answer[-1:] * max(0, self.max_answer - len(longest.answer))
        )
        need = needs(work.model, "adamw", [[widest] * self.at_once], checkpointing=self.checkpointing)
        need |= self.copies(work, need["weights"])
        if self.is_sharded:
            shared = ("weights", "gradients", "optimizer", "reference")
            need |= {name: need[name] // ranks() for name in shared if name in need}
        if self.lora.bits or self.is_sharded:
            need["merging"] = merging(need, whole_bytes(work.start))
        wait()  # until all have loaded their weights
        free = free_memory(self.device) if self.max_memory is None else self.max_memory * GIB - need["weights"]
        work.progress(0, work.steps, {"memory_gib": sum(need.values()) / GIB, "free_gib": free / GIB})
        check_memory(need, int(free), KEYS)
        return need

    def _common(self, work: Work, partial: Path) -> dict[str, Any]:
        """Arguments that every configuration of TRL's takes."""
        return {
            "output_dir": str(partial),
            "max_steps": work.steps,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": self.schedule,
            "warmup_steps": math.ceil(self.warmup * work.steps),
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.clip,
            "gradient_accumulation_steps": self.accumulate,
            "gradient_checkpointing": self.checkpointing,
            "bf16": self.dtype == "bf16",
            "use_cpu": self.device == "cpu",
            "seed": work.seed,
            "data_seed": work.seed,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            # What is cut into shards as it is loaded has no states that Transformers could go on from
            "save_strategy": "no" if self.is_sharded else "steps",
            "save_steps": self.save_every,
            "save_total_limit": 2,
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }

    def parts(self, rows: int) -> int:
        """Rows of a step that are in the memory of a process at once.

        Raises:
            UserError: a step cannot be cut into so many parts.
        """
        if rows % (self.accumulate * ranks()):
            each = f" in each of {ranks()} processes" if is_rank() else ""
            raise UserError(
                f"trainer.accumulate={self.accumulate}: a step of {rows} rows cannot be cut into so many equal "
                f"parts{each}. Give a divisor."
            )
        return rows // (self.accumulate * ranks())


def in_force(arguments: Any) -> dict[str, Any]:
    """What a configuration of TRL's really was: all that is not Transformers' default, but for where files are."""
    usual = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    values = arguments.to_dict()
    return {
        name: value
        for name, value in values.items()
        if name not in ("output_dir", "logging_dir") and (name not in usual or value != usual[name])
    }


def table(rows: list[dict[str, Any]]) -> Any:
    """Rows as TRL takes them; they hold texts, numbers and token ids alone."""
    return Table.from_list(rows)


class Untouched:
    """In front of a trainer of TRL's: takes its rows as they are, tokens and all."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class Rendered:
    """In front of a trainer of TRL's that writes answers: a prompt is the number of a row, whose tokens are taken."""

    rows: list[Row]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.rows[int(prompt)].example.prompt for prompt in prompts], None, {}


def _unheard(done: int, steps: int, values: dict[str, float]) -> None:
    """Progress that nobody asked for."""


class _Teller(TrainerCallback):
    """Tells progress, watches some answers, and ends a training that has gone astray."""

    def __init__(self, settings: TRLTrainer, work: Work) -> None:
        self.settings = settings
        self.work = work

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "train_runtime" in logs:  # the sum of it all, after the last step
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name) or 0.0):
                raise UserError(
                    f"the training has gone astray: {name} is {logs[name]} at step {state.global_step}. Lower "
                    f"trainer.learning_rate (now {self.settings.learning_rate})."
                )
        if self.settings.is_sharded or is_first():
            self._tell(state, logs)

    def _tell(self, state: Any, logs: dict[str, Any]) -> None:
        values = {
            name: float(value)
            for name, value in logs.items()
            if value is not None and (name in TOLD or name.startswith("tool_call/"))
        }
        if not any(name.startswith("tool_call/") for name in values):  # else those of the answers that were drawn
            values |= self._watched(state.global_step)
        told = {**values, "left_out": float(self.work.left_out.total())}
        self.work.progress(state.global_step, self.work.steps, told)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wait()  # until every process has written what is its own
        Path(args.output_dir, f"checkpoint-{state.global_step}", WHOLE).touch()

    def _watched(self, step: int) -> dict[str, float]:
        """How right the likeliest answers to the watched samples are, now and then."""
        settings, work = self.settings, self.work
        if not settings.watched or (step % settings.watch_every and step not in (1, work.steps)):
            return {}
        rows = sorted(work.rows, key=lambda row: row.sample.id)[: settings.watched]
        return graded(work.model, rows, work.reader, settings.max_answer, settings.batch_size)


class _Partial:
    """Where a half-finished training lies, and whether it may be gone on with."""

    def __init__(self, folder: Path, key: str) -> None:
        """Take the folder; what is left there of a training with other arguments goes."""
        self.folder = folder
        path = folder / KEY
        if is_first():
            if folder.exists() and not (path.is_file() and read_json(path) == {"key": key}):
                shutil.rmtree(folder)
            write_json(path, {"key": key})
        wait()

    def whole(self) -> str | None:
        """The last state that was written whole."""
        done = [path.parent for path in self.folder.glob(f"checkpoint-*/{WHOLE}")]
        return str(max(done, key=lambda path: int(path.name.rpartition("-")[2]))) if done else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice for the callers of TRL and Transformers, which a user cannot follow, from the terminal."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            transformers_logging.set_verbosity(level)
