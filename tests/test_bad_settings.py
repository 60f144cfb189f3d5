"""Every setting x bad values: each is refused by one sentence before anything is made, or may stand for a reason.

The settings are read off the composed configuration, so that one which is added and says not what it allows fails here.
"""

from __future__ import annotations

import copy
import io
import math
import subprocess
import sys
from fnmatch import fnmatchcase
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from running import sloop

from sloop.cli import conf_folder
from sloop.config import PARTS, Builder, parse_config
from sloop.engine.build import EXTRAS, build
from sloop.records import UserError
from sloop.records.ranges import LONGEST_NAME, Name, checked, shown
from sloop.serve.start import parse_serve_config
from sloop.teachers.base import Teacher

CONF = conf_folder()
TOOLS = str(Path(__file__).parent / "plugin" / "acme_tools.json")
GIVEN = {"tools.path": TOOLS, "student.path": "somewhere", "benchmark.path": "sloop_bench/dev.jsonl.gz", "*.model": "m",
         "benchmark.environment": "glossary",
         "trainer.teacher": "somewhere",
         "tools.document": str(Path(__file__).parent / "plugin" / "acme_api.json"),
         "tools.server": f"{sys.executable} {Path(__file__).with_name('mcp_server.py')}",
         "tools.module": "isolated_tools:NAMED"}  # fmt: skip
"""For what has no default."""

NOT_NUMBERS: tuple[Any, ...] = (math.nan, math.inf, -math.inf, 1e308, -1, 10**30, "abc", [], {}, None, True)
NUMBERS = (*NOT_NUMBERS, 0)
SWITCHES: tuple[Any, ...] = (math.nan, math.inf, -1, 2, 10**30, "abc", [], {}, None)
TEXTS: tuple[Any, ...] = (math.nan, math.inf, 7, True, [], {}, None, "abc", "", "a\ud800b")
NAMES: tuple[Any, ...] = (
    *("../../x", "..", ".x", "", " ", "a/b", "a\\b", "a\nb", "a\0b", "\x1b[31m", "x" * 101, "\u202ex"),
    *(math.nan, 7, True, [], {}, None, "a\ud800b"),
)
LISTS: tuple[Any, ...] = (math.nan, 7, True, {}, None, "abc", [[]], [{}], [None], [math.nan], [], [-1])
SECTIONS: tuple[Any, ...] = (math.nan, 7, True, [], None, "abc", {"no_such_key": 1}, {"a": math.nan})

NOISES = ("wrong_tool", "dropped_argument", "altered_value", "missing_call", "spurious_call")

LIKE: dict[str, Any] = {
    **dict.fromkeys(("*output_dir", "data", "unseen", "predictions", "*path", "*uri", "*prompts"), "text"),
    **dict.fromkeys(
        ("trainer.learning_rate", "trainer.warmup", "trainer.decay", "trainer.batch_tokens", "trainer.micro_tokens"),
        0.5,
    ),
    **dict.fromkeys(("trainer.max_length", "trainer.max_memory", "trainer.lora.layers", "trainer.lora.bits"), 1),
    "trainer.optimizer": "text",
    **dict.fromkeys(("tools.base_url", "tools.token_variable"), "text"),
    **dict.fromkeys(("num_samples", "epochs", "spending.*", "*_per_minute", "benchmark.limit", "corruption.keep"), 1),
    "loop.round_0": True,
    "*tool_choice": "text",
    **dict.fromkeys(("student.prefill_tokens", "executor.workers"), 1),
    "executor.address": "text",
    "student.attn_implementation": "text",
    "*skip_special_tokens": True,
    **dict.fromkeys(("*answer_format", "*sha256", "tools.split", "serve.model", "benchmark.reading"), "text"),
    **dict.fromkeys(("benchmark.python", "benchmark.slice_by"), "text"),
    "benchmark.num_tasks": 1,
    "trainer.desirable_weight": 1.0,
    "student.scratch": {},
    "*digests": {},
    "*known_bad": [],
    "serve.teacher": {},
}
"""What a setting is like whose default is null."""

ZERO = {
    **dict.fromkeys(("*seed", "serve.port"), "the first of numbers"),
    **dict.fromkeys(
        (
            "*label_noise",
            "corruption.*",
            "variant.shots",
            "tracking.failures",
            "tracking.questions",
            "*train_split",
            "*max_left_out",
            "gen.*",
            "optimize.*",
            "teacher.*",
            "judge.*",
        ),
        "none of it",
    ),
    **dict.fromkeys(
        ("*temperature", "preview", "overlap.examples", "spending.*", "prices.*", "executor.gpus"), "none of it"
    ),
    **dict.fromkeys(
        ("trainer.warmup", "trainer.decay", "trainer.weight_decay", "trainer.lora.rank", "trainer.lora.dropout"),
        "none of it",
    ),
    **dict.fromkeys(("trainer.*_weight", "trainer.reward.*", "trainer.beta", "trainer.gamma"), "none of it"),
    **dict.fromkeys(("trainer.watched", "trainer.divergence"), "none of it"),
    "benchmark.right_from": "any reward but a loss",
    **dict.fromkeys(("*retries", "*backoff", "serve.batch_wait"), "at once, and once"),
}
NEGATIVE = {"benchmark.right_from": "environments take away as well"}
NEVER_ZERO = (
    "corruption.keep",
    "*max_tokens",
    "judge.votes",
    "trainer.temperature",
    "gen.offered*",
    "*.limits.concurrency",
    "*.limits.timeout",
    "*.max_wait",
)
FREE = {
    **dict.fromkeys(("name", "*.name"), "any name"),
    **dict.fromkeys(("*cache_path", "paths.*", "output_dir", "serve.path"), "is made, or looked for, when it is used"),
    **dict.fromkeys(("data", "unseen", "predictions"), "is looked for by the stage that reads it"),
    "tracking.uri": "a server that is down ends no run",
    "trainer.teacher": "is looked for by the stage that trains",
    "student.models": "is made when a file is converted",
    "student.path": "may be the id of a model on a hub",
    "tools.server": "may be a program",
    "tools.token_variable": "is looked for when a tool is called",
    "trainer.lora.targets": "is looked for in the model",
    "benchmark.path": "is looked for when the data are read",
    "benchmark.digests*": "are compared when the data are read",
    **dict.fromkeys(
        ("benchmark.environment", "benchmark.python", "benchmark.slice_by"), "is looked for by its process"
    ),
    "*known_bad*": "are looked for when the data are read",
    **dict.fromkeys(("*.model", "serve.model", "*query*"), "only the server knows"),
    "*.key_header": "only the server knows",
    **dict.fromkeys(("teacher.refusal", "corruption.refusal", "teacher.styles*", "*.marker"), "what somebody says"),
    "corruption.foreign_tools": "is looked for where a share of another domain is asked for",
    "serve.host": "is looked up when the server listens",
}
"""Texts of one's own, where any other setting takes one of a few words or a file that is there."""
EMPTY = {
    **dict.fromkeys(("teacher.refusal", "corruption.refusal"), "a refusal without words"),
    "teacher.styles*": "leaves the style to the model",
    "*query*": "nothing is sent after the address",
    "*known_bad*": "none is known",
    "benchmark.kinds": "all that there are",
    "*digests*": "any data",
    "prices": "no price is known",
    "benchmark.arguments": "the environment's own",
    "*chat_template_kwargs": "a template has its own values",
    "serve.judge": "is asked for by a simulated model alone",
    "serve.teacher": "is asked for by a simulated model alone",
}
OPEN = {
    "prices": "names models",
    "*chat_template_kwargs": "names variables of a template",
    "*query": "names what a server takes",
    "*digests": "names files",
    "serve.*": "parts",
    "benchmark.arguments": "names what an environment of verifiers takes",
}
"""Sections whose keys are somebody else's."""
NULL = {
    **dict.fromkeys(("*seed",), "endpoints are sent none"),
    **dict.fromkeys(("*answer_format", "*digests", "*known_bad", "*sha256"), "any, or what is recorded"),
    **dict.fromkeys(("tools.split", "corruption.keep"), "all of them"),
    "trainer.distributed": "one process",
    "student.prefill_tokens": "all at once",
    "student.models": "beside the run",
    "*chat_template_kwargs": "a template has its own values",
    "*in_text.*": "is not sent",
    **dict.fromkeys(("teacher.prompts", "judge.prompts", "benchmark.user.prompts"), "those in sloop"),
}


def _composed(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found: Any = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    return found


ELSEWHERE = (("student", "endpoint"), ("benchmark", "both"), ("trainer", "teacher_mode"))
"""Options whose settings are read off others: with an endpoint of each kind, as each of the two benchmarks, as those of
sft; what is teacher_mode's own is tried in `tests/test_trainers_teacher_mode.py`."""


def _rows() -> list[tuple[tuple[str, ...], ...]]:
    """As few configurations as show every option of every group: in each row another option of each."""
    options: dict[str, list[tuple[str, ...]]] = {
        group: [] for group in (*PARTS, "variant", "corruption", "distributed", "executor")
    }
    for path in sorted(CONF.glob("*/*.yaml")):
        group, name = path.parent.name, path.stem
        if group == "endpoint":
            options["student"].append(("student=endpoint", f"endpoint@student.endpoint={name}"))
        elif group != "experiment" and (group, name) not in ELSEWHERE:
            options[group].append((f"{group}={name}",))
    return [tuple(filter(None, row)) for row in zip_longest(*options.values(), fillvalue=())]


ROWS = _rows()
SERVE = _composed("serve")


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Settings, sections among them, by key; of a list, the whole and the first item."""
    here = [(key, value)] if key else []
    if isinstance(value, dict):
        return here + [leaf for name, item in value.items() for leaf in _leaves(item, f"{key}.{name}".lstrip("."))]
    return here + (_leaves(value[0], f"{key}.0") if isinstance(value, list) and value else [])


@cache
def _plain(row: int) -> dict[str, Any]:
    plain = _composed("config", *(word for option in ROWS[row] for word in option))
    plain["prices"] = dict(list(plain["prices"].items())[:1])  # one stands for all
    for key, value in _leaves(plain):
        if value == "???":
            _put(plain, key, next(given for pattern, given in GIVEN.items() if fnmatchcase(key, pattern)))
    return plain


def _put(plain: Any, key: str, value: Any) -> None:
    *above, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
    for part in above:
        plain = plain[part]
    plain[last] = value


def _settings() -> list[tuple[int, str, Any]]:
    """(row, key, default), each once for every class that its section makes."""
    found: dict[tuple[str, ...], tuple[int, str, Any]] = {}
    for row in range(len(ROWS)):
        plain = _plain(row)
        for key, value in _leaves(plain):
            group = key.split(".")[0]
            made = plain[group].get("_target_") if group in PARTS else None
            if not key.endswith("_target_"):
                found.setdefault((key, str(made), type(value).__name__), (row, key, value))
    return list(found.values())


SETTINGS = _settings()
IDS = [
    f"{str(_plain(row)[key.split('.')[0]].get('_target_')).rpartition('.')[2]}-{key}"
    if key.split(".")[0] in PARTS
    else key
    for row, key, _ in SETTINGS
]


def _matches(key: str, patterns: Any) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _like(key: str, default: Any) -> Any:
    return default if default is not None else next(kind for at, kind in LIKE.items() if fnmatchcase(key, at))


def _bad(key: str, default: Any) -> list[Any]:
    """The values that a setting must refuse."""
    like = _like(key, default)
    if isinstance(like, bool):
        bad = list(SWITCHES)
    elif isinstance(like, int | float):
        zero = _matches(key, ZERO) and not _matches(key, NEVER_ZERO)
        bad = [v for v in (NOT_NUMBERS if zero else NUMBERS) if not (v == -1 and _matches(key, NEGATIVE))]
    elif isinstance(like, str):
        named = key in ("name", "variant.name", "student.name", "benchmark.name")
        bad = [v for v in (NAMES if named else TEXTS) if not (v == "abc" and _matches(key, FREE))]
    elif isinstance(like, list):
        bad = [v for v in LISTS if not (v == [-1] and key == "known_bad")]
    else:
        bad = [v for v in SECTIONS if not (_matches(key, OPEN) and v == {"no_such_key": 1})]
    if default is None or _matches(key, NULL):
        bad = [value for value in bad if value is not None]
    return [v for v in bad if not (v in ("", [], {}) and _matches(key, EMPTY))]


def _made(plain: dict[str, Any], group: str) -> None:
    """Type the configuration and build what the key belongs to; closes what was built."""
    with Builder(parse_config(plain)) as parts:
        if group == "tools":
            parts.tools()
        elif group == "benchmark":
            parts.benchmarks()
        elif group in PARTS:
            parts.part(group)


def _accepted(row: int, key: str, values: list[Any]) -> list[str]:
    """The values that were taken, and refusals that name no key or show too much."""
    found = []
    for value in values:
        plain = copy.deepcopy(_plain(row))
        _put(plain, key, value)
        try:
            _made(plain, key.split(".")[0])
        except UserError as error:
            told = str(error)
            last = key.removesuffix(".0").rpartition(".")[2]
            if last not in told or len(told) > 700 or "\x1b" in told or "\0" in told:
                found.append(f"{key}={shown(value)}: said {told!r}")
        else:
            found.append(f"{key}={shown(value)}: accepted")
    return found


def test_the_settings_are_read_off_the_configuration() -> None:
    keys = {key for _, key, _ in SETTINGS}
    assert len(SETTINGS) > 200
    assert {"decode.max_tokens", "student.scratch.layers", "student.endpoint.limits.retries", "trainer.clip"} <= keys


@pytest.mark.parametrize(("row", "key", "default"), SETTINGS, ids=IDS)
def test_a_bad_value_is_refused_with_its_key(row: int, key: str, default: Any) -> None:
    assert _accepted(row, key, _bad(key, default)) == []


@pytest.mark.parametrize("key", [key for key in SERVE if key != "judge"])
def test_a_bad_value_of_the_server_is_refused_with_its_key(key: str) -> None:
    values = _bad(f"serve.{key}", SERVE[key])
    taken = []
    for value in values:
        try:
            parse_serve_config({**SERVE, key: value})
        except UserError as error:
            taken += [] if key in str(error) else [f"{key}={shown(value)}: said {error}"]
        else:
            taken.append(f"{key}={shown(value)}: accepted")
    assert values
    assert taken == []


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_what_is_made_bad_was_good(row: int) -> None:
    for group in PARTS:
        if {"categories", "environment"}.isdisjoint(_plain(row)[group]):  # of others, whose data are not here
            _made(copy.deepcopy(_plain(row)), group)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["study", "a b", "2025-01-01", "r\u00e9sum\u00e9", "\u5929\u6c14", "x" * LONGEST_NAME, "a.b", "-x"]
)
def test_a_name_may_be_what_a_folder_can_be_called(name: str, tmp_path: Path) -> None:
    (tmp_path / checked(Name, name, "name")).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- rules between settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gen.offered": [5, 3]}, "the fewest and the most tools on offer"),
        ({"gen.kinds": dict.fromkeys(("single", "chat"), 0)}, "at least one share must be above 0"),
        ({"optimize.axes": []}, "at least one of values, phrasing, tools, contrast"),
        ({"optimize.shares.unseen": 0.9}, r"unseen \+ error \+ expanded = 1.5; they may take at most 1"),
        ({"judge.irrelevant": 0.9}, "must rise from 0"),
        ({"student.scratch.num_heads": 5}, "cannot be cut into 5 heads"),
        ({"student.scratch.hidden_size": 4096, "student.scratch.vocab_size": 90_000}, "give a model of at most"),
        ({"student.path": "somewhere"}, "not both"),
        (dict.fromkeys((f"teacher.{way}" for way in NOISES), 0) | {"teacher.label_noise": 0.2}, "all weights are 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], told: str) -> None:
    row = next(
        row for row in range(len(ROWS)) if _plain(row)["student"].get("scratch") and "most" in _plain(row)["judge"]
    )
    plain = copy.deepcopy(_plain(row))
    plain["teacher"] = copy.deepcopy(
        next(p["teacher"] for p in map(_plain, range(len(ROWS))) if "refusal" in p["teacher"])
    )
    for key, value in changes.items():
        _put(plain, key, value)
    with pytest.raises(UserError, match=told):
        _made(plain, next(iter(changes)).split(".")[0])


# --- classes ----------------------------------------------------------------------------------------------------------


class Sentinel:
    """Makes a file when it is made."""

    def __init__(self, *, made: str) -> None:
        Path(made).touch()


class Anything:
    """Takes another component, of which its annotation says nothing, and makes a file."""

    def __init__(self, *, inner: Any, made: str) -> None:
        Path(made).touch()

    async def write(self, order: Any, rng: Any) -> None: ...


def _hostile(path: Path) -> dict[str, dict[str, Any]]:
    """Ways to name what makes a file at a path, by where it stands."""
    sentinel = {"_target_": f"{__name__}.Sentinel", "made": str(path)}
    process = {"_target_": "subprocess.Popen", "args": ["touch", str(path)]}
    noisy = {**_TEACHER, "_target_": "sloop.simulation.noisy.NoisyTeacher"}
    return {
        "a class of another kind": sentinel,
        "a process": process,
        "a file, which has a method of the same name": {"_target_": "io.FileIO", "file": str(path), "mode": "w"},
        "where a teacher belongs": {**noisy, "teacher": sentinel},
        "where a number belongs": {**noisy, "label_noise": sentinel},
        "under a key that nobody takes": {**noisy, "x": process},
        "in a list under a key that nobody takes": {**noisy, "x": [{"y": process}]},
        "where nothing is said": {"_target_": f"{__name__}.Anything", "inner": sentinel, "made": str(path)},
        "where another kind of part belongs": {
            **_LLM,
            "endpoint": {**_LLM["endpoint"], "limits": {**_LLM["endpoint"]["limits"], "retries": process}},
        },
        "in plain data": {**_LLM, "endpoint": {**_LLM["endpoint"], "query": {"a": process}}},
        "in a list of texts": {**_LLM, "styles": [process]},
    }


_TEACHER, _LLM = (
    next(p["teacher"] for p in map(_plain, range(len(ROWS))) if p["teacher"]["_target_"].endswith(f".{name}"))
    for name in ("NoisyTeacher", "LLMTeacher")
)


@pytest.mark.parametrize("where", _hostile(Path()))
def test_nothing_is_called_that_is_no_part_of_the_kind(where: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(UserError, match=r"^teacher\..*_target_="):
        build(_hostile(made)[where], "teacher", kind=Teacher)
    assert not made.exists()


def test_the_control_called_on_purpose_does_make_the_file(tmp_path: Path) -> None:
    build({"_target_": f"{__name__}.Sentinel", "made": str(tmp_path / "one")})
    io.FileIO(tmp_path / "two", "w").close()
    with subprocess.Popen(["touch", str(tmp_path / "three")]) as process:
        process.wait()
    Anything(inner=None, made=str(tmp_path / "four"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("group", PARTS)
@pytest.mark.parametrize(
    "target",
    ["subprocess.Popen", "os.system", "builtins.dict", "pathlib.Path", "socket.socket", "sloop.records.Sample"],
)
def test_no_key_of_the_configuration_takes_a_class_of_another_kind(group: str, target: str) -> None:
    plain = copy.deepcopy(_plain(0))
    plain[group] = {"_target_": target}
    with pytest.raises(UserError, match=rf"^{group}\._target_="):
        _made(plain, group)


@pytest.mark.parametrize("group", PARTS)
def test_a_protocol_itself_is_no_component(group: str) -> None:
    plain = copy.deepcopy(_plain(0))
    plain[group] = {"_target_": f"{PARTS[group].__module__}.{PARTS[group].__name__}"}
    with pytest.raises(UserError, match=rf"^{group}\._target_="):
        _made(plain, group)


@pytest.mark.parametrize(
    "code", ["raise AttributeError('x')", "import sys; sys.exit(3)", "def (", "1 / 0", "import no_such_package"]
)
def test_a_module_that_cannot_be_imported_is_named(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"broken_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"teacher\._target_={name}\.Teacher: cannot import"):
        build({"_target_": f"{name}.Teacher"}, "teacher", kind=Teacher)


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_a_package_that_is_missing_is_named_with_the_extra_that_installs_it(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"wants_{package}"
    (tmp_path / f"{name}.py").write_text(f"import {package}.nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"the package {package} is not installed: pip install 'sloop\[{extra}\]'"):
        build({"_target_": f"{name}.Teacher"}, "teacher", kind=Teacher)


def test_a_server_without_its_packages_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("sloop.serve")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert sloop("serve", "path=x") == 2
    assert capsys.readouterr().err == "sloop: the package uvicorn is not installed: pip install 'sloop[serve]'\n"


# --- from the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("gen", "num_samples=0"),
        ("gen", "num_samples=5", "seed=-1"),
        ("gen", "num_samples=5", "name=../../x"),
        ("gen", "num_samples=5", "trainer.learning_rate=nan"),
        ("gen", "num_samples=5", "gen.contrast=inf"),
        ("gen", "num_samples=5", "teacher._target_=subprocess.Popen", "+teacher.args=[touch,made]"),
        ("gen", "num_samples=5", "+teacher.x._target_=os.system", "+teacher.x.command='touch made'"),
        ("loop", "decode.max_tokens=0"),
        ("loop", "student.name=../x"),
        ("loop", "variant.name=../x"),
        ("eval", "benchmark.name=../x"),
        ("loop", "executor.workers=1000000000"),
        ("loop", "-m", "seed=-1,-2"),
        ("loop", "trainer.threads=0"),
    ],
)
def test_a_bad_setting_ends_a_command_with_one_sentence_and_nothing_written(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sloop(*words, "tracking.enabled=false") == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert told.err.splitlines()[-1].startswith("sloop: ")
    key = next(word for word in reversed(words) if "=" in word).lstrip("+").partition("=")[0]
    assert key.rpartition(".")[0].split(".")[0] in told.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
