"""A judge that is a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any

from sloop.models.base import Sampling
from sloop.models.endpoint import Endpoint
from sloop.models.prompts import Prompts, said
from sloop.records import Label, Rubric, Sample, Verdict
from sloop.records.ranges import PathText, Seed, ServedTemperature, Tokens, Within

RUBRIC: Mapping[str, float] = {"tool_relevance": 0.4, "argument_quality": 0.4, "clarity": 0.2}
"""The most that each part of the rubric may give."""


class LLMJudge:
    """Judges by a model (`sloop.judges.base.Judge`). Which of the answers is the label it is never told.

    Every answer gets the verdict on which all votes agree, and None where they do not, or where one cannot tell. One
    answer is also scored by the rubric, whose parts are averaged over the votes and added up here.
    """

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.records.judging",
        "sloop.judges.llm",
        "sloop.models.bounded",
        "sloop.models.prompts",
        "sloop/prompts",
    )

    FOLDERS = frozenset({"prompts"})

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        votes: Annotated[int, Within(1, 1_000)],
        swap: bool,
        temperature: ServedTemperature,
        max_tokens: Tokens,
        seed: Seed | None,
        prompts: PathText | None,
    ) -> None:
        """Take the settings as they stand in ``conf/judge/llm.yaml``, which says what each value is.

        Raises:
            UserError: a folder of prompts that is not there.
        """
        self._endpoint = endpoint
        self._votes = votes
        self._swap = swap
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._seed = seed
        self._prompts = Prompts(prompts)

    @property
    def in_flight(self) -> int:
        """Samples worth having on their way at a time."""
        return self._endpoint.in_flight

    def close(self) -> None:
        """Close connections and the cache."""
        self._endpoint.close()

    async def judge(self, sample: Sample, answers: Sequence[Label | None], rng: Random) -> list[Verdict]:
        """One verdict per answer, in order. An answer that could not be parsed is wrong, and nobody is asked about it.

        Raises:
            ModelError: the endpoint failed in all its tries.
            UserError: what every request would meet; see `sloop.models.endpoint.Endpoint`.
        """
        rubric = len(answers) == 1
        asked = [answer for answer in answers if answer is not None]
        votes: list[list[Mapping[str, Any]]] = [[] for _ in asked]
        turns = [False, True] if self._swap and len(asked) > 1 else [False]
        for vote in range(self._votes if asked else 0):
            for turned in turns:
                if votes[0] and all(_agreed(given) is None for given in votes):
                    break  # no further vote can settle it
                given = await self._vote(sample, asked[::-1] if turned else asked, rubric, vote, turned)
                for one, word in zip(votes, reversed(given) if turned else given, strict=True):
                    one.append(word)
        summed = iter([_verdict(given, rubric) for given in votes])
        return [next(summed) if answer is not None else _unparsed(rubric) for answer in answers]

    async def _vote(
        self, sample: Sample, answers: Sequence[Label], rubric: bool, vote: int, turned: bool
    ) -> list[Mapping[str, Any]]:
        """What one request says of each answer, in the order in which they were shown."""
        names = [f"answer_{number}" for number in range(1, len(answers) + 1)]
        brief = {
            "role": "judge",
            "rubric": rubric,
            "tools": [tool.to_openai()["function"] for tool in sample.tools],
            "messages": [message.to_openai() for message in sample.messages],
            "answers": {name: said(answer) for name, answer in zip(names, answers, strict=True)},
        }
        sampling = Sampling(
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=None if self._seed is None else self._seed + vote,
        )
        reply = await self._endpoint.complete(
            self._prompts.write(brief),
            sampling=sampling,
            schema=verdict_schema(names, rubric),
            salt=f"{sample.id}/judge/{vote}{'/swapped' if turned else ''}",
        )
        return [reply.data[name] for name in names]


def verdict_schema(names: Sequence[str], rubric: bool) -> dict[str, Any]:
    """What the judge's role answers: for each named answer a reason, a verdict and, with a rubric, its parts."""
    parts: dict[str, Any] = {"reason": {"type": "string"}, "correct": {"type": ["boolean", "null"]}}
    if rubric:
        parts |= {name: {"type": "number", "minimum": 0, "maximum": most} for name, most in RUBRIC.items()}
    one = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    properties = dict.fromkeys(names, one)
    return {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}


def _verdict(votes: Sequence[Mapping[str, Any]], rubric: bool) -> Verdict:
    parts = {name: sum(vote[name] for vote in votes) / len(votes) for name in RUBRIC} if rubric else {}
    return Verdict(
        correct=_agreed(votes),
        rubric=Rubric(**{name: round(value, 6) for name, value in parts.items()}) if rubric else None,
        evidence=tuple(dict.fromkeys(str(vote["reason"]) for vote in votes)),
    )


def _agreed(votes: Sequence[Mapping[str, Any]]) -> bool | None:
    """The one word of all votes; None where they differ, or cannot tell."""
    words = {vote["correct"] for vote in votes}
    return words.pop() if len(words) == 1 else None


def _unparsed(rubric: bool) -> Verdict:
    nothing = Rubric(tool_relevance=0.0, argument_quality=0.0, clarity=0.0) if rubric else None
    return Verdict(correct=False, rubric=nothing, evidence=("format: the output cannot be parsed",))
