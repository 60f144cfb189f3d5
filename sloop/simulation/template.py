"""A teacher without a model: requests from templates, or from a tool's schema where there is no template.

What it writes is right by construction: a fresh request is written from the call that is its label, and a paraphrase
(axis ``phrasing``) is written back from the seed's label. A tool's templates are a canonical example and paraphrases
in a YAML file (`sloop.simulation.templates` tells its form); any other tool is left to `sloop.simulation.grammar`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, get_args

from sloop.calls.surface import surface_forms
from sloop.records import (
    Dialogue,
    Kind,
    Label,
    Message,
    Order,
    Part,
    Rejected,
    Sample,
    Tool,
    ToolCall,
    UserError,
    canonical_json,
)
from sloop.records.ranges import PathText, Share
from sloop.simulation.grammar import Grammar, ask
from sloop.simulation.invent import Unsayable
from sloop.simulation.phrases import Phrase
from sloop.simulation.templates import Heard, Reply, Template, load_templates
from sloop.simulation.values import Values
from sloop.teachers.base import continued

_KINDS: tuple[Kind, ...] = get_args(Kind)
_TRIES = 10


class TemplateTeacher:
    """Writes single-turn dialogues (`sloop.teachers.base.Teacher`)."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.schema",
        "sloop.calls.surface",
        "sloop.simulation.grammar",
        "sloop.simulation.invent",
        "sloop.simulation.matching",
        "sloop.simulation.phrases",
        "sloop.simulation.template",
        "sloop.simulation.templates",
        "sloop.simulation.values",
        "sloop/simulation/everyday.yaml",
        "sloop.teachers.base",
    )

    def __init__(
        self,
        *,
        templates: PathText,
        values: Part,
        phrases: Part,
        random_values: Share,
        optional_arguments: Share,
        spelled_values: Share,
    ) -> None:
        """Read the templates.

        Args:
            templates: "everyday", or the path of a YAML file.
            values: part that argument values are drawn from: train, dev or test.
            phrases: part that phrasings are drawn from: train, dev or test.
            random_values: share of the slots that get made-up words, where a slot can have them.
            optional_arguments: probability that an optional part of a phrase is said.
            spelled_values: share of the numbers, dates and times that are not written as in the call.

        Raises:
            UserError: a bad template file.
        """
        self._templates = load_templates(templates)
        self._phrases: Part = phrases
        self._values = Values(self._templates.types, part=values, random_values=random_values)
        packaged = load_templates("everyday").types
        bank = Values(packaged, part=values, random_values=random_values)
        self._grammar = Grammar(bank, part=self._phrases, spelled_values=spelled_values)
        self._optional = optional_arguments
        self._spelled = spelled_values
        self._fits: dict[str, tuple[Tool, Template | None]] = {}

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue, or say why not; ``rng`` alone decides."""
        try:
            if order.seed is None or order.axis in (None, "values"):
                return self._fresh(order, rng)
            if order.axis == "phrasing":
                return self._rephrased(order, order.seed, rng)
            if order.axis == "tools":
                return self._other_tools(order, order.seed)
            return self._contrast(order, order.seed, rng)
        except Unsayable as refusal:
            return Rejected(key=order.key, reason=refusal.reason, detail=refusal.detail)

    def unable(self, tool: Tool) -> str:
        """Why no request for a tool can be written; empty where one can."""
        why = ""
        for seed in range(_TRIES):
            try:
                self._call(tool, Random(seed))
            except Unsayable as refusal:
                why = f"{refusal.reason}: {refusal.detail}"
            except UserError as error:
                return str(error)
            else:
                return ""
        return why

    # --- new requests -----------------------------------------------------------------------------------------------

    def _fresh(self, order: Order, rng: Random) -> Dialogue:
        """A new request of the order's kind; of a seed only the tools that it is about are kept."""
        if order.kind not in _KINDS:
            raise Unsayable("cannot_express", f"kind {order.kind}: it takes a dialogue in an environment")
        if order.kind == "chat":
            reply = rng.choice(self._templates.chat)
            request = self._small_talk(reply, rng)
            return _dialogue(order.tools, request, Label(content=reply.reply))
        offered = {tool.name for tool in order.tools}
        wanted = list(order.wanted)
        if order.kind == "irrelevant":
            request = self._irrelevant(order, offered, rng)
            return _dialogue(order.tools, request, Label(content=rng.choice(self._templates.refusals)))
        if not wanted and order.seed is not None and order.kind == "incomplete":
            heard = self._hear(order.seed)
            wanted = [tool for tool in order.tools if tool.name == heard[0].template.name]
        if not wanted:
            raise Unsayable("no_wanted_tool", f"kind {order.kind}")
        if not {tool.name for tool in wanted} <= offered:
            raise Unsayable("wanted_not_offered", ", ".join(tool.name for tool in wanted))
        if order.kind == "incomplete":
            request, question = self._incomplete(wanted[0], rng)
            return _dialogue(order.tools, request, Label(content=question))
        if order.kind == "single":
            wanted = wanted[:1]
        elif len(wanted) == 1:
            wanted = wanted * 2
        for _ in range(_TRIES):
            made = [self._call(tool, rng) for tool in wanted]
            calls = tuple(call for call, _ in made)
            if len({canonical_json(call.to_openai()) for call in calls}) == len(calls):
                return _dialogue(order.tools, self._join([text for _, text in made], rng), Label(calls=calls))
        raise Unsayable("cannot_express", f"two different calls of {wanted[0].name}")

    def _irrelevant(self, order: Order, offered: set[str], rng: Random) -> str:
        """A request for a tool that is not on offer."""
        if order.wanted:
            _check_apart({tool.name for tool in order.wanted}, offered)
            return self._call(order.wanted[0], rng)[1]
        if order.seed is None:
            raise Unsayable("no_wanted_tool", "kind irrelevant")
        template = self._hear_unoffered(order.seed, offered)[0].template
        choices = template.phrases.get(self._phrases, ()) or self._unsaid(template.name)
        pieces = rng.choice(choices).choose(rng, self._optional)
        return template.render(pieces, template.fill(pieces, rng, self._values), rng, self._spelled)

    def _call(self, tool: Tool, rng: Random) -> tuple[ToolCall, str]:
        """A call of the tool, and a request that asks for it."""
        template = self._template(tool)
        if template and (phrases := template.complete(self._phrases, tool.required)):
            pieces = rng.choice(phrases).choose(rng, self._optional)
            arguments = template.fill(pieces, rng, self._values)
            text = template.render(pieces, arguments, rng, self._spelled)
        else:
            arguments = self._grammar.draw(tool, rng, self._optional)
            text = self._grammar.say(tool, arguments, rng)
        return ToolCall(name=tool.name, arguments=_declared_order(arguments, tool)), text

    def _incomplete(self, tool: Tool, rng: Random) -> tuple[str, str]:
        """A request that lacks a required value, and the question after the first that it lacks."""
        if not tool.required:
            raise Unsayable("nothing_required", tool.name)
        template = self._template(tool)
        if template and (phrases := template.lacking(self._phrases, tool.required)):
            pieces = rng.choice(phrases).choose(rng, self._optional)
            arguments = template.fill(pieces, rng, self._values)
            missing = next(name for name in tool.required if name not in arguments)
            text = template.render(pieces, arguments, rng, self._spelled)
            return text, template.ask.get(missing) or ask(missing)
        arguments = self._grammar.draw(tool, rng, self._optional)
        missing = rng.choice(tool.required)
        del arguments[missing]
        return self._grammar.say(tool, arguments, rng), ask(missing)

    # --- expansions of a seed ---------------------------------------------------------------------------------------

    def _rephrased(self, order: Order, seed: Sample, rng: Random) -> Dialogue:
        """The seed's label said in other words: written back from the label, so that it is right whatever it was."""
        if seed.label is None or not seed.messages or seed.messages[-1].role != "user":
            raise Unsayable("cannot_express", "the seed has no label, or does not end with a request")
        for _ in range(_TRIES):
            text = self._said_again(order, seed, seed.label, rng)
            if text.casefold() != seed.request.casefold():
                messages = (*seed.messages[:-1], Message(role="user", content=text))
                return continued(order.tools, messages, seed.label)
        raise Unsayable("cannot_express", "no other wording")

    def _said_again(self, order: Order, seed: Sample, label: Label, rng: Random) -> str:
        if label.calls:
            return self._join([self._say(call, order.tools, rng) for call in label.calls], rng)
        if order.kind == "chat":
            same = [reply for reply in self._templates.chat if reply.reply == label.content]
            if not same:
                raise Unsayable("cannot_express", "small talk of one's own")
            return self._small_talk(rng.choice(same), rng)
        offered = {tool.name for tool in order.tools}
        if order.kind == "irrelevant":
            heard = self._hear_unoffered(seed, offered)[0]
            choices: Sequence[Phrase] = heard.template.phrases.get(self._phrases, ())
        elif order.kind == "incomplete":
            heard = self._hear(seed)[0]
            choices = heard.template.incomplete.get(self._phrases, ())
        else:
            raise Unsayable("no_wanted_tool", f"kind {order.kind}, and the label has no call")
        ways = [pieces for phrase in choices if (pieces := phrase.cover(heard.arguments, rng)) is not None]
        if not ways:
            raise Unsayable("cannot_express", f"no phrase of {heard.template.name} says the same values")
        return heard.template.render(rng.choice(ways), heard.arguments, rng, 0.0)

    def _say(self, call: ToolCall, tools: Sequence[Tool], rng: Random) -> str:
        """A request whose right answer is this call."""
        tool = next((tool for tool in tools if tool.name == call.name), None)
        if tool is None:
            raise Unsayable("cannot_express", f"{call.name} is not on offer")
        missing = [name for name in tool.required if name not in call.arguments]
        strange = [name for name in call.arguments if name not in tool.properties]
        if missing or strange:
            raise Unsayable("cannot_express", f"{call.name}: arguments missing {missing}, unknown {strange}")
        if template := self._template(tool):
            seen = all(_seen(value, tool.properties[name]) for name, value in call.arguments.items())
            phrases = template.phrases.get(self._phrases, ())
            ways = [pieces for phrase in phrases if (pieces := phrase.cover(call.arguments, rng)) is not None]
            if ways and seen:
                return template.render(rng.choice(ways), call.arguments, rng, self._spelled)
        return self._grammar.say(tool, call.arguments, rng)

    def _other_tools(self, order: Order, seed: Sample) -> Dialogue:
        """The seed's request with other tools on offer; the label stays."""
        if seed.label is None:
            raise Unsayable("cannot_express", "the seed has no label")
        offered = {tool.name for tool in order.tools}
        if lacking := sorted({call.name for call in seed.label.calls} - offered):
            raise Unsayable("wanted_not_offered", ", ".join(lacking))
        if not seed.label.calls and order.kind != "chat" and not offered <= {tool.name for tool in seed.tools}:
            if order.kind == "irrelevant":
                self._check_unoffered(order, seed, offered)
            else:
                wanted = {tool.name for tool in order.wanted} or {self._hear(seed)[0].template.name}
                if not wanted <= offered:
                    raise Unsayable("wanted_not_offered", ", ".join(sorted(wanted)))
        return continued(order.tools, seed.messages, seed.label)

    def _contrast(self, order: Order, seed: Sample, rng: Random) -> Dialogue:
        """The seed's request without the tool that it needs: no call is right."""
        if order.kind == "chat" or seed.kind == "chat":
            raise Unsayable("no_contrast", "small talk needs no tool")
        offered = {tool.name for tool in order.tools}
        called = {call.name for call in seed.label.calls} if seed.label else set()
        if called and not order.wanted:
            _check_apart(called, offered)
        else:
            self._check_unoffered(order, seed, offered)
        return continued(order.tools, seed.messages, Label(content=rng.choice(self._templates.refusals)))

    # --- what a seed without a call was about -----------------------------------------------------------------------

    def _check_unoffered(self, order: Order, seed: Sample, offered: set[str]) -> None:
        if order.wanted:
            _check_apart({tool.name for tool in order.wanted}, offered)
        else:
            _check_apart({each.template.name for each in self._hear(seed)}, offered)

    def _hear(self, seed: Sample) -> list[Heard]:
        heard = self._templates.hear(seed.request)
        if not heard:
            raise Unsayable("no_wanted_tool", "the seed's request was not made of these templates")
        return heard

    def _hear_unoffered(self, seed: Sample, offered: set[str]) -> list[Heard]:
        """Readings of the seed's request as a complete one, none of which is for a tool on offer."""
        heard = [each for each in self._hear(seed) if not each.incomplete]
        if not heard:
            raise Unsayable("no_wanted_tool", "the seed's request is incomplete")
        _check_apart({each.template.name for each in heard}, offered)
        return heard

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _template(self, tool: Tool) -> Template | None:
        known = self._fits.get(tool.name)
        if known is None or known[0] != tool:
            template = self._templates.tools.get(tool.name)
            known = self._fits[tool.name] = (tool, template if template and template.fits(tool) else None)
        return known[1]

    def _small_talk(self, reply: Reply, rng: Random) -> str:
        said: str = rng.choice(reply.said.get(self._phrases, ()) or self._unsaid("small talk"))
        return said

    def _join(self, texts: Sequence[str], rng: Random) -> str:
        """Several requests as one."""
        joined = texts[0]
        for text in texts[1:]:
            join = rng.choice(self._templates.joins.get(self._phrases, ()) or self._unsaid("joins"))
            first = joined.rstrip(".?!") if "{a}" in join and not join.endswith("{a}") else joined
            joined = join.replace("{a}", first, 1).replace("{b}", text, 1)
        return joined

    def _unsaid(self, what: str) -> Sequence[Any]:
        raise Unsayable("no_phrase", f"{what}: the templates have none for {self._phrases}")


def _check_apart(wanted: set[str], offered: set[str]) -> None:
    if clash := sorted(wanted & offered):
        raise Unsayable("wanted_is_offered", ", ".join(clash))


def _seen(value: Any, schema: Any) -> bool:
    """True for a value that can be written; a boolean is said by the words around it."""
    return isinstance(value, bool) or bool(surface_forms(value, schema if isinstance(schema, Mapping) else {}))


def _declared_order(arguments: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """Arguments in the order of the tool's parameters: one order per call, whatever the request's."""
    return {name: arguments[name] for name in tool.properties if name in arguments}


def _dialogue(tools: tuple[Tool, ...], request: str, label: Label) -> Dialogue:
    return Dialogue(tools=tools, messages=(Message(role="user", content=request), label.message()))
