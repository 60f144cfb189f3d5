"""A teacher that writes tasks in environments as whole dialogues: turns, steps, what tools really answer, and replies.

It is right by construction: a task comes with calls that do it (`sloop.simulation.tasks`), and these are played in the
task's environment. Each assistant message is a decision; the messages before it lead to the state that it is made in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from sloop.environments.base import ERROR, Environment
from sloop.environments.domains import MODULES as RUNNING
from sloop.environments.domains import make_environment
from sloop.records import (
    AnyKind,
    Dialogue,
    Message,
    Order,
    Part,
    Rejected,
    Sample,
    Task,
    TaskKind,
    Tool,
    Turn,
    UserError,
)
from sloop.records.ranges import Weight
from sloop.simulation.tasks import TASKS
from sloop.teachers.base import continued

SYSTEM = "Do what the user asks for with the tools on offer. Once it is done, say so without another call."


class DialogueTeacher:
    """Writes tasks of some domains as dialogues (`sloop.teachers.base.Staged`)."""

    MODULES = (
        "sloop.calls.schema",
        *RUNNING,
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.simulation.dialogues",
        "sloop.simulation.tasks",
        "sloop.teachers.base",
    )
    decisions = 4
    """How many samples one order gives, about."""

    def __init__(self, *, domains: list[str], kinds: dict[TaskKind, Weight], part: Part) -> None:
        """Take the settings as they stand in ``conf/teacher/dialogues.yaml``, which says what each value is.

        Raises:
            UserError: there is no such domain, or no share of a kind of task that one of them has.
        """
        self._domains: dict[str, list[str]] = {}
        for domain, kind in kinds_by_domain(domains, (), "teacher"):
            self._domains.setdefault(kind, []).append(domain)
        self._part: Part = part
        self.shares: Mapping[AnyKind, float] = {kind: kinds[kind] for kind in kinds if kind in self._domains}
        if not any(self.shares.values()):
            raise UserError(
                f"teacher.kinds: no share of any kind that {', '.join(domains)} has. Give one, such as "
                f"teacher.kinds.{next(iter(self._domains))}=1"
            )

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Play a task of the order's kind. An expansion gives one decision: along the axis ``values`` the one in the
        seed's place of another task of its kind and domain, along ``tools`` the seed's own with fewer tools on offer.
        """
        seed = order.seed
        if order.axis in ("phrasing", "contrast"):
            detail = f"axis {order.axis}: a task cannot be said in other words, and another of its tools may do it"
            return Rejected(key=order.key, reason="cannot_express", detail=detail)
        if seed is not None and order.axis == "tools":
            return _fewer_tools(order.key, seed, rng)
        domains = self._domains.get(order.kind, [])
        if seed is not None:
            domains = [domain for domain in domains if seed.env and domain == seed.env.toolkit]
        if not domains:
            return Rejected(key=order.key, reason="cannot_express", detail=f"no task of kind {order.kind}")
        made = played(TASKS[rng.choice(domains)].make_task(rng, order.kind, self._part))
        return made if seed is None else only(made, seed.turn)


def played(task: Task) -> Dialogue:
    """A task as a dialogue, its own calls played in its environment. A decision whose call fails, as the first of a
    recovery, is history alone: running a label is to say whether it is right.
    """
    environment = make_environment(task.env)
    messages = [Message(role="system", content=SYSTEM)]
    withheld: dict[int, frozenset[str]] = {}
    failing: set[int] = set()
    calls = 0
    for turn in task.turns:
        begins = len(messages)
        messages.append(Message(role="user", content=turn.request))
        for step in turn.calls:
            messages.append(Message(role="assistant", tool_calls=step))
            told = [environment.act(call) for call in step]
            failing |= {len(messages) - 1} if any(result.startswith(ERROR) for result in told) else set()
            messages += [
                Message(role="tool", content=result, tool_call_id=f"call_{calls + place}")
                for place, result in enumerate(told)
            ]
            calls += len(told)
        messages.append(Message(role="assistant", content=turn.reply))
        if turn.withheld:
            withheld |= dict.fromkeys(range(begins, len(messages)), frozenset(turn.withheld))
    return Dialogue(
        tools=environment.tools,
        messages=tuple(messages),
        doubtful=frozenset(failing),
        env=task.env,
        withheld=withheld,
    )


def only(dialogue: Dialogue, place: int) -> Dialogue:
    """A dialogue of which one decision alone is new: the one with this number, or else the last."""
    messages, doubtful = enumerate(dialogue.messages), dialogue.doubtful
    made = [index for index, message in messages if message.role == "assistant" and index not in doubtful]
    kept = made[min(place, len(made) - 1)]
    return dialogue.model_copy(update={"doubtful": doubtful.union(made) - {kept}})


def _fewer_tools(key: str, seed: Sample, rng: Random) -> Dialogue | Rejected:
    """A seed's decision with some of the tools left out that neither its label nor the dialogue before it calls."""
    if seed.label is None or not seed.label.calls:
        return Rejected(key=key, reason="cannot_express", detail="which tools an answer without a call needs")
    needed = {call.name for message in seed.messages for call in message.tool_calls}
    needed |= {call.name for call in seed.label.calls}
    spare = [tool.name for tool in seed.tools if tool.name not in needed]
    if not spare:
        return Rejected(key=key, reason="cannot_express", detail="every tool on offer is called")
    kept = needed.union(rng.sample(spare, rng.randrange(len(spare))))
    tools = tuple(tool for tool in seed.tools if tool.name in kept)
    return continued(tools, seed.messages, seed.label, seed.env)


def opening(task: Task) -> tuple[Message, ...]:
    """What stands before the first answer."""
    return Message(role="system", content=SYSTEM), Message(role="user", content=task.turns[0].request)


def offered(environment: Environment, turn: Turn) -> tuple[Tool, ...]:
    """The tools on offer in a turn."""
    return tuple(tool for tool in environment.tools if tool.name not in turn.withheld)


def kinds_by_domain(domains: Sequence[str], kinds: Sequence[str], section: str) -> list[tuple[str, str]]:
    """Every domain with every kind of task that it has: domains in turn, of the first kind, then of the next.

    Args:
        domains: names of `TASKS`.
        kinds: of tasks; empty: all that there are.
        section: of the configuration, for errors.

    Raises:
        UserError: there is no such domain, or none of them has tasks of such a kind.
    """
    if not domains:
        raise UserError(f"{section}.domains=[]: give some of {', '.join(TASKS)}.")
    for domain in domains:
        if domain not in TASKS:
            raise UserError(f"{section}.domains={domain}: there is no such domain. Give some of {', '.join(TASKS)}.")
    there = {kind: None for domain in domains for kind in TASKS[domain].KINDS}
    for kind in kinds:
        if kind not in there:
            raise UserError(f"{section}.kinds={kind}: no domain has such tasks. Give some of {', '.join(there)}.")
    return [(domain, kind) for kind in kinds or there for domain in domains if kind in TASKS[domain].KINDS]
