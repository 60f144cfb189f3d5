"""What a training will need of memory, told before it takes it: a process that takes too much is killed unheard."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.distributed.tensor import DTensor

from sloop.records import UserError
from sloop.trainers.batches import Example, collate
from sloop.trainers.loss import answer_loss
from sloop.trainers.ranks import ranks

GIB = 1 << 30
PROBES = (16, 32, 48)
"""Tokens of the texts by which activations are measured."""
PASSING = 1.15
"""What is computed and at once forgotten comes on top of what is kept for the gradients."""
CGROUPS = Path("/sys/fs/cgroup")
"""Of version 2."""
KEYS = (
    "trainer.micro_tokens or trainer.max_length lower, trainer.checkpointing=true, trainer.freeze_embeddings=true or "
    "trainer.lora.rank=16"
)
"""What to change where memory does not suffice."""

LARGE = 100 << 20
"""Bytes of weights from which what they compute is worth blocks of its own."""
BLOCK, GROWN = 1 << 20, 32 << 20
"""Bytes from which a block is mapped apart, and from which glibc at most does it if left alone."""
_M_MMAP_THRESHOLD = -3


def free_memory(device: str) -> int:
    """Bytes that a process may still take: of the device, or of the machine and of the groups that limit it, shared
    alike with the other ranks of its training.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [int(psutil.virtual_memory().available)]
    with suppress(OSError):  # no groups here
        own = CGROUPS / Path("/proc/self/cgroup").read_text().partition("0::/")[2].partition("\n")[0]
        for group in (own, *own.parents):
            with suppress(OSError, ValueError):  # no such file, or no number but "max": this group limits nothing
                most, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
                counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                found.append(most - used + int(counts.get("file", 0)))
    return min(found) // ranks()


def needs(model: Any, optimizer: str, parts: Sequence[Sequence[Example]], *, checkpointing: bool) -> dict[str, int]:
    """Bytes of one step by what they are for; the weights are there already.

    Activations are measured on short texts, as tensors that the gradients wait for, and grow with the square of the
    length at most.

    Args:
        model: as it is trained, but without checkpointing.
        optimizer: its name.
        parts: the largest micro-batches.
        checkpointing: whether activations of one layer at a time are kept, and else its input alone.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    entries = sum(weight.numel() for weight in trained)
    measured = torch.tensor([kept_bytes(model, length) for length in PROBES], dtype=torch.float64)
    powers = torch.tensor([[length**power for power in range(3)] for length in PROBES], dtype=torch.float64)
    _, slope, bend = (max(0.0, value) for value in torch.linalg.solve(powers, measured).tolist())
    config = model.config.get_text_config()
    activations = logits = 0
    for part in parts:
        longest = max(row.length for row in part)
        kept = len(part) * (slope * longest + bend * longest**2)
        if checkpointing:
            layers, width = config.num_hidden_layers, config.hidden_size
            kept = kept / layers + 4 * len(part) * longest * width * layers
        activations = max(activations, int(kept * PASSING))
        # themselves, their logarithms and their gradients
        logits = max(logits, 3 * 4 * sum(len(row.answer) for row in part) * config.vocab_size)
    return {
        "weights": sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        "gradients": 4 * entries,
        "optimizer": 4 * entries * (2 if optimizer == "adamw" else 3),  # Muon turns copies of its averages
        "activations": activations,
        "logits": logits,
    }


def merging(need: Mapping[str, int], whole: int) -> int:
    """Bytes by which putting trained parts into whole weights takes more than a step.

    Args:
        need: bytes of a step by what they are for; weights and optimizer are there still.
        whole: bytes of the weights that are loaded anew for it.
    """
    return max(0, need["weights"] + need["optimizer"] + whole - sum(need.values()))


def kept_bytes(model: Any, length: int) -> int:
    """Bytes that the gradients of a text of so many tokens wait for."""
    storages: dict[int, int] = {}
    weights = {_storage(weight).data_ptr() for weight in model.parameters()}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = _storage(tensor)
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids, labels = collate([Example([0] * (length - 1), [0])], 0)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = answer_loss(model, ids.to(model.device), labels.to(model.device))
    del loss  # until here the storages are alive, and none has the address of another
    return sum(storages.values())


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    """Where the values of a tensor are; of one in shards, this rank's."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).untyped_storage()


def check_memory(need: Mapping[str, int], free: int, keys: str = KEYS) -> None:
    """Pass a training that fits; the weights are there already.

    Args:
        need: bytes by what they are for.
        free: bytes.
        keys: what to change where it does not fit.

    Raises:
        UserError: it does not.
    """
    more = sum(need.values()) - need["weights"]
    if more > free:
        parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in need.items())
        raise UserError(
            f"training needs about {sum(need.values()) / GIB:.1f} GiB of memory ({parts}), of which {more / GIB:.1f} "
            f"are still to be taken and {free / GIB:.1f} are free. Give {keys}; if you know better, set "
            "trainer.max_memory (GiB)."
        )


@contextmanager
def memory_told(keys: str = KEYS) -> Iterator[None]:
    """Say that memory ran out, however it did, and what to change.

    Raises:
        UserError: it did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(f"the memory does not suffice for this training. Give {keys}.") from error


@contextmanager
def blocks_apart(folder: Path) -> Iterator[None]:
    """Have the C library map every large block apart while a large checkpoint is trained, so that it goes when freed.

    Left alone glibc takes blocks of up to 32 MiB from one heap, in which what the gradients wait for stands between
    what was computed and forgotten: the heap grew to twice of what was in use (a step of SmolLM2 with adapters: 2.9 GiB
    for 2.1, in the same time). Elsewhere than on Linux nothing is done.
    """
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and size >= LARGE else None
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, BLOCK)
    try:
        yield
    finally:
        if mallopt:
            mallopt(_M_MMAP_THRESHOLD, GROWN)
