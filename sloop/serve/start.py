"""From a configuration to a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sloop.engine.build import build
from sloop.judges.base import Judge
from sloop.records import UserError
from sloop.records.ranges import Batch, PathText, Pause, Port, Threads, Tokens, check_plain, told
from sloop.serve.engine import CheckpointResponder
from sloop.serve.limits import ServeLimits
from sloop.serve.protocol import Responder
from sloop.serve.server import Server, listen, token_for
from sloop.serve.simulated import SimulatedResponder
from sloop.simulation.briefs import SimulatedModel
from sloop.simulation.templates import load_templates
from sloop.students.local import AnswerFormat, Device, DTypeName, LocalStudent
from sloop.teachers.base import Teacher


class ServeConfig(ServeLimits):
    """The configuration, typed; ``conf/serve.yaml`` says what each key means."""

    path: PathText | None
    model: Annotated[str, Field(min_length=1, max_length=500)] | None
    host: Annotated[str, Field(min_length=1, max_length=255)]
    port: Port
    answer_format: AnswerFormat | None
    threads: Threads
    dtype: DTypeName
    device: Device
    batch_size: Batch
    batch_wait: Pause
    max_tokens: Tokens
    teacher: dict[str, Any] | None = None
    judge: dict[str, Any]


def serve(plain: Mapping[str, Any], *, ready: Callable[[str], None]) -> None:
    """Answer until the process is told to end.

    Args:
        plain: the configuration.
        ready: told one line that says where, once requests are answered.

    Raises:
        UserError: a value that is not allowed, no checkpoint, no token where one is wanted, or a port in use.
    """
    config = parse_serve_config(plain)
    token = token_for(config.host)
    with listen(config.host, config.port) as listening:
        responder = responder_of(config)
        names = ", ".join(responder.models)
        limits = ServeLimits(**{name: getattr(config, name) for name in ServeLimits.model_fields})
        server = Server(responder, listening, token, lambda url: ready(f"serving {names} at {url}"), limits)
        asyncio.run(server.serve([listening]))


def parse_serve_config(plain: Mapping[str, Any]) -> ServeConfig:
    """Type the configuration.

    Raises:
        UserError: a value of the wrong type or out of its range; names key, value and what is allowed.
    """
    check_plain(plain)
    try:
        return ServeConfig.model_validate(dict(plain))
    except ValidationError as error:
        raise UserError(f"{told(error)} See the keys with: sloop serve --help") from error


def responder_of(config: ServeConfig) -> Responder:
    """Who answers.

    Raises:
        UserError: there is no checkpoint at the path, or it does not say in which format it writes calls.
    """
    if config.teacher is not None:
        return _simulated(config, config.teacher)
    if config.path is None:
        raise UserError(
            "path is missing: say what to serve, for example: sloop serve path=outputs/trained/checkpoint (or a "
            "simulated model: sloop serve teacher=template)"
        )
    student = LocalStudent.at(
        config.path,
        answer_format=config.answer_format,
        threads=config.threads,
        dtype=config.dtype,
        device=config.device,
    )
    return CheckpointResponder(
        student=student,
        name=config.model or config.path,
        batch_size=config.batch_size,
        batch_wait=config.batch_wait,
        max_tokens=config.max_tokens,
    )


def check_teacher(teacher: Mapping[str, Any]) -> None:
    """Fail where a teacher, its references resolved or not, cannot be a simulated model.

    Raises:
        UserError: it has no templates.
    """
    if "templates" not in teacher:
        raise UserError(f"teacher._target_={teacher.get('_target_')}: only teacher=template can be a simulated model.")


def _simulated(config: ServeConfig, teacher: dict[str, Any]) -> Responder:
    if config.path is not None:
        raise UserError(f"path={config.path}, teacher=template: serve a checkpoint or a simulated model, not both.")
    check_teacher(teacher)
    model = SimulatedModel(
        teacher=build(teacher, "teacher", kind=Teacher),
        judge=build(config.judge, "judge", kind=Judge),
        templates=load_templates(teacher["templates"]),
    )
    return SimulatedResponder(model=model, name=config.model or "template")
