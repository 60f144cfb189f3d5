"""A toy: a phone book whose numbers must be looked up before a message can be sent.

It stands for environments in tests and as the smallest example of one; nothing that matters is measured with it. Its
state is ``{"contacts": {name: number}, "sent": [{"to": number, "text": text}, ...]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sloop.environments.base import ERROR, read_state, refusal
from sloop.records import Tool, ToolCall


def _tool(name: str, description: str, /, **parameters: str) -> Tool:
    """A tool whose parameters are texts that must be given."""
    properties = {key: {"type": "string", "description": about} for key, about in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name=name, description=description, parameters=schema)


FIND = _tool("find_number", "Look up a contact's phone number.", name="The contact's full name.")
SEND = _tool(
    "send_message",
    "Send a text message to a phone number.",
    number="The phone number, as find_number gives it.",
    text="The message, word for word.",
)


class Sent(BaseModel):
    """A message that was sent."""

    model_config = ConfigDict(extra="forbid")

    to: str
    text: str


class Book(BaseModel):
    """The state."""

    model_config = ConfigDict(extra="forbid")

    contacts: dict[str, str] = Field(default_factory=dict)
    sent: list[Sent] = Field(default_factory=list)


class Phonebook:
    """Contacts and the messages sent to them (`sloop.environments.base.Environment`)."""

    toolkit = "phonebook"
    tools: tuple[Tool, ...] = (FIND, SEND)
    writes = frozenset({SEND.name})

    def __init__(self) -> None:
        """An empty book."""
        self._book = Book()

    def reset(self, state: Mapping[str, Any]) -> None:
        """Begin anew in this state."""
        self._book = read_state(Book, self.toolkit, state)

    def act(self, call: ToolCall) -> str:
        """Look up, or send; the words of an error where that cannot be done."""
        if refused := refusal(call, self.tools):
            return refused
        contacts, given = self._book.contacts, call.arguments
        if call.name == FIND.name:
            return contacts.get(given["name"]) or f"{ERROR}no contact is called {given['name']!r}"
        if given["number"] not in contacts.values():
            return f"{ERROR}nobody has the number {given['number']!r}"
        self._book.sent.append(Sent(to=given["number"], text=given["text"]))
        return "sent"

    def state(self) -> dict[str, Any]:
        """The state as it is now."""
        return self._book.model_dump()
