"""Processes that train one model together (``distributed=ddp|fsdp``), each a rank, started by torch's elastic launcher.

`launch` hands a trainer to them, which then trains as it does alone, but for what the functions here say of the others;
rank 0 writes, and its words come back line by line.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, Protocol

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sloop.records import Checkpoint, Record, UserError
from sloop.records.ranges import Within
from sloop.trainers.base import Progress

LINES = 30
"""Of what ranks wrote that are shown where they failed without a word of their own."""


class Distributed(Record):
    """As it stands in ``conf/distributed/*.yaml``, which says what each value is."""

    kind: Literal["ddp", "fsdp"]
    processes: Annotated[int, Within(2, 1_024)]


class Spreading(Protocol):
    """A trainer that can train over ranks."""

    distributed: Distributed | None
    threads: int
    device: str

    def train(self, *given: Any, **named: Any) -> Checkpoint:
        """As a rank, where `is_rank`."""
        ...


# --- what a rank knows of the others ----------------------------------------------------------------------------------


def is_rank() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process among them, 0 where it is alone."""
    return dist.get_rank() if is_rank() else 0


def ranks() -> int:
    """How many they are."""
    return dist.get_world_size() if is_rank() else 1


def is_first() -> bool:
    """Whether this process writes and tells for all."""
    return rank() == 0


def wait() -> None:
    """Go on when all are here."""
    if is_rank():
        dist.barrier()


def total(value: float, device: str) -> float:
    """The sum of a number over the ranks."""
    if not is_rank():
        return value
    summed = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed)


def add_gradients(weights: list[torch.nn.Parameter]) -> None:
    """Give every rank the sum of all ranks' gradients."""
    for weight in weights if is_rank() else ():
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        dist.all_reduce(weight.grad)


# --- ranks of one training --------------------------------------------------------------------------------------------


def launch(trainer: Spreading, *given: Any, progress: Progress | None, **named: Any) -> Checkpoint:
    """Train in so many processes as ``trainer.distributed`` says.

    Args:
        trainer: is sent, and with it what it is asked.
        given: arguments of its ``train``.
        progress: told of what rank 0 tells.
        named: further arguments.

    Raises:
        UserError: a rank says so, or was ended from without.
    """
    settings = trainer.distributed
    assert settings is not None
    if ":" in trainer.device:
        raise UserError(
            f"trainer.device={trainer.device}: every process of distributed={settings.kind} takes a device of its own. "
            f"Give {trainer.device.partition(':')[0]}."
        )
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": str(trainer.threads)}
    made: dict[str, Any] | None = None
    complaint: str | None = None
    with TemporaryDirectory() as folder, open(Path(folder, "words"), "wb") as words:
        Path(folder, "job").write_bytes(pickle.dumps((trainer, given, named)))
        command = [sys.executable, "-m", __name__, str(Path(folder, "job")), str(settings.processes)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end tells the ranks that nobody waits for them any more
            stdout=subprocess.PIPE,
            stderr=words,
            env={**os.environ, **paths},
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    said = json.loads(line)
                    complaint = complaint or said.get("error")
                    made = made or said.get("made")
                    if progress and "at" in said:
                        progress(*said["at"])
            finally:
                process.terminate()
        if made and not process.wait():
            return Checkpoint.model_validate(made)
        if complaint:
            raise UserError(complaint)
        last = Path(folder, "words").read_text("utf-8", "replace").splitlines()[-LINES:]
    raise RuntimeError("a process of the training failed:\n" + "\n".join(last))


def _agent(job: str, processes: int) -> int:
    """Start the ranks and wait for them; the exit status."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        shutdown_timeout=5,
    )
    try:
        started: Any = elastic_launch(config, sys.executable)
        started("-m", "sloop.trainers.ranks", job)
    except ChildFailedError as error:
        ended = {
            number: -failure.exitcode
            for number, failure in error.failures.items()
            if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM  # which is what the others get
        }
        for number, by in ended.items():
            _say(
                sys.stdout.fileno(),
                error=f"process {number + 1} of {processes} of the training was ended by {signal.Signals(by).name}, as "
                "one is that takes too much memory, and the others with it. What was saved is kept: give the same "
                "command again to go on from there, or with less in memory (trainer.micro_tokens, trainer.accumulate).",
            )
        return 1
    return 0


def _work(job: str) -> int:
    """Train as one of the ranks; the exit status."""
    words = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no word of ours
    threading.Thread(target=_end_when_alone, daemon=True).start()
    # What `launch` wrote, in a folder that it made and nobody else may open.
    trainer, given, named = pickle.loads(Path(job).read_bytes())
    cuda = torch.device(trainer.device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    tell = (lambda *at: _say(words, at=at)) if is_first() else None
    try:
        made = trainer.train(*given, **named, progress=tell)
        if is_first():
            _say(words, made=made.model_dump())
    except UserError as error:
        _say(words, error=str(error))
        return 1
    dist.destroy_process_group()
    return 0


def _say(words: int, **what: Any) -> None:
    os.write(words, (json.dumps(what) + "\n").encode())  # at once, so that those of several ranks do not mix


def _end_when_alone() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_agent(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else _work(sys.argv[1]))
