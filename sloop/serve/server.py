"""A server process around a responder: its socket, its token, its beginning and its end."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import uvicorn

from sloop.models.environment import Key
from sloop.records import UserError
from sloop.serve.app import make_app
from sloop.serve.limits import HEADER_BYTES, ServeLimits, patient_http
from sloop.serve.protocol import Responder

TOKEN_VARIABLE = "SLOOP_SERVE_TOKEN"
PATIENCE = 10
"""Seconds that answers under way are given once the server is told to end."""


def token_for(host: str, environment: Mapping[str, str] = os.environ) -> Key | None:
    """The token that clients must show, from the environment alone; on loopback there may be none.

    Raises:
        UserError: other machines could reach the server, and there is no token.
    """
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if token:
        return Key(token, TOKEN_VARIABLE)
    if not _is_loopback(host):
        raise UserError(
            f"host={host}: other machines could reach this server, so that a bearer token is wanted. Set "
            f"{TOKEN_VARIABLE} in the environment, or leave host at 127.0.0.1."
        )
    return None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        UserError: the port is in use or not allowed, or the host is none of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"host={host} port={port}: cannot listen there ({error}). Choose another port (0 takes a free one), or end "
            "the program that holds it."
        ) from error


def address(listening: socket.socket) -> str:
    """The base URL under which clients reach a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


class Server(uvicorn.Server):
    """Uvicorn, which says when it is ready; told to end, it finishes the answers under way, and that is no failure."""

    def __init__(
        self,
        responder: Responder,
        listening: socket.socket,
        token: Key | None,
        ready: Callable[[str], None],
        limits: ServeLimits | None = None,
    ) -> None:
        """Prepare.

        Args:
            responder: who answers; closed at the end.
            listening: where.
            token: see `sloop.serve.app.make_app`.
            ready: told the base URL once requests are answered.
            limits: what clients may take; None: the usual ones.
        """
        limits = limits or ServeLimits()
        super().__init__(
            uvicorn.Config(
                make_app(responder, token, limits),
                http=patient_http(limits),
                h11_max_incomplete_event_size=HEADER_BYTES,
                limit_concurrency=limits.max_connections,
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        self._url = address(listening)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._ready(self._url)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at a signal; uvicorn's own would raise it again afterwards, and the process would end as if killed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._told_to_end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told_to_end(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
