"""Supervised fine-tuning: a short loop in plain PyTorch, quick for small models on few cores, and resumable."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from sloop.records import Checkpoint, UserError, digest
from sloop.records.ranges import Batch, Count, Positive, Share, Threads, Tokens, Within
from sloop.store import Dataset, checkpoint_at, write_json
from sloop.store.files import filling
from sloop.students.local import DTYPES, Device, DTypeName, load_model, load_tokenizer
from sloop.students.tiny import RECORD_FILE
from sloop.trainers.base import Progress
from sloop.trainers.batches import IGNORED, batch_indices, collate, examples
from sloop.trainers.muon import Muon

FLOOR = 0.02
"""The learning rate ends at this share of its peak."""
REPORT_EVERY = 10
"""Steps between two points of the loss curve."""


class SFT:
    """Cross-entropy on the label of every sample, and on nothing else."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.formats",
        "sloop.students.fitting",
        "sloop.students.local",
        "sloop.students.templates",
        "sloop.students.tiny",
        "sloop.students.trust",
        "sloop.models.bounded",
        "sloop.trainers.batches",
        "sloop.trainers.muon",
        "sloop.trainers.sft",
    )

    def __init__(
        self,
        *,
        learning_rate: Annotated[float, Within(0, 1_000, above=True)],
        batch_size: Batch,
        warmup: Count,
        decay: Share,
        weight_decay: Annotated[float, Within(0, 1_000)],
        clip: Annotated[float, Within(0, 1e9, above=True)],
        optimizer: Literal["muon", "adamw"],
        dtype: DTypeName,
        threads: Threads,
        device: Device,
        save_every: Positive,
        max_length: Tokens,
    ) -> None:
        """Take the settings as they stand in ``conf/trainer/sft.yaml``, which says what each value is."""
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.warmup = warmup
        self.decay = decay
        self.weight_decay = weight_decay
        self.clip = clip
        self.optimizer = optimizer
        self.dtype: DTypeName = dtype
        self.threads = threads
        self.device = device
        self.save_every = save_every
        self.max_length = max_length

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
        the same machine, also when training was interrupted. ``progress`` hears the mean loss since its last word
        (nats per token), the learning rate and how many samples were left out; ``out/sidecar/left_out.json`` says
        for which reasons.

        Raises:
            UserError: no sample of ``data`` can be learnt from.
        """
        torch.set_num_threads(self.threads)
        tokenizer = load_tokenizer(Path(start.path))
        rows, left_out = examples(tokenizer, data, self.max_length)
        if not rows:
            raise UserError(
                f"none of the {len(data)} samples of {data.path} can be trained on ({dict(left_out)}); give labelled "
                f"samples, or raise trainer.max_length (now {self.max_length} tokens)."
            )
        write_json(out / "sidecar" / "left_out.json", dict(left_out))
        lengths = [row.length for row in rows]
        model: PreTrainedModel = load_model(Path(start.path), torch.float32).to(self.device).train()
        optimizers = self._optimizers(model)
        partial = _Partial(
            out / "sidecar" / "partial.pt",
            key=digest([vars(self), start.digest, data.sha256, steps, seed]),
            model=model,
            optimizers=optimizers,
        )
        done = partial.restore()
        losses: list[float] = []
        for step in range(done, steps):
            rate = self.learning_rate * schedule(step, steps, self.warmup, self.decay)
            for group in _groups(optimizers):
                group["lr"] = rate
            batch = batch_indices(lengths, step=step, batch_size=self.batch_size, seed=seed)
            ids, labels = collate([rows[index] for index in batch], int(tokenizer.pad_token_id))
            with torch.autocast(self.device, DTYPES["bf16"], enabled=self.dtype == "bf16"):
                loss = answer_loss(model, ids.to(self.device), labels.to(self.device))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
                if progress:
                    mean = sum(losses) / len(losses)
                    told = {"loss": mean, "learning_rate": rate, "left_out": float(left_out.total())}
                    progress(step + 1, steps, told)
                losses.clear()
            if (step + 1) % self.save_every == 0 and step + 1 < steps:
                partial.save(step + 1)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        record = Path(start.path) / RECORD_FILE
        if record.is_file():
            shutil.copyfile(record, out / RECORD_FILE)
        partial.path.unlink(missing_ok=True)
        return checkpoint_at(out)

    def _optimizers(self, model: PreTrainedModel) -> list[torch.optim.Optimizer]:
        """Fresh state. Muon takes the matrices but embeddings and head, AdamW the rest."""
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        is_matrix = {name: weight.ndim == 2 and not _is_vocabulary(name) for name, weight in trained}
        matrices = [weight for name, weight in trained if is_matrix[name]]
        rest = [weight for name, weight in trained if not is_matrix[name]]
        groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": 0.0}]
        optimizers: list[torch.optim.Optimizer] = []
        if self.optimizer == "muon":
            optimizers = [Muon(matrices, lr=self.learning_rate, weight_decay=self.weight_decay, momentum=0.95)]
        else:
            groups.append({"params": matrices, "weight_decay": self.weight_decay})
        return [*optimizers, torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98))]


def schedule(step: int, steps: int, warmup: int, decay: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, a plateau, a linear fall over the last part.

    Args:
        step: counted from 0.
        steps: in all.
        warmup: steps of the warm-up.
        decay: the falling part, as a share of ``steps``.
    """
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (steps - step) / (steps * decay) if decay else 1.0
    return max(FLOOR, min(1.0, rise, fall))


def answer_loss(model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the labelled tokens; the vocabulary is projected to at those alone.

    Args:
        model: a causal language model with a ``model`` body and an ``lm_head``.
        ids: (batch, length), padded on the right.
        labels: (batch, length), `IGNORED` where there is no loss.
    """
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    counted = wanted != IGNORED
    logits = model.get_output_embeddings()(hidden[counted])  # type: ignore[no-untyped-call]
    return F.cross_entropy(logits.float(), wanted[counted])


def _is_vocabulary(name: str) -> bool:
    return "embed" in name or "lm_head" in name


def _groups(optimizers: list[torch.optim.Optimizer]) -> Iterator[dict[str, Any]]:
    for optimizer in optimizers:
        yield from optimizer.param_groups


class _Partial:
    """Half-trained weights with their optimizers, written whole or not at all."""

    def __init__(
        self, path: Path, *, key: str, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer]
    ) -> None:
        self.path = path
        self.key = key
        self.model = model
        self.optimizers = optimizers

    def save(self, step: int) -> None:
        """Keep the state after ``step`` steps."""
        unfinished = self.path.with_suffix(".tmp")
        state = {
            "key": self.key,
            "step": step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with filling(unfinished, self.path) as file:
            torch.save(state, file)
        unfinished.replace(self.path)

    def restore(self) -> int:
        """Steps done; 0 where nothing was kept, or under other arguments, or what was kept cannot be read."""
        if not self.path.is_file():
            return 0
        try:
            state = torch.load(self.path, weights_only=True)
            if state["key"] != self.key:
                return 0
        except (EOFError, LookupError, OSError, RuntimeError, TypeError, pickle.UnpicklingError):
            return 0  # it was damaged, and saves time alone
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        return int(state["step"])
