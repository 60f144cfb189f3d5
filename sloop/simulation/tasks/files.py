"""Tasks in the file system, of all kinds; what is said stands in ``files.yaml``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple

from sloop.environments.base import replay
from sloop.environments.files import Files
from sloop.records import EnvSpec, Task, ToolCall, Turn
from sloop.simulation.tasks.said import call, read_words

FOLDERS, NESTED, FILES = 4, 2, 8
LINES = (2, 3, 4)
"""Of a file."""
UNITS = ("lines", "words", "characters")


words = partial(read_words, "files")
"""What is said, as ``files.yaml`` has it."""


class Part(NamedTuple):
    """A turn without its words."""

    steps: Sequence[Sequence[ToolCall]] = ()
    hears: bool = False
    """Whether the user wants to hear what the first call answers."""
    withheld: tuple[str, ...] = ()


class Disk:
    """Folders and files, what a task may be about in them, and names that are free."""

    def __init__(self, rng: Random, part: str) -> None:
        """Draw names and lines: none stands there twice, but that two files may be about the same."""
        said = words()
        names, stems = rng.sample(said["folders"][part], 8), rng.sample(said["stems"][part], FILES + 2)
        folders = [f"/{name}" for name in names[:FOLDERS]]
        folders += [f"{above}/{name}" for above, name in zip(folders, names[FOLDERS : FOLDERS + NESTED], strict=False)]
        lines = [f"{one} {two}" for one in said["subjects"][part] for two in said["verdicts"][part]]
        rng.shuffle(lines)
        self.rng = rng
        self.root: dict[str, Any] = {}
        for folder in folders:
            self._put(folder, {})
        ends = said["extensions"]
        paths = [f"{rng.choice(folders)}/{stem}{rng.choice(ends)}" for stem in stems[:FILES]]
        self.files = {path: [lines.pop() for _ in range(rng.choice(LINES))] for path in paths}
        for path, text in self.files.items():
            self._put(path, "\n".join(text) + "\n")
        path, other = rng.sample(paths, 2)
        source, folder = path, rng.choice([each for each in folders if each != parent(path)])
        old = subject(rng.choice(self.files[path]), said["subjects"][part])
        new = next(one for one in rng.sample(said["subjects"][part], 2) if one != old)
        free = f"{stems[FILES]}{rng.choice(ends)}"
        self.values: dict[str, Any] = {
            "path": path, "source": source, "other": other, "folder": folder, "name": free, "text": lines.pop(),
            "old": old, "lower": old.lower(), "new": new, "unit": rng.choice(UNITS), "found": path,
            "wrong": f"{folder}/{path.rpartition('/')[2]}", "fresh": f"/{names[-1]}", "line": self.files[path][0],
            "all": " / ".join(self.files[path]), "subject": old,
        }  # fmt: skip

    def _put(self, path: str, what: str | dict[str, Any]) -> None:
        here = self.root
        *above, name = path[1:].split("/")
        for each in above:
            here = here[each]
        here[name] = what

    @property
    def env(self) -> EnvSpec:
        """The environment in which this is so."""
        return EnvSpec(toolkit="files", state={"root": self.root, "_folder": "/"})

    def answer(self, asked: ToolCall) -> Any:
        """What a read tells, before anything is changed."""
        return json.loads(replay(Files, self.env, ()).act(asked))


def parent(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0]


def subject(line: str, subjects: Sequence[str]) -> str:
    """What a line is about."""
    return next(one for one in subjects if line.startswith(one))


# --- scenes: each may change the values, and says which calls its turns take -----------------------------------------


def _write(disk: Disk) -> list[Part]:
    return [Part([[_written(disk)]])]


def _written(disk: Disk) -> ToolCall:
    v = disk.values
    v["path"] = f"{v['folder']}/{v['name']}"
    return call("write_file", path=v["path"], text=v["text"])


def _do(name: str, *keys: str, **fixed: Any) -> Callable[[Disk], list[Part]]:
    """One turn with one call, whose arguments are values."""
    return lambda disk: [Part([[_of(disk, name, *keys, **fixed)]])]


def _of(disk: Disk, name: str, *keys: str, **fixed: Any) -> ToolCall:
    """A call whose arguments are values: ``argument`` or ``argument=value's name``."""
    pairs = (key.split("=") if "=" in key else (key, key) for key in keys)
    return call(name, **{argument: disk.values[value] for argument, value in pairs}, **fixed)


MOVE = ("move", "source", "target=folder")
APPEND = ("append_text", "path", "text")
REPLACE = ("replace_text", "path", "old", "new")


def _make_folder(disk: Disk) -> list[Part]:
    return [Part([[_new_folder(disk)]])]


def _new_folder(disk: Disk) -> ToolCall:
    v = disk.values
    v["folder"] = disk.rng.choice([v["fresh"], parent(v["path"]) + v["fresh"]])
    return call("make_folder", path=v["folder"])


def _renamed(disk: Disk) -> ToolCall:
    v = disk.values
    return call("move", source=v["source"], target=f"{parent(v['source'])}/{v['name']}")


def _find(disk: Disk) -> ToolCall:
    disk.values["name"] = disk.values["path"].rpartition("/")[2]
    return call("find_files", pattern=disk.values["name"])


def _search_delete(disk: Disk) -> list[Part]:
    v = disk.values
    v["text"] = disk.rng.choice(disk.files[v["path"]])
    return [Part([[call("search_text", text=v["text"])], [_of(disk, "delete", "path")]])]


def _first_line(disk: Disk) -> list[Part]:
    v = disk.values
    first = call("read_file", path=v["path"], line_count=1)
    return [Part([[first], [call("append_text", path=v["other"], text=v["line"])]])]


def _count(disk: Disk) -> list[Part]:
    v = disk.values
    count = _counted(disk)
    v["new"] = f"{v['folder']}/{v['name']}"
    return [Part([[count], [call("write_file", path=v["new"], text=str(v["number"]))]])]


def _counted(disk: Disk) -> ToolCall:
    count = _of(disk, "count_text", "path", "unit")
    disk.values["number"] = disk.answer(count)[disk.values["unit"]]
    return count


def _folder_move_append(disk: Disk) -> list[Part]:
    made, v = _new_folder(disk), disk.values
    now = f"{v['folder']}/{v['source'].rpartition('/')[2]}"
    return [Part([[made]]), Part([[_of(disk, *MOVE)]]), Part([[call("append_text", path=now, text=v["text"])]])]


def _where_append_copy(disk: Disk) -> list[Part]:
    return [
        Part([[_find(disk)]], hears=True),
        Part([[_of(disk, *APPEND)]]),
        Part([[_of(disk, "copy", "source", "target=folder")]]),
    ]


def _read_replace_rename(disk: Disk) -> list[Part]:
    return [
        Part([[_of(disk, "read_file", "path")]], hears=True),
        Part([[_of(disk, *REPLACE)]]),
        Part([[_renamed(disk)]]),
    ]


def _asks(*scene: Callable[[Disk], list[Part]]) -> Callable[[Disk], list[Part]]:
    """A first turn in which asking is right, then the turns of a scene."""
    return lambda disk: [Part(), *(part for each in scene for part in each(disk))]


def _lacks(scene: Callable[[Disk], list[Part]], *withheld: str) -> Callable[[Disk], list[Part]]:
    """A first turn in which these tools are not on offer, without which it cannot be done; then a scene."""
    return lambda disk: [Part(withheld=withheld), *scene(disk)]


def _wrong_folder(disk: Disk) -> list[Part]:
    right = _of(disk, *APPEND)
    failing, finding = _of(disk, "append_text", "path=wrong", "text"), _find(disk)
    return [Part([[failing], [finding], [right]])]


def _no_folder(disk: Disk, made: Callable[[Disk], ToolCall]) -> list[Part]:
    v = disk.values
    v["folder"] = v["fresh"]
    wanted = made(disk)
    return [Part([[wanted], [call("make_folder", path=v["folder"])], [wanted]])]


def _copied(disk: Disk) -> ToolCall:
    v = disk.values
    v["path"] = f"{v['folder']}/{v['name']}"
    return _of(disk, "copy", "source", "target=path")


def _wrong_case(disk: Disk) -> list[Part]:
    failing = _of(disk, "replace_text", "path", "old=lower", "new")
    return [Part([[failing], [_of(disk, "read_file", "path")], [_of(disk, *REPLACE)]])]


def _hear(make: Callable[[Disk], ToolCall]) -> Callable[[Disk], list[Part]]:
    return lambda disk: [Part([[make(disk)]], hears=True)]


def _listed(disk: Disk) -> ToolCall:
    v = disk.values
    v["folder"] = parent(v["path"])
    asked = call("list_folder", path=v["folder"])
    v["entries"] = ", ".join(entry["name"] for entry in disk.answer(asked)["entries"])
    return asked


def _searched(disk: Disk) -> ToolCall:
    asked = call("search_text", text=disk.values["subject"])
    disk.values["lines"] = "; ".join(disk.answer(asked))
    return asked


SCENES: Mapping[str, Mapping[str, Callable[[Disk], list[Part]]]] = {
    "single_step": {
        "write": _write,
        "append": _do(*APPEND),
        "make_folder": _make_folder,
        "move": _do(*MOVE),
        "rename": lambda disk: [Part([[_renamed(disk)]])],
        "copy": _do("copy", "source", "target=folder"),
        "delete": _do("delete", "path"),
        "replace": _do(*REPLACE),
        "overwrite": _do("write_file", "path", "text", overwrite=True),
    },
    "multi_step": {
        "find_append": lambda disk: [Part([[_find(disk)], [_of(disk, *APPEND)]])],
        "find_move": lambda disk: [Part([[_find(disk)], [_of(disk, *MOVE)]])],
        "search_delete": _search_delete,
        "first_line": _first_line,
        "count": _count,
    },
    "multi_turn": {
        "folder_move_append": _folder_move_append,
        "where_append_copy": _where_append_copy,
        "read_replace_rename": _read_replace_rename,
    },
    "missing_value": {
        "missing_text": _asks(_do(*APPEND)),
        "missing_folder": _asks(_do(*MOVE)),
        "missing_name": _asks(lambda disk: [Part([[_renamed(disk)]])]),
        "missing_path": _asks(_write),
    },
    "missing_tool": {
        "tool_delete": _lacks(_do("delete", "path"), "delete", "move"),  # moved away is gone from there
        "tool_folder": _lacks(_make_folder, "make_folder", "copy", "move"),  # copying an empty folder makes one
        "tool_move": _lacks(_do(*MOVE), "move", "delete"),  # copying and deleting is moving
        "tool_read": _lacks(_hear(lambda disk: _of(disk, "read_file", "path")), "read_file", "search_text"),
    },
    "recovery": {
        "wrong_folder": _wrong_folder,
        "no_folder_write": partial(_no_folder, made=_written),
        "no_folder_copy": partial(_no_folder, made=_copied),
        "wrong_case": _wrong_case,
    },
    "read_only": {
        "read": _hear(lambda disk: _of(disk, "read_file", "path")),
        "how_many": _hear(_counted),
        "list": _hear(_listed),
        "search": _hear(_searched),
        "where": _hear(_find),
    },
}
"""By kind and name; ``files.yaml`` has the words."""
KINDS: tuple[str, ...] = tuple(SCENES)


def make_task(rng: Random, kind: str, part: str) -> Task:
    """A task of one of `KINDS`; ``part`` is train, dev or test, which share no names, lines and phrasings.

    Raises:
        ValueError: no such kind.
    """
    if kind not in SCENES:
        raise ValueError(f"the environment files has no tasks of kind {kind}, only of {', '.join(KINDS)}")
    name = rng.choice(list(SCENES[kind]))
    disk = Disk(rng, part)
    parts = SCENES[kind][name](disk)
    said = rng.choice(words()["requests"][name][part])
    requests = [said] if isinstance(said, str) else said
    turns = tuple(
        Turn(
            request=request.format(**disk.values),
            calls=tuple(map(tuple, turn.steps)),
            reads=tuple(turn.steps[0]) if turn.hears else (),
            reply=reply.format(**disk.values),
            withheld=turn.withheld,
        )
        for turn, request, reply in zip(parts, requests, words()["replies"][name], strict=True)
    )
    return Task(env=disk.env, turns=turns, slice=kind)
