"""What the domains' tasks share: their words, in a file beside each module, and calls as they write them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sloop.records import ToolCall


@cache
def read_words(domain: str) -> Mapping[str, Any]:
    """What is said in a domain's tasks, as ``<domain>.yaml`` has it."""
    found: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name(f"{domain}.yaml").read_text(encoding="utf-8"))
    return found


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A call of one of a domain's tools."""
    return ToolCall(name=name, arguments=arguments)
