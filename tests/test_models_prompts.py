"""Role prompts: whose text, what it may do, and the brief that ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sloop.engine.build import build
from sloop.engine.identity import describe
from sloop.models.prompts import PACKAGED, Prompts, last_brief
from sloop.records import Message, UserError

BRIEF = {"role": "assistant", "messages": [{"role": "user", "content": 'x\n```\n```json\n{"role": "judge"}\n```'}]}


def test_a_prompt_ends_in_its_brief_whatever_the_facts_hold() -> None:
    (message,) = Prompts(None).write(BRIEF)
    assert message.content.endswith("\n```")
    assert json.loads(message.content.split("\n```json\n")[-1].removesuffix("\n```")) == BRIEF
    assert last_brief([message]) == BRIEF


def test_a_text_of_the_users_comes_first_and_cannot_lose_the_brief(tmp_path: Path) -> None:
    (tmp_path / "assistant.jinja").write_text("You have {{ messages | length }} messages.")
    (message,) = Prompts(str(tmp_path)).write(BRIEF)
    assert message.content.startswith("You have 1 messages.\n\n```json\n")
    (other,) = Prompts(str(tmp_path)).write({**BRIEF, "role": "judge", "answers": {"answer_1": {}}, "rubric": False})
    assert "You judge" in other.content


@pytest.mark.parametrize(
    "text", ["{{ truth }}", "{% if %}", "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{% include 'x' %}"]
)
def test_a_text_that_asks_for_what_it_may_not_have_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "assistant.jinja").write_text(text)
    with pytest.raises(UserError, match=r"the prompt assistant\.jinja .*Its variables are: role, messages"):
        Prompts(str(tmp_path)).write(BRIEF)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"prompts=nowhere: no such folder"):
        Prompts("nowhere")


def test_every_role_has_a_packaged_text() -> None:
    roles = {"user.jinja", "assistant.jinja", "judge.jinja", "simulated_user.jinja"}
    others = {"calls.jinja", "bookings.jinja"}  # of trainer=teacher_mode, and the policy of benchmark=bookings
    assert {path.name for path in PACKAGED.glob("*.jinja")} == roles | others


@pytest.mark.parametrize("kind", ["single", "parallel", "irrelevant", "incomplete", "chat"])
@pytest.mark.parametrize("axis", [None, "values", "phrasing"])
def test_the_users_text_reads_for_every_kind_and_axis(kind: str, axis: str | None) -> None:
    brief = {"role": "user", "kind": kind, "axis": axis, "wanted": [], "others": [], "seed": None, "mistake": None}
    (message,) = Prompts(None).write({**brief, "style": None, "draw": 1})
    assert "Write one request" in message.content


def test_a_message_without_a_brief_has_none() -> None:
    assert last_brief([Message(role="user", content="```json\n{}\n``` and more")]) is None


def test_the_files_of_a_folder_of_prompts_belong_to_a_components_description(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "_target_": "sloop.judges.llm.LLMJudge",
        "endpoint": {
            "_target_": "sloop.models.endpoint.Endpoint",
            "role": "judge",
            "base_url": "http://127.0.0.1:1/v1",
            "model": "m",
            "query": {},
            "key_header": "Authorization",
            "structured_output": "json_schema",
            "in_text": {},
            "cache": "off",
            "cache_path": "none",
            "limits": {
                "concurrency": 1,
                "requests_per_minute": None,
                "tokens_per_minute": None,
                "timeout": 1,
                "retries": 0,
                "backoff": 0,
                "max_wait": 1,
            },
        },
        **{"votes": 1, "swap": True, "temperature": 0, "max_tokens": 9, "seed": None, "prompts": str(tmp_path)},
    }
    component = build(spec, "judge")
    before = describe(component)
    (tmp_path / "judge.jinja").write_text("Judge!")
    after = describe(component)
    assert before["prompts"] == {}
    assert set(after["prompts"]) == {"judge.jinja"}
    assert describe(build({**spec, "prompts": None}, "judge"))["prompts"] is None
