"""The prompts of the roles: a text that anybody may rewrite, and the facts of the task as JSON, which none may omit.

A role's text is ``<role>.jinja``, looked for in the user's own folder first and then in ``sloop/prompts``. Its
variables are the fields of the brief. The brief itself is put behind it, in a code fence that ends the prompt: it says
what the task is about and never which answer is right, nor which of two is the label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sloop.models.bounded import Bounded, Exceeded
from sloop.records import Label, Message, UserError, from_json
from sloop.store.files import UNREADABLE, unreadable

PACKAGED = Path(__file__).parents[1] / "prompts"
_BRIEF = re.compile(r"^```json\n(.*)\n```\s*\Z", re.M)


class Prompts:
    """Prompts from a search path."""

    def __init__(self, folder: str | None) -> None:
        """Look into this folder first, where there is one.

        Raises:
            UserError: there is no such folder.
        """
        if folder is not None and not Path(folder).is_dir():
            raise UserError(
                f"prompts={folder}: no such folder. Put your own user.jinja, assistant.jinja, judge.jinja or "
                "simulated_user.jinja there."
            )
        self._folders = [Path(folder), PACKAGED] if folder is not None else [PACKAGED]
        # Sandboxed: a folder of prompts may be a stranger's. Strict: a misspelt variable would pass as an empty text.
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(self._folders),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )

        # A stranger's folder may loop without end, too; our own prompts are known to end.
        self._render = self._rendered if folder is None else Bounded(self._rendered)

    def _rendered(self, name: str, brief: Mapping[str, Any]) -> str:
        return self._environment.get_template(name).render(brief)

    def write(self, brief: Mapping[str, Any]) -> list[Message]:
        """The prompt for a brief; its ``role`` names the text.

        Raises:
            UserError: as of `text`.
        """
        text = self.text(brief["role"], brief)
        # Within JSON a line break is written as \n, so that no fact can end the fence.
        return [Message(role="user", content=f"{text}\n\n```json\n{json.dumps(brief, ensure_ascii=False)}\n```")]

    def text(self, role: str, brief: Mapping[str, Any]) -> str:
        """The text of a role alone.

        Raises:
            UserError: a text that is no template, asks for what the brief does not have, or does not end.
        """
        name = f"{role}.jinja"
        try:
            return self._render(name, brief).strip()
        except (TemplateError, Exceeded) as error:
            folders = ", ".join(map(str, self._folders))
            raise UserError(
                f"the prompt {name} (looked for in {folders}): {error}. Its variables are: {', '.join(brief)}."
            ) from error
        except UNREADABLE as error:
            raise unreadable(self._folders[0] / name, error) from error


def last_brief(messages: Sequence[Message]) -> dict[str, Any] | None:
    """The brief of the last user message that ends in one; None: there is none."""
    for message in reversed(messages):
        if message.role == "user" and (found := _BRIEF.search(message.content)):
            try:
                brief = from_json(found[1], wraps=1)
            except ValueError:
                return None
            return brief if isinstance(brief, dict) else None
    return None


def said(label: Label) -> dict[str, Any]:
    """An answer as a brief shows it."""
    return {
        "calls": [{"name": call.name, "arguments": call.arguments} for call in label.calls],
        "content": label.content,
    }
