"""Writes a request for any tool from its schema alone: what it does, read from its description, and the values.

Descriptions are boiled down to one plain command ("get the list of all agents"); parameters are named by their own
names in plain words ("page size"). No request names the tool, or writes a value as code would.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import Any

from sloop.calls.schema import call_errors
from sloop.calls.surface import leaves, stands_in
from sloop.records import Part, Tool, ToolCall
from sloop.simulation.invent import Unsayable, branches, invent
from sloop.simulation.phrases import tidy
from sloop.simulation.values import Values, spell, words

MAX_ARGUMENTS = 4
"""Optional arguments are added up to this many; required ones are all given."""
MAX_WORDS = 12
"""Longest command that is taken from a description."""
_TRIES = 4

PHRASES: Mapping[Part, tuple[str, ...]] = {
    "train": (
        "{act}{giving}",
        "please {act}{giving}",
        "can you {act}{giving}?",
        "could you {act}?{facts}",
        "I need to {act}{giving}",
        "I want to {act}.{facts}",
        "I would like to {act}{giving}",
        "help me {act}{giving}",
        "{act}, please.{facts}",
        "{act} for me{giving}",
    ),
    "dev": ("it would be great if you could {act}{giving}", "go ahead and {act}.{facts}"),
    "test": ("my task is to {act}{giving}", "would you mind? I have to {act}.{facts}", "next step: {act}{giving}"),
}
GIVING: Mapping[Part, tuple[str, ...]] = {
    "train": (" with ", " using ", ", with "),
    "dev": (" given ",),
    "test": (", taking ", " based on "),
}
FACTS: Mapping[Part, tuple[str, ...]] = {
    "train": ("the {label} is {value}", "use {value} as {label}"),
    "dev": ("{value} is the {label}",),
    "test": ("take {value} for the {label}",),
}

_VERBS = frozenset(
    (
        *("get", "list", "create", "update", "delete", "view", "add", "remove", "retrieve", "search", "find", "set"),
        *("return", "fetch", "send", "assign", "unassign", "export", "import", "cancel", "start", "stop", "run"),
        *("check", "validate", "calculate", "compute", "convert", "generate", "upload", "download", "move", "copy"),
        *("change", "modify", "edit", "replace", "restore", "archive", "activate", "deactivate", "enable", "disable"),
        *("approve", "reject", "reserve", "release", "register", "submit", "show", "display", "read", "write", "save"),
        *("open", "close", "publish", "install", "uninstall", "apply", "execute", "perform", "query", "lock", "unlock"),
        *("insert", "append", "merge", "split", "join", "leave", "invite", "revoke", "grant", "refresh", "reset"),
        *("book", "order", "buy", "pay", "play", "translate", "analyze", "estimate", "predict", "determine", "compare"),
        *("batch", "bulk", "clone", "duplicate", "complete", "resolve", "reassign", "populate", "log", "record"),
        *("track", "monitor", "test", "verify", "request", "obtain", "access", "allow", "invoke", "call", "use"),
        *("initiate", "trigger", "schedule", "reschedule", "enroll", "transfer", "answer", "filter", "count", "sort"),
        *("watch", "subscribe", "unsubscribe", "report", "provide", "identify", "define", "describe", "clear", "stage"),
        *("suspend", "resume", "mark", "link", "unlink", "attach", "detach", "block", "unblock", "mute", "unmute"),
        *("patch", "put", "post", "sync", "migrate", "promote", "deploy", "rename", "load", "look", "make", "give"),
        *("select", "pick", "plan", "solve", "evaluate", "simulate", "draw", "plot", "print", "extract", "parse"),
        *("configure", "discard", "survey", "unpublish", "reconcile", "accept", "decline", "reopen", "reply", "claim"),
        *("hide", "pin", "unpin", "rate", "review", "sign", "scan", "crawl", "backup", "drop", "purge", "manage"),
        *("aggregate", "customize", "reboot", "switch", "discover", "forward", "flush", "attest", "specify", "stream"),
        *("seek", "locate", "mix", "combine", "detect", "analyse", "withdraw", "examine", "control", "integrate"),
        *("upsert", "bind", "unbind", "associate", "disassociate", "dissociate", "map", "unmap", "share", "unshare"),
        *("commit", "roll", "rotate", "revert", "undo", "redo", "abort", "pause", "end", "finish", "recover"),
    )
)
_PLAINER = {"return": "get", "retrieve": "get", "batch": "batch", "allow": "", "provide": "get", "perform": "run"}
_BOILERPLATE = re.compile(
    r"^(?:use this (?:api|endpoint|method|service|operation|tool|function) to|"
    r"send a request to this end ?point (?:to )?|"
    r"this (?:api|endpoint|method|service|operation|tool|function|resource) (?:is used to |allows you to |lets you |"
    r"will |can be used to )?|will |allows? (?:you|users?|the user) to|lets you|used to|api to)\s*",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"\s(?:that|which|where|whose|who|when|while|based on|depending|according|so that|including|such as|as well as|"
    r"by a|by the|by its|given|using|specified by|identified by|if|because|with an? \w+ value|for use|e\.g|i\.e)\b.*",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"(?:a|an|the|all|one|specified|existing|specific|new|multiple|up to|data)\b", re.IGNORECASE)
_NO_VERBS = frozenset(
    (
        *("this", "these", "that", "is", "are", "has", "have", "was", "does", "can", "will", "may", "contains", "as"),
        *("includes", "its", "if", "when", "for", "from", "to", "of", "by", "in", "on", "at", "with"),
        *(
            "after",
            "before",
            "about",
            "only",
            "not",
            "and",
            "or",
            "also",
            "then",
            "through",
            "via",
            "into",
            "within",
            "without",
            "all",
        ),
        *("one", "both", "each", "please", "note", "however", "otherwise", "while", "where", "during", "under", "over"),
    )
)
_NO_NOUNS = frozenset(("from", "to", "of", "by", "in", "on", "at", "with", "since", "until", "before", "after", "for"))
_DANGLING = re.compile(
    r"(?:[\s,]+(?:and|or|of|for|to|the|an?|with|in|on|by|from|at|as|into|about|is|are|be|its|their|your|all|any|this|"
    r"specified|given|certain|particular|specific|each|every|within|per|via|has|have|one|more|not|can))+$",
    re.IGNORECASE,
)


class Grammar:
    """Draws arguments for a tool and says them."""

    def __init__(self, bank: Values, *, part: Part, spelled_values: float) -> None:
        """Keep what values and phrases to use.

        Args:
            bank: values of common types (names, cities, dates, ...).
            part: whether the phrasings for train, dev or test are used.
            spelled_values: share of the numbers, dates and times that are written otherwise than in the call.
        """
        self._bank = bank
        self._part: Part = part
        self._share = spelled_values

    def draw(self, tool: Tool, rng: Random, optional: float) -> dict[str, Any]:
        """Valid arguments: the required ones, and each optional one with this probability up to `MAX_ARGUMENTS`.

        Raises:
            Unsayable: ("no_value") the schema asks for something that cannot be made up.
        """
        choices = branches(tool.parameters)
        branch: Mapping[str, Any] = {}
        names: list[str] = []
        errors: tuple[str, ...] = ()
        for attempt in range(_TRIES):
            if choices or not attempt:
                branch = rng.choice(choices) if choices else {}
                names = self._names(tool, branch, rng, optional)
            own = branch.get("properties") or {}
            arguments = {name: self.value(tool, name, rng, own.get(name)) for name in tool.properties if name in names}
            errors = call_errors(ToolCall(name=tool.name, arguments=arguments), [tool])
            if not errors:
                return arguments
            lacking = {error.removeprefix("missing_required:") for error in errors}
            names += [name for name in tool.properties if name in lacking and name not in names]
        raise Unsayable("no_value", f"{tool.name}: {'; '.join(errors)}")

    def _names(self, tool: Tool, branch: Mapping[str, Any], rng: Random, optional: float) -> list[str]:
        """Parameters to give: of a tool whose parameters have branches, those of one."""
        names = list(dict.fromkeys([*tool.required, *(branch.get("required") or branch.get("properties") or ())]))
        common = {**tool.parameters, "anyOf": (), "oneOf": ()} if branch else tool.parameters
        known = {**tool.model_copy(update={"parameters": common}).properties, **(branch.get("properties") or {})}
        others = [name for name in known if name not in names and not _deprecated(tool, name)]
        rng.shuffle(others)
        return names + [name for name in others if rng.random() < optional][: max(0, MAX_ARGUMENTS - len(names))]

    def value(self, tool: Tool, name: str, rng: Random, schema: Any = None) -> Any:
        """A value for one parameter; ``schema``: of the branch that was taken, if it has one."""
        schema = tool.properties[name] if schema is None else schema
        return invent(name, schema if isinstance(schema, Mapping) else {}, rng, self._bank, tool.parameters)

    def say(self, tool: Tool, arguments: Mapping[str, Any], rng: Random) -> str:
        """A request whose right answer is this call.

        Raises:
            Unsayable: ("cannot_express") a value cannot be seen in any text, such as an empty one.
        """
        said = []
        for name, value in arguments.items():
            schema = tool.properties.get(name)
            schema = schema if isinstance(schema, Mapping) else {}
            text = self._spell(value, schema, rng)
            if text is None:
                raise Unsayable("cannot_express", f"{tool.name}.{name}={value!r}")
            said.append((label(name), text))
        phrase = rng.choice(PHRASES[self._part])
        act = action(tool)
        if "{facts}" in phrase:
            wording = FACTS[self._part]
            facts = " and ".join(rng.choice(wording).format(label=name, value=text) for name, text in said)
            giving = ""
        else:
            facts = ""
            giving = rng.choice(GIVING[self._part]) + _enumerated(said) if said else ""
        text = tidy(phrase.format(act=act, facts=f" {facts}" if facts else "", giving=giving))
        return text.removesuffix(".")

    def _spell(self, value: Any, schema: Mapping[str, Any], rng: Random) -> str | None:
        """The value as text in which it can be seen; None if there is no such text."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if any(leaf is None or leaf in ("", [], {}) for leaf, _ in leaves(value, schema)):
            return None
        text = spell(value, schema, rng, self._share)
        return text if stands_in(value, schema, text) else None


def ask(name: str) -> str:
    """The question after a missing argument."""
    return f"What is the {label(name)}?"


@lru_cache(maxsize=16384)
def label(name: str) -> str:
    """A parameter's name in plain words; a name that is no noun gets one."""
    plain = words(name) or "input"
    return f"{plain} value" if plain in _NO_NOUNS or (len(plain) < 3 and plain.islower()) else plain


def action(tool: Tool) -> str:
    """What the tool does as a command in lower case, at most `MAX_WORDS` long, without the tool's name."""
    return _action(tool.name, tool.description)


@lru_cache(maxsize=16384)
def _action(name: str, description: str) -> str:
    pieces = [piece for piece in _pieces(description) if not names_tool(name, description, piece)]
    commands = [command for piece in pieces if (command := _command(piece))]
    for command in (*commands, _by_name(name)):
        if len(command.split()) >= 3 and not names_tool(name, description, command):
            return command
    for command in (*commands, _by_name(name)):
        if len(command.split()) == 2 and not names_tool(name, description, command):
            return command
    topic = max((_shortened(_lowered(piece)) for piece in pieces[:3]), key=len, default="")
    return f"get information about {topic}" if topic else "do what this is for"


def names_tool(name: str, description: str, text: str) -> bool:
    """True if the text names the tool. A name that is a plain word of the tool's description ("user") is none."""
    if name.isalpha() and name.islower() and re.search(rf"\b(?:{name}|{name.capitalize()})\b", description):
        return False
    return name.lower() in text.lower()


def _by_name(name: str) -> str:
    """A command made of the words of the tool's name, wherever its verb stands; "" without a verb."""
    plain = words(name).split()
    place = next((index for index, word in enumerate(plain) if word in _VERBS), None)
    if place is None:
        return ""
    rest = plain[place + 1 :] or plain[:place]
    return _shortened(" ".join([plain[place], *rest]))


def _pieces(description: str) -> list[str]:
    """Plain sentences of a description, and the title before its first sentence, without markup."""
    text = re.split(r"\s\*\*\[?(?:Scopes|Prerequisite|Note|Rate Limit)", html.unescape(description))[0]
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)?", r"\1", text)
    text = re.sub(r"</?(?:b|i|u|em|strong|code|a|span|tt)\b[^>]*>", "", text)
    text = re.sub(r"<[^>]*>", ". ", text)
    text = re.sub(r"\b(?:GET|POST|PUT|PATCH|DELETE)\s+/\S*", " ", text)
    text = re.sub(r"https?://\S+|\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"[*`\"#<>|=$]+|\s/\S*", " ", text)
    pieces = re.split(r"(?<=[.!?;])\s+|:\s+|\s+-\s+|\n", text)
    return [piece for part in pieces if (piece := tidy(part).strip(" .,;:!?-'"))]


def _command(piece: str) -> str:
    """The piece as a command, "" where it is none."""
    text = _BOILERPLATE.sub("", piece)
    first, _, rest = text.partition(" ")
    verb = first.lower().strip(",")
    base = next((form for form in _infinitives(verb) if form in _VERBS), "")
    if not base and _OBJECT.match(rest) and verb.isalpha() and verb not in _NO_VERBS:
        base = _infinitives(verb)[-1]  # "discards the draft", "claim a task"
    if not base:
        return ""
    base = _PLAINER.get(base, base)
    if not base:
        return _command(rest)
    return _shortened(f"{base} {_lowered(rest)}")


def _infinitives(verb: str) -> list[str]:
    forms = [verb]
    if verb.endswith("ies"):
        forms.append(f"{verb[:-3]}y")
    if verb.endswith("es"):
        forms.append(verb[:-2])
    if verb.endswith("s"):
        forms.append(verb[:-1])
    return forms


def _lowered(text: str) -> str:
    """Title case to lower case; words with capitals inside (APIs, CSM) and single capitals stay."""
    return " ".join(word.lower() if word[:1].isupper() and word[1:].islower() else word for word in text.split())


def _shortened(text: str) -> str:
    """At most `MAX_WORDS` words, cut where a clause ends, without a dangling last word."""
    text = re.split(r"[.;:!?(]\s|,\s", f"{text} ")[0].strip(" .;:,")
    if len(text.split()) > 5:
        head = text.split()[:3]
        tail = _ENDS.sub("", " " + " ".join(text.split()[3:]))
        text = tidy(" ".join(head) + tail)
    text = " ".join(text.split()[:MAX_WORDS])
    return _DANGLING.sub("", text).strip(" .;:,")


def _enumerated(said: list[tuple[str, str]]) -> str:
    pairs = [f"{name} {value}" for name, value in said]
    return " and ".join([", ".join(pairs[:-1]), pairs[-1]] if len(pairs) > 1 else pairs)


def _deprecated(tool: Tool, name: str) -> bool:
    schema = tool.properties[name]
    return isinstance(schema, Mapping) and (
        bool(schema.get("deprecated")) or "deprecated" in str(schema.get("description", "")).lower()
    )
