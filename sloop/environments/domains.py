"""The environments that there are, by the name that an `EnvSpec` gives them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sloop.environments.base import Environment, replay
from sloop.environments.bookings import Bookings
from sloop.environments.files import Files
from sloop.environments.phonebook import Phonebook
from sloop.environments.simulator import Simulator
from sloop.environments.toolkit import Stateful, Toolkit
from sloop.records import EnvSpec, UserError

MODULES = ("sloop.environments", "sloop.records.episodes", "sloop.tools.contract", "sloop.tools.dialects")
"""The modules whose code can change what comes of calls."""

DOMAINS: dict[str, Callable[[], Environment]] = {
    Bookings.toolkit: Bookings,
    "files": Files,
    Phonebook.toolkit: Phonebook,
    Simulator.toolkit: Simulator,
}
"""A stranger's data can name these and no other: nothing is imported by what a file says. `add_domain` adds to them."""


def add_domain(name: str, kind: Callable[[dict[str, Any]], Stateful]) -> None:
    """Let an environment of one's own be known by a name: a class of tools (`sloop.environments.toolkit`).

    The module that defines the class calls this, and is imported because the configuration names a part of it.

    Raises:
        UserError: another environment has the name, or the class has no usable tools.
    """
    Toolkit(name, kind)
    made = functools.partial(Toolkit, name, kind)
    if _place(DOMAINS.setdefault(name, made)) != _place(made):
        raise UserError(f"another environment is called {name}. Give yours another name.")
    DOMAINS[name] = made


def _place(make: Any) -> tuple[str, str]:
    """Where its class is defined: one whose module is imported anew is the same."""
    kind = make.args[1] if isinstance(make, functools.partial) else make
    return kind.__module__, kind.__qualname__


def make_environment(spec: EnvSpec) -> Environment:
    """A fresh environment in the state that is given.

    Raises:
        UserError: there is none of that name, or it has no such state.
    """
    if spec.toolkit not in DOMAINS:
        raise UserError(f"no environment is called {spec.toolkit!r:.100}. There are {', '.join(DOMAINS)}.")
    return replay(DOMAINS[spec.toolkit], spec, ())
