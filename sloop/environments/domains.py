"""The environments that there are, by the name that an `EnvSpec` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sloop.environments.base import Environment
from sloop.environments.bookings import Bookings
from sloop.environments.files import Files
from sloop.environments.phonebook import Phonebook
from sloop.environments.simulator import Simulator
from sloop.records import EnvSpec, UserError

MODULES = ("sloop.environments", "sloop.records.episodes", "sloop.tools.contract", "sloop.tools.dialects")
"""The modules whose code can change what comes of calls."""

DOMAINS: Mapping[str, Callable[[], Environment]] = {
    Bookings.toolkit: Bookings,
    "files": Files,
    Phonebook.toolkit: Phonebook,
    Simulator.toolkit: Simulator,
}
"""A stranger's data can name these and no other: nothing is imported by what a file says."""


def make_environment(spec: EnvSpec) -> Environment:
    """A fresh environment in the state that is given.

    Raises:
        UserError: there is none of that name, or it has no such state.
    """
    if spec.toolkit not in DOMAINS:
        raise UserError(f"no environment is called {spec.toolkit!r:.100}. There are {', '.join(DOMAINS)}.")
    environment = DOMAINS[spec.toolkit]()
    environment.reset(spec.state)
    return environment
