"""Supervised fine-tuning: a short loop in plain PyTorch, quick for small models on few cores, and resumable."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from sloop.records import Checkpoint, Record, Sample, UserError, digest
from sloop.records.ranges import Batch, Count, Positive, Seconds, Share, Threads, Tokens, Within
from sloop.store import Dataset, write_json
from sloop.store.files import filling
from sloop.students.freed import give_back
from sloop.students.local import DTYPES, Device, DTypeName, load_config, load_tokenizer, longest_context, save_trained
from sloop.students.tiny import is_from_scratch
from sloop.trainers.answers import Reader, graded, labelled
from sloop.trainers.base import TRAINING_FILE, Progress, Training, settings_of
from sloop.trainers.batches import IGNORED, Example, batches, check_left_out, collate, examples, micro_batches
from sloop.trainers.lora import LoraSettings, attach, load_trained, merged, whole_bytes
from sloop.trainers.loss import answer_loss
from sloop.trainers.memory import GIB, blocks_apart, check_memory, free_memory, memory_told, merging, needs
from sloop.trainers.muon import Muon
from sloop.trainers.ranks import Distributed, add_gradients, is_first, is_rank, launch, rank, ranks, total, wait

FLOOR = 0.02
"""The learning rate ends at this share of its peak."""
REPORT_EVERY = 10
"""Steps between two points of the loss curve."""
FREE_SECONDS = 30.0
"""Seconds of training after which freed memory is given back."""
Optimizer = Literal["muon", "adamw"]
Rate = Annotated[float, Within(0, 1_000, above=True)]
Warmup = Annotated[float, Within(0, 1e9)]


class InForce(Record):
    """The values that the kind of the first checkpoint chooses, where the settings leave them open."""

    learning_rate: Rate
    optimizer: Optimizer
    warmup: Warmup
    decay: Share
    max_length: int
    micro_tokens: int


SCRATCH = InForce(
    learning_rate=0.01, optimizer="muon", warmup=50, decay=0.4, max_length=512, micro_tokens=10**9
)  # fmt: skip
"""For a checkpoint made from scratch."""
PRETRAINED = InForce(
    learning_rate=1e-4, optimizer="adamw", warmup=0.1, decay=0.9, max_length=10**6, micro_tokens=1024
)  # fmt: skip
"""For any other; the longest sample is the model's context, where its configuration tells that."""
LORA_RATE = 5.0
"""Factor on the learning rate of a pretrained checkpoint where adapters are trained."""


class SFT:
    """Cross-entropy on the label of every sample, and on nothing else: the mean over the tokens of a whole step."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.formats",
        "sloop.calls.match.normalise",
        "sloop.calls.match.strict",
        "sloop.students.fitting",
        "sloop.students.local",
        "sloop.students.templates",
        "sloop.students.tiny",
        "sloop.students.trust",
        "sloop.models.bounded",
        "sloop.models.prompts",
        "sloop.trainers.answers",
        "sloop.trainers.batches",
        "sloop.trainers.lora",
        "sloop.trainers.loss",
        "sloop.trainers.memory",
        "sloop.trainers.muon",
        "sloop.trainers.ranks",
        "sloop.trainers.sft",
    )
    NOT_RESULTS = frozenset({"save_every", "save_seconds", "max_memory", "watched", "watch_every", "max_answer"})

    def __init__(
        self,
        *,
        learning_rate: Rate | None,
        batch_size: Batch,
        batch_tokens: Positive | None,
        micro_tokens: Positive | None,
        warmup: Warmup | None,
        decay: Share | None,
        weight_decay: Annotated[float, Within(0, 1_000)],
        clip: Annotated[float, Within(0, 1e9, above=True)],
        optimizer: Optimizer | None,
        lora: LoraSettings,
        freeze_embeddings: bool,
        checkpointing: bool,
        dtype: DTypeName,
        threads: Threads,
        device: Device,
        save_every: Positive,
        save_seconds: Seconds,
        max_length: Tokens | None,
        max_left_out: Share,
        max_memory: Annotated[float, Within(0, 1e6, above=True)] | None,
        watched: Count,
        watch_every: Positive,
        max_answer: Positive,
        distributed: Distributed | None = None,
    ) -> None:
        """Take the settings as they stand in ``conf/trainer/sft.yaml``, which says what each value is.

        Raises:
            UserError: the weights were to be cut into shards.
        """
        if distributed and distributed.kind == "fsdp":
            raise UserError(
                "distributed=fsdp: trainer=sft turns whole matrices and keeps whole weights in every process. Give "
                "distributed=ddp, or a method over TRL, such as trainer=dpo."
            )
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.micro_tokens = micro_tokens
        self.warmup = warmup
        self.decay = decay
        self.weight_decay = weight_decay
        self.clip = clip
        self.optimizer = optimizer
        self.lora = lora
        self.freeze_embeddings = freeze_embeddings
        self.checkpointing = checkpointing
        self.dtype: DTypeName = dtype
        self.threads = threads
        self.device = device
        self.save_every = save_every
        self.save_seconds = save_seconds
        self.max_length = max_length
        self.max_left_out = max_left_out
        self.max_memory = max_memory
        self.watched = watched
        self.watch_every = watch_every
        self.max_answer = max_answer
        self.distributed = distributed

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
        """Train for exactly ``steps`` steps; see `sloop.trainers.base.Trainer`.

        ``predictions`` are not used. The same arguments give the same bytes for the same number of ``threads`` on
        the same machine, also when training was interrupted. ``progress`` hears what memory is needed before the first
        step, and then the mean loss since its last word (nats per token) and the learning rate.

        Raises:
            UserError: too many samples of ``data`` cannot be learnt from, the memory does not suffice, or the loss or
                its gradients are no longer finite.
        """
        if self.distributed and not is_rank():
            return launch(self, start, data, predictions, steps=steps, seed=seed, out=out, progress=progress)
        torch.set_num_threads(self.threads)
        folder, tell = Path(start.path), progress or _say_nothing
        tokenizer, values, rows, left_out = self._read(folder, data)
        lengths = [row.length for row in rows]
        devices: list[Any] | None = None if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices), memory_told(), blocks_apart(folder):
            model = self._model(folder, seed)
            optimizers = self._optimizers(model, values)
            plan = list(islice(self._batches(rows, seed), steps))
            memory = self._check_memory(folder, model, rows, plan, values, steps, tell)
            said = Training(left_out=left_out, settings=values.model_dump(), memory=memory)
            if is_first():
                write_json(out / TRAINING_FILE, said.model_dump())
            partial = _Partial(
                out / "sidecar" / "partial.pt",
                key=digest([settings_of(self), start.digest, data.sha256, steps, seed]),
                model=model,
                optimizers=optimizers,
            )
            done, losses = partial.restore()
            watch = self._watch(folder, model, tokenizer, data, values.max_length) if is_first() else None
            saved = freed = time.monotonic()
            for step in range(done, steps):
                rate = values.learning_rate * schedule(step, steps, values.warmup, values.decay)
                # Of dropout: a training that goes on needs no generator's state
                torch.manual_seed(_number(seed, step) + rank())
                mine = sorted(plan[step], key=lengths.__getitem__)[rank() :: ranks()]
                parts = [
                    collate([rows[index] for index in part], tokenizer.pad_token_id or 0)
                    for part in micro_batches(mine, lengths, values.micro_tokens)
                ]
                losses.append(self._gradients(model, parts, lambda done=step: tell(done, steps, {})))
                self._step(model, optimizers, rate, losses[-1], f"step {step + 1} of {steps}")
                told: dict[str, float] = {}
                if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
                    told = {"loss": sum(losses) / len(losses), "learning_rate": rate}
                    losses.clear()
                if watch and ((step + 1) % self.watch_every == 0 or step + 1 == steps):
                    told |= watch()
                if told:
                    tell(step + 1, steps, told)
                late = time.monotonic() - saved > self.save_seconds
                if is_first() and step + 1 < steps and (late or (step + 1) % self.save_every == 0):
                    partial.save(step + 1, losses)
                    saved = time.monotonic()
                if time.monotonic() - freed > FREE_SECONDS:
                    give_back()
                    freed = time.monotonic()
            made = start
            if is_first():
                made = save_trained(merged(model, folder, self.lora), tokenizer, folder, out)
                partial.path.unlink(missing_ok=True)
            wait()
        return made

    def steps_for(self, start: Checkpoint, data: Iterable[Sample], epochs: float) -> int:
        """Steps of so many passes over what can be trained on."""
        _, _, rows, _ = self._read(Path(start.path), list(data))
        size = sum(row.length for row in rows) / self.batch_tokens if self.batch_tokens else len(rows) / self.batch_size
        return math.ceil(epochs * size)

    def in_force(self, folder: Path) -> InForce:
        """The settings, and where they are null what the checkpoint's kind asks for."""
        kind = SCRATCH
        if not is_from_scratch(folder):
            context = longest_context(load_config(folder))
            rate = PRETRAINED.learning_rate * (LORA_RATE if self.lora.rank else 1)
            kind = PRETRAINED.model_copy(update={"learning_rate": rate, **({"max_length": context} if context else {})})
        given = {name: getattr(self, name) for name in InForce.model_fields}
        return kind.model_copy(update={name: value for name, value in given.items() if value is not None})

    def _read(
        self, folder: Path, data: Dataset | Sequence[Sample]
    ) -> tuple[Any, InForce, list[Example], dict[str, int]]:
        """The tokenizer, the values in force, what is trained on, and how many samples are not, by reason."""
        tokenizer, values = load_tokenizer(folder), self.in_force(folder)
        rows, left_out = examples(tokenizer, data, values.max_length)
        check_left_out(left_out, len(data), self.max_left_out)
        return tokenizer, values, rows, dict(left_out)

    def _model(self, folder: Path, seed: int) -> Any:
        model = load_trained(folder, self.lora, self.dtype, self.device).train()
        if self.freeze_embeddings:
            for weight in _vocabulary(model):
                weight.requires_grad_(False)
        torch.manual_seed(_number(seed, -1))  # of the adapters
        return attach(model, self.lora)

    def _watch(
        self, folder: Path, model: Any, tokenizer: Any, data: Dataset, max_length: int
    ) -> Callable[[], dict[str, float]] | None:
        """What grades the model's likeliest answers to the watched samples; None: none are."""
        if not self.watched:
            return None
        first = sorted((sample for sample in data if sample.label), key=lambda sample: sample.id)
        rows = labelled(tokenizer, islice(first, self.watched), max_length)[0]
        reader = Reader(folder, model, tokenizer)
        return lambda: graded(model, rows, reader, self.max_answer, self.batch_size) if rows else {}

    def _batches(self, rows: Sequence[Example], seed: int) -> Iterator[list[int]]:
        size, in_tokens = self.batch_tokens or self.batch_size, self.batch_tokens is not None
        return batches([row.length for row in rows], size=size, in_tokens=in_tokens, seed=seed)

    def _check_memory(
        self,
        folder: Path,
        model: Any,
        rows: Sequence[Example],
        plan: Sequence[Sequence[int]],
        values: InForce,
        steps: int,
        tell: Progress,
    ) -> dict[str, int]:
        """What a step needs by what it is for, told of; turns checkpointing on, once it is known."""
        lengths = [row.length for row in rows]
        parts = {tuple(part) for batch in plan for part in micro_batches(batch, lengths, values.micro_tokens)}
        need = needs(
            model,
            values.optimizer,
            [[rows[index] for index in part] for part in parts],
            checkpointing=self.checkpointing,
        )
        if self.lora.bits:
            need["merging"] = merging(need, whole_bytes(folder))
        wait()  # until all have loaded their weights
        free = free_memory(self.device) if self.max_memory is None else self.max_memory * GIB - need["weights"]
        tell(0, steps, {"memory_gib": sum(need.values()) / GIB, "free_gib": free / GIB})
        check_memory(need, int(free))
        if self.checkpointing:
            model.activation_checkpointing_enable()
        return need

    def _gradients(self, model: Any, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], alive: Any) -> float:
        """Add up the gradients of one step, over all ranks; returns its loss, the mean over its tokens."""
        own = sum(int((labels[:, 1:] != IGNORED).sum()) for _, labels in parts)
        counted = int(total(own, self.device))
        seen = 0.0
        for ids, labels in parts:
            with torch.autocast(torch.device(self.device).type, DTYPES["bf16"], enabled=self.dtype == "bf16"):
                loss = answer_loss(model, ids.to(self.device), labels.to(self.device)) / counted
            loss.backward()  # type: ignore[no-untyped-call]
            seen += loss.item()
            if len(parts) > 1:
                alive()
        add_gradients([weight for weight in model.parameters() if weight.requires_grad])
        return total(seen, self.device)

    def _step(
        self, model: Any, optimizers: Sequence[torch.optim.Optimizer], rate: float, loss: float, place: str
    ) -> None:
        """Change the weights by their gradients, and forget those.

        Raises:
            UserError: the loss or the gradients are not finite.
        """
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        if not math.isfinite(loss) or not torch.isfinite(norm):
            raise UserError(
                f"{place}: the loss is {loss} and the norm of its gradients {norm.item()}, at a learning rate of "
                f"{rate:g}. The checkpoint trained from is as it was. Give a lower trainer.learning_rate or "
                "trainer.clip, a longer trainer.warmup, or dtype=fp32."
            )
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def _optimizers(self, model: Any, values: InForce) -> list[torch.optim.Optimizer]:
        """Fresh state. Muon takes the matrices but embeddings and head, AdamW the rest."""
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        words = {id(weight) for weight in _vocabulary(model)}
        matrices = [weight for weight in trained if weight.ndim == 2 and id(weight) not in words]
        taken = {id(weight) for weight in matrices}
        rest = [weight for weight in trained if id(weight) not in taken]
        groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": 0.0}]
        rates: dict[str, Any] = {"lr": values.learning_rate, "betas": (0.9, 0.98)}
        if values.optimizer == "muon":
            muon = Muon(matrices, lr=values.learning_rate, weight_decay=self.weight_decay, momentum=0.95)
            return [muon, torch.optim.AdamW(groups, **rates)]
        groups.append({"params": matrices, "weight_decay": self.weight_decay})
        return [torch.optim.AdamW(groups, **rates, fused=True)]


def schedule(step: int, steps: int, warmup: float, decay: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, a plateau, a linear fall over the last part.

    Args:
        step: counted from 0.
        steps: in all.
        warmup: steps of the warm-up; below 1 their share of ``steps``.
        decay: the falling part, as a share of ``steps``.
    """
    rising = warmup * steps if warmup < 1 else warmup
    rise = (step + 1) / rising if rising else 1.0
    fall = (steps - step) / (steps * decay) if decay else 1.0
    return max(FLOOR, min(1.0, rise, fall))


def _vocabulary(model: Any) -> list[torch.nn.Parameter]:
    """The weights of embeddings and head; one, where they share it."""
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    found = (weight for module in modules if isinstance(module, torch.nn.Module) for weight in module.parameters())
    return list({id(weight): weight for weight in found}.values())


def _number(seed: int, step: int) -> int:
    return int(digest([seed, "step", step])[:15], 16)


def _say_nothing(done: int, total: int, values: dict[str, float]) -> None: ...


class _Partial:
    """Half-trained weights with their optimizers, written whole or not at all."""

    def __init__(self, path: Path, *, key: str, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
        self.path = path
        self.key = key
        self.trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.optimizers = optimizers

    def save(self, step: int, losses: Sequence[float]) -> None:
        """Keep the state after ``step`` steps, with the losses that were not told yet."""
        unfinished = self.path.with_suffix(".tmp")
        state = {
            "key": self.key,
            "step": step,
            "losses": list(losses),
            "model": {name: weight.data for name, weight in self.trained.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with filling(unfinished, self.path) as file:
            torch.save(state, file)
        unfinished.replace(self.path)

    def restore(self) -> tuple[int, list[float]]:
        """Steps done, and losses not told; 0 and none where nothing was kept, under other arguments, or damaged."""
        if not self.path.is_file():
            return 0, []
        try:
            state = torch.load(self.path, weights_only=True)
            if state["key"] != self.key:
                return 0, []
        except (EOFError, LookupError, OSError, RuntimeError, TypeError, pickle.UnpicklingError):
            return 0, []  # it was damaged, and saves time alone
        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(state["model"][name])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        return int(state["step"]), list(state["losses"])
