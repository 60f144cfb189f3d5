"""The environments that there are, by the name that an `EnvSpec` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sloop.environments.base import Environment
from sloop.environments.phonebook import Phonebook

DOMAINS: Mapping[str, Callable[[], Environment]] = {Phonebook.toolkit: Phonebook}
"""A stranger's data can name these and no other: nothing is imported by what a file says."""
