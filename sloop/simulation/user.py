"""Who speaks to the student at a desk: a simulated user that wants something and tells what it knows when it is asked.

`ScriptedUser` is no model: by words that it looks for it finds out what it was asked, and so it is the same again for
the same seed. `ModelUser` is a model behind an endpoint that plays the user. Both see what is said and no call, both
end the dialogue by a marker, and each trial is drawn for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, Field

from sloop.models.base import ModelError, Sampling
from sloop.models.endpoint import Endpoint
from sloop.models.prompts import Prompts
from sloop.records import Message, Record, Utterance, digest
from sloop.records.ranges import PathText, Seed, ServedTemperature, Tokens, refused

_MODULES = (
    "sloop.models.bounded", "sloop.models.prompts", "sloop.records.base", "sloop.records.samples",
    "sloop.simulation.user",
)  # fmt: skip


class Scenario(Record):
    """What a user wants and knows, and what has to be said to it."""

    wants: str
    """In the second person."""
    opening: str
    """How it begins."""
    knows: dict[str, str]
    """Facts that it tells when it is asked, by what they are (`FACTS` has ways to ask and to tell)."""
    later: tuple[str, ...] = ()
    """What it asks for once the first thing is done."""
    hears: tuple[str, ...] = Field((), exclude_if=lambda hears: not hears)
    """Texts that it wants to hear: they have to occur in the student's words."""


def _marker(text: str) -> str:
    if not text.strip() or len(text) > 100:
        raise refused("give what a user ends the dialogue with, 1 to 100 characters, such as ###STOP###")
    return text


Marker = Annotated[str, AfterValidator(_marker)]


@runtime_checkable
class User(Protocol):
    """Answers a student."""

    async def reply(self, scenario: Scenario, messages: Sequence[Message], *, key: str, trial: int) -> Utterance:
        """What it says to the last message, the student's.

        Args:
            scenario: what it wants.
            messages: the dialogue.
            key: the episode's id; with the trial it says what is drawn.
            trial: which of several runs of the episode this is.

        Raises:
            UserError: what every request would meet.
            OutOfBudget: nothing more may be spent.
        """
        ...


def spoken(messages: Sequence[Message]) -> list[Message]:
    """What user and student said to each other."""
    return [message for message in messages if message.role in ("user", "assistant") and message.content]


# --- one that follows a script ------------------------------------------------------------------------------------

FACTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "name": (r"\bnames?\b|who (am|are|is)|identi|verif", ("My name is {}.", "I am {}.")),
    "phone": (r"phone|verif", ("My phone number is {}.", "It is {}, my phone.")),
    "room": (r"\brooms?\b|where|which", ("It is about {}.", "The room is {}.")),
    "date": (r"\bdates?\b|\bdays?\b|\bwhen\b", ("On {}, please.", "The day is {}.")),
    "time": (r"\btimes?\b|\bhours?\b|\bwhen\b|o'clock", ("At {}.", "From {}, for an hour.")),
    "guest": (r"\bguests?\b|who", ("The guest is called {}.", "{} will come along.")),
    "taken": (r"taken|free|available|wait|other", ("{}", "Well. {}")),
}
"""By what a fact is: what an asking student's words hold (a pattern), and ways to tell it."""
ASKS = re.compile(r"\?|\bplease\b|\bneed\b|\b(tell|give|send) me\b|\blet me know\b|\bprovide\b")
AGREES = re.compile(r"\b(shall|should) i\b|\bconfirm|\bgo ahead\b|\bdo you (want|agree)|\bwould you like\b|all right\?")
YES = ("Yes, please.", "Yes, go ahead.", "Yes.")
TOLD = ("I have told you all that I know.", "There is nothing more that I can say.")
THANKS = ("Thank you, that is all.", "Thanks, goodbye.", "That was all, thank you.")


class ScriptedUser:
    """No model (`User`): a question that holds words of a fact gets the fact, a proposal gets a yes, any other question
    all that was not told; after a statement it tells what is left, asks for the next thing, or ends.
    """

    MODULES = _MODULES

    def __init__(self, *, seed: Seed, marker: Marker) -> None:
        """Take the settings as they stand in ``conf/benchmark/bookings.yaml``, which says what each value is."""
        self.seed = seed
        self.marker = marker

    async def reply(self, scenario: Scenario, messages: Sequence[Message], *, key: str, trial: int) -> Utterance:
        """See `User`; nothing is asked and nothing can fail."""
        rng = Random(digest([self.seed, key, trial, len(messages)]))
        said = " ".join(message.content for message in messages if message.role == "user")
        heard = messages[-1].content.lower()
        untold = [fact for fact, value in scenario.knows.items() if value not in said]
        words = self._answer(scenario, heard, untold, rng) if ASKS.search(heard) else _told(scenario, untold, rng)
        if not words:
            words = next((request for request in scenario.later if request not in said), "")
        ends = not words
        return Utterance(text=f"{rng.choice(THANKS)} {self.marker}" if ends else words, ends=ends)

    def _answer(self, scenario: Scenario, heard: str, untold: Sequence[str], rng: Random) -> str:
        asked = [fact for fact in scenario.knows if re.search(FACTS[fact][0], heard)]
        if AGREES.search(heard):
            return " ".join([rng.choice(YES), _told(scenario, [fact for fact in asked if fact in untold], rng)]).strip()
        return _told(scenario, asked or untold, rng) or rng.choice(TOLD)


def _told(scenario: Scenario, facts: Sequence[str], rng: Random) -> str:
    return " ".join(rng.choice(FACTS[fact][1]).format(scenario.knows[fact]) for fact in facts)


# --- a model ------------------------------------------------------------------------------------------------------


_MISTAKES: Mapping[str, Literal["empty", "calls"]] = {"no_answer": "empty", "unreadable": "calls"}
"""Of what an endpoint tells: that the model said nothing, or called what the server could not read."""


class ModelUser:
    """A model behind an endpoint that plays the user (`User`), by the prompt ``simulated_user.jinja``.

    Its mistakes end the episode, which then says nothing of the student: no words, a call, no answer at all. One that
    never ends is stopped by the episode's limits, and one that ends too early is the student's loss.
    """

    MODULES = (*_MODULES, "sloop/prompts")
    FOLDERS = frozenset({"prompts"})

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        seed: Seed | None,
        marker: Marker,
        temperature: ServedTemperature,
        max_tokens: Tokens,
        prompts: PathText | None,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bookings_llm.yaml``, which says what each value is.

        Raises:
            UserError: a folder of prompts that is not there.
        """
        self._endpoint = endpoint
        self._seed = seed
        self._marker = marker
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._prompts = Prompts(prompts)

    def close(self) -> None:
        """Close connections and the cache."""
        self._endpoint.close()

    async def reply(self, scenario: Scenario, messages: Sequence[Message], *, key: str, trial: int) -> Utterance:
        """See `User`."""
        brief = {
            "role": "simulated_user",
            "marker": self._marker,
            "wants": scenario.wants,
            "knows": scenario.knows,
            "later": scenario.later,
            "dialogue": [
                {"says": "you" if message.role == "user" else "clerk", "words": message.content}
                for message in spoken(messages)
            ],
        }
        sampling = Sampling(
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=None if self._seed is None else int(digest([self._seed, key, trial])[:7], 16),
        )
        salt = f"{key}/{trial}/{len(messages)}"  # else a kept reply would be the same in every trial
        try:
            found = await self._endpoint.complete(self._prompts.write(brief), sampling=sampling, salt=salt)
        except ModelError as error:
            return Utterance(error=_MISTAKES.get(error.kind, "failed"), text=error.kind)
        if found.calls:
            return Utterance(error="calls", text=", ".join(call.name for call in found.calls)[:300])
        text = found.content.strip()
        return Utterance(text=text, ends=self._marker in text) if text else Utterance(error="empty")
