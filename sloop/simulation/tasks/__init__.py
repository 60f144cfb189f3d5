"""Tasks in environments, made by template: what a user asks for, turn by turn, and calls that do it."""

from __future__ import annotations

from random import Random
from typing import Protocol

from sloop.environments.bookings import Bookings
from sloop.environments.phonebook import Phonebook
from sloop.records import Task
from sloop.simulation.tasks import bookings, files, phonebook


class TaskMaker(Protocol):
    """A module that makes tasks in one environment."""

    @property
    def KINDS(self) -> tuple[str, ...]:
        """Of task: ``single_step``; ``multi_step`` (a later call needs an earlier result); ``multi_turn`` (later turns
        refer to earlier ones); ``missing_value`` (the first turn lacks a required fact, the next gives it);
        ``missing_tool`` (a tool that is needed is not on offer at first); ``recovery`` (what the user's words lead to
        fails, another call does it); ``read_only`` (the user wants to hear something).
        """
        ...

    def make_task(self, rng: Random, kind: str, part: str) -> Task:
        """A task of this kind; ``part`` is train, dev or test, which share no names and no phrasings."""
        ...


TASKS: dict[str, TaskMaker] = {"files": files, Bookings.toolkit: bookings, Phonebook.toolkit: phonebook}
"""By the environment's name, which `sloop.environments.domains.DOMAINS` has; one's own are added beside it."""
