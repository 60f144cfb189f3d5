"""Which chat template a checkpoint gets, with what it would otherwise have of the day and of its caller pinned in it.

All of it stands in the folder's ``chat_template.jinja``, so that whatever loads the folder renders the same text.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import AfterValidator, BeforeValidator
from transformers import PreTrainedTokenizerBase

from sloop.models.prompts import PACKAGED
from sloop.records import UserError
from sloop.records.ranges import refused
from sloop.store import read_json, write_json
from sloop.store.files import read_text
from sloop.students.fitting import SWITCHES, Fit, Listing, read_fitted
from sloop.students.templates import end_marks, fitted, single_template
from sloop.students.tiny import RECORD_FILE

LOG = logging.getLogger(__name__)
LISTINGS: dict[str, Listing] = {name: name for name in get_args(Listing)}
TEMPLATE_FILE, TOKENIZER_FILE = "chat_template.jinja", "tokenizer_config.json"
_STRFTIME = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _source(value: str) -> str:
    if value not in ("own", *LISTINGS) and not Path(value).is_file():
        raise refused("give own, hermes, compact, signatures or a file that holds a chat template")
    return value


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise refused("give a date, such as 2026-01-31") from None


def _names(value: Any) -> Any:
    if isinstance(value, Mapping) and not all(_NAME.fullmatch(str(name)) for name in value):
        raise refused("give names of a chat template's variables")
    return value


Source = Annotated[str, AfterValidator(_source)]
"""``own``, one of `LISTINGS`, or a template's file."""
Day = Annotated[str, AfterValidator(_day)]
Variables = Annotated[dict[str, bool | int | float | str | None], BeforeValidator(_names)]
"""Of a chat template, by name."""


class Choice(NamedTuple):
    """What a student's settings say of its template."""

    source: Source
    kwargs: Variables
    day: Day


OWN = Choice("own", {}, "2026-01-01")
"""The template that a checkpoint has; nothing is said to it."""


def chosen(tokenizer: PreTrainedTokenizerBase, choice: Choice) -> Fit:
    """The chat template that the settings choose, as it takes most shapes of dialogues.

    Raises:
        UserError: it is the tokenizer's own, and there is none.
    """
    template = single_template(tokenizer)
    if choice.source not in ("own", *LISTINGS):
        template = read_text(Path(choice.source))
    elif template is None and choice.source == "own":
        raise UserError(
            f"student.chat_template=own: {tokenizer.name_or_path} has no chat template. Give it one: "
            "student.chat_template=hermes, compact, signatures or FILE"
        )
    elif template is None:
        template = base_template(tokenizer)
    given = read_fitted(template)
    pinned = given._replace(body=pins(given.body, choice) + given.body).template
    return fitted(tokenizer, pinned, LISTINGS.get(choice.source))


def base_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """A template for a tokenizer that has none: in ChatML where its vocabulary has the marks."""
    marked = {"<|im_start|>", "<|im_end|>"} <= tokenizer.get_vocab().keys()
    start, end = ("<|im_start|>", "<|im_end|>") if marked else ("### ", next(iter(end_marks(tokenizer)), ""))
    text = (PACKAGED / "chat" / "base.jinja").read_text("utf-8")
    return text.replace("START", start).replace("END", end)


def pins(body: str, choice: Choice) -> str:
    """What sets the variables of a template that its caller would give, and its date, before it is read."""
    day = date.fromisoformat(choice.day)
    variables: dict[str, Any] = dict(choice.kwargs)
    if "date_string" in body:
        variables = {"date_string": day.strftime("%d %b %Y"), **variables}
    text = "".join(f"{{%- set {name} = {value!r} -%}}" for name, value in variables.items())
    if "strftime_now" in body:
        days = {form: day.strftime(form) for _, form in _STRFTIME.findall(body)}
        text += f"{{%- macro strftime_now(form) -%}}{{{{ {days!r}.get(form, {choice.day!r}) }}}}{{%- endmacro -%}}"
    return "" if body.startswith(text) else text


def told(fit: Fit, name: str) -> list[str]:
    """What is put otherwise before a checkpoint's template sees it, and what it cannot take, a sentence each."""
    return [
        *(
            f"chat template of {name}: {SWITCHES[key].get(value, f'written in {value} form')}"
            for key, value in fit.fitted.switches.items()
        ),
        *(f"chat template of {name} takes no dialogue with {shape}: {why}" for shape, why in fit.refused.items()),
    ]


def dress(
    given: Path, out: Path, tokenizer: PreTrainedTokenizerBase, choice: Choice, format: str | None, linked: bool = False
) -> Path:
    """A checkpoint's folder with the chosen template: the given one where it has it already.

    What is put otherwise before the template sees it, and what it cannot take, is said once.

    Args:
        given: a checkpoint.
        out: folder to be made, of links to the given files where that can be; may be the given one.
        tokenizer: of the checkpoint, as it came.
        choice: of the template.
        format: that answers are to be read in; None: the one that the template writes.
        linked: make the folder in any case: the given one may be cleared away.
    """
    fit = chosen(tokenizer, choice)
    template = fit.fitted.template
    if template == tokenizer.chat_template and not linked:
        return given
    for note in told(fit, str(given)):
        LOG.warning(note)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(given.iterdir()) if out != given else ():
        if path.is_file() and path.name not in (TEMPLATE_FILE, TOKENIZER_FILE, RECORD_FILE):
            _link(path, out / path.name)
    (out / TEMPLATE_FILE).write_text(template, "utf-8")
    known, settings = (
        read_json(given / name) if (given / name).is_file() else {} for name in (RECORD_FILE, TOKENIZER_FILE)
    )
    write_json(out / TOKENIZER_FILE, {key: value for key, value in settings.items() if key != "chat_template"})
    # What a folder's owner says of its own template holds, as it does for the folder itself
    holds = choice.source == "own" and not linked and fit.fitted.switches.get("tools") not in LISTINGS
    said = {
        "format": format or (known.get("format") if holds else None) or fit.format,
        "chat_template": choice.source if choice.source in ("own", *LISTINGS) else "file",
        "chat_template_kwargs": choice.kwargs,
        "date": choice.day,
    }
    write_json(out / RECORD_FILE, {**known, **said})
    return out


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one that links nothing
        shutil.copyfile(source, target)
