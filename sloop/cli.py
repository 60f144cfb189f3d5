"""The command line: ``sloop <command> ...``. The only module that imports hydra; ``--help`` imports nothing heavy."""

from __future__ import annotations

import difflib
import gc
import io
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sloop import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig

STAGES = {
    "gen": "write a tool-calling dataset from tools with a teacher",
    "train": "train a student on a dataset",
    "probe": "answer a dataset greedily, with the probability of each answer",
    "optimize": "repair labels, expand failures, compose the next training set",
    "eval": "score a checkpoint on a benchmark",
    "loop": "all of them, round after round",
    "check": "ask every endpoint once what it can; BUNDLE: compute all of a cited run again",
}
COMMANDS = {
    "table": "rounds x metrics of the runs of a study; a sweep for a paper (--sweep)",
    "compare": "paired comparison of runs or rounds, or of variants over seeds",
    "diff": "what differs between two runs, and what can explain it",
    "reproduce": "make a cited run again from its bundle, and compare",
    "figures": "figures of a loop or an evaluation, as a page or as images",
    "plot": "figures of a sweep for print",
    "show": "one sample of a run whole: question, label, answers, verdicts",
    "runs": "list the runs on disk; sync them to MLflow; reap abandoned ones",
    "serve": "answer OpenAI-compatible requests from a checkpoint",
    "chat": "talk to a model that has tools, or run cases with it",
    "tools": "list, check or call tools: built-in, Python's, OpenAPI's, MCP's",
    "ui": "start the MLflow UI and print links to the charts",
    "cite": "a bundle of a run that others can check and repeat, and its BibTeX",
    "version": "version, commit, Python",
}
HELP = f"""sloop {__version__}: the closed data loop for LLM tool calling

usage: sloop <stage> [key=value ...] [-m]     -m sweeps over comma-separated values
       sloop <command> [--help]

stages
{chr(10).join(f"  {name:9} {text}" for name, text in STAGES.items())}

commands
{chr(10).join(f"  {name:9} {text}" for name, text in COMMANDS.items())}

examples
  sloop gen num_samples=200 output_dir=outputs/data
  sloop gen preview=10 tools.path=my_tools.json
  sloop eval answers=FILE benchmark=bfcl            score answers that others made
  sloop loop -m experiment=demo variant=full,static seed=0,1,2
  sloop loop --cfg job          print the configuration
"""
PIPE_CLOSED = 128 + 13
"""Exit status of a program whose reader has left, as a shell gives it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 2 on a mistake of the reader's, with its message alone."""
    try:
        try:
            _main(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()  # here, where it can be said that nobody took it
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Rich has met it
            sys.exit(PIPE_CLOSED)
        raise
    except BrokenPipeError:
        _drop_output()
        sys.exit(PIPE_CLOSED)
    except OSError as error:
        _fail(_refused(error))


def _main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return
    first = arguments[0]
    if "=" in first or first in ("-m", "--multirun", "--cfg"):
        first, arguments = "loop", ["loop", *arguments]
    from sloop.records import UserError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter shows another
    try:
        Path.cwd()
    except FileNotFoundError:
        _fail("the folder that this command was given in is gone. Go to another: cd FOLDER")
    os.environ["SLOOP_COMMAND"] = shlex.join(["sloop", *arguments])
    signal.signal(signal.SIGTERM, _terminate)
    try:
        bundle = first == "check" and any(word[:1] != "-" and "=" not in word for word in arguments[1:2])
        if first in STAGES and not bundle:
            _hydra(first, arguments[1:])
        elif first == "serve":
            _serve(arguments[1:])
        elif first in ("chat", "tools"):
            from sloop.serve.chat import chat, tools

            {"chat": chat, "tools": tools}[first](arguments[1:])
        elif first in COMMANDS or bundle:
            import sloop.show.commands

            sloop.show.commands.run(first, arguments[1:])
        else:
            known = [*STAGES, *COMMANDS]
            close = difflib.get_close_matches(first, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UserError(f"no command {first!r}.{hint} Commands: {', '.join(known)}. See: sloop --help")
    except UserError as error:
        _fail(str(error))
    except ImportError as error:
        from sloop.engine.build import missing_extra

        if advice := missing_extra(error):
            _fail(advice)
        raise
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the same command resumes where it stopped\n")
        sys.exit(130)


def _fail(message: str) -> NoReturn:
    _tell(message)
    sys.exit(2)


def _tell(message: str) -> None:
    """On standard error, in one line: names and files that a message repeats are anybody's."""
    from sloop.show.console import visible

    with suppress(OSError):
        sys.stderr.write(f"sloop: {visible(message, keep='')}\n")


def _refused(error: OSError) -> str:
    """What to say of a fault of a file, a disk or a connection that nobody closer to it has put in words."""
    from sloop.store.files import REASONS, named

    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    if isinstance(error.filename, str | bytes):
        reason = f"{named(Path(os.fsdecode(error.filename)))}: {reason}"
    elif error.errno in REASONS:  # every file is written by `sloop.store.files.disk`, which names it
        _drop_output()
        reason = f"what this command prints cannot be written: {reason}"
    return f"{reason}. What was finished is kept: mend that, and give the same command again."


def _drop_output() -> None:
    """Let what nobody takes go nowhere, or Python would complain of it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(signum: int, frame: object) -> NoReturn:
    sys.exit(128 + signum)


# --- stages, through hydra ----------------------------------------------------------------------------------------


def _hydra(stage: str, rest: Sequence[str]) -> None:
    """Compose the configuration and run the stage, once or as a sweep."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, who say them in one line
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import hydra

    from sloop.models.environment import load_env

    load_env()
    # argparse takes overrides in one piece: they come first, then the options and their values.
    rest = [said for word in rest for said in _in_full(stage, word)]
    overrides = [word for word in rest if _is_override(word)]
    sys.argv = ["sloop", f"stage={stage}", *overrides, *(word for word in rest if not _is_override(word))]
    with _hydra_errors(overrides):
        _our_plugins(sweeps=not {"-m", "--multirun"}.isdisjoint(rest))
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()


def _our_plugins(sweeps: bool) -> None:
    """Make known what stands in ``conf/hydra``.

    Hydra takes plugins of the package ``hydra_plugins`` alone, and looks into no editable install. A launcher's file of
    ours would be matched with what its plugin has stored under that name, with a warning.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    plugins = Plugins.instance()
    stored = ConfigStore.instance().repo["hydra"]["launcher"]
    for file in (conf_folder() / "hydra" / "launcher").glob("*.yaml"):
        stored.pop(file.name, None)
    if sweeps:
        from sloop.sweeps.grid import Grid
        from sloop.sweeps.search import Search

        plugins.class_name_to_class |= {f"hydra_plugins.sloop.{kind.__name__}": kind for kind in (Grid, Search)}


def _is_override(word: str) -> bool:
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def _in_full(stage: str, word: str) -> list[str]:
    """``answers=FILE`` of an evaluation as the student that gives these answers."""
    key, _, value = word.partition("=")
    return ["student=recorded", f"student.path={value}"] if (stage, key) == ("eval", "answers") else [word]


def _serve(rest: Sequence[str]) -> None:
    """Compose ``conf/serve.yaml`` and serve."""
    if {"-h", "--help"} & set(rest):
        sys.stdout.write((conf_folder() / "serve.yaml").read_text(encoding="utf-8"))
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from sloop.serve.start import check_teacher, serve

    with _hydra_errors(rest, "serve"):
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = compose("serve", list(rest))
        written: Any = OmegaConf.to_container(composed)
        if written.get("teacher"):
            check_teacher(written["teacher"])  # before its references: some are to keys that only a stage has
        plain: Any = OmegaConf.to_container(composed, resolve=True)
    from sloop.show.console import console

    out = console()
    serve(plain, ready=out.say)


def conf_folder() -> Path:
    """The configuration tree: in a wheel and in an editable install alike it is the package ``sloop.conf``."""
    import importlib.util

    spec = importlib.util.find_spec("sloop.conf")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package sloop.conf is missing from this installation")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


SEE = {"config": "sloop loop --cfg job", "serve": "sloop serve --help"}
"""By configuration: the command that shows its keys."""


@contextmanager
def _hydra_errors(overrides: Sequence[str], name: str = "config") -> Iterator[None]:
    """What Hydra refuses, as a reader's mistake: some of it is a ValueError, and told from a fault by who raises it."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from sloop.records import UserError

    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        theirs = isinstance(error, HydraException | OmegaConfBaseException)
        if not theirs and not raised.is_relative_to(Path(hydra.__file__).parent):
            raise
        raise UserError(_no_option(overrides) or _hydra_message(error, overrides, name)) from error


def _no_option(overrides: Sequence[str]) -> str:
    """What to say where something else than a name is given for a part of the configuration."""
    for word in overrides:
        key, _, value = word.lstrip("+").partition("=")
        if key and (folder := conf_folder() / key).is_dir() and re.fullmatch(r"null|true|false|-?[\d.]+", value, re.I):
            names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
            return f"{word}: it takes a name: {names}. Leave it out for what is used otherwise."
    return ""


def _hydra_message(error: Exception, overrides: Sequence[str], name: str = "config") -> str:
    """Hydra's message without its advice to print a traceback, and with ours."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    text = " ".join(dict.fromkeys(str(cause).strip() for cause in causes if str(cause).strip()))
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and "not in struct" in text:
        return _unknown_key(unknown[1], overrides, name)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line
        for line in lines
        if not line.startswith(("full_key", "object_type", "reference_type", "Config search", "provider="))
    ]
    return f"{' '.join(kept)} See the keys with: {SEE[name]}"


def _unknown_key(key: str, overrides: Sequence[str], name: str) -> str:
    """Names the value, the keys that stand where this one was looked for, and the nearest of all."""
    value = next((word.partition("=")[2] for word in overrides if word.lstrip("+").split("=")[0] == key), "")
    section, _, last = key.rpartition(".")
    keys = _keys([word for word in overrides if "." not in word.split("=")[0] and word.split("=")[0] != key], name)
    here = [known for known in keys if known.rpartition(".")[0] == section]
    close = [known for known in keys if known.rpartition(".")[2] == last] or difflib.get_close_matches(key, keys, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    allowed = f" Allowed there: {', '.join(here)}." if here else ""
    return f"{key}={value}: no such key.{hint}{allowed} See all keys with: {SEE[name]}"


def _keys(overrides: Sequence[str], name: str) -> list[str]:
    """Every key of the configuration that these overrides make, in dots; of the bare one where they make none."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig

    def walk(section: DictConfig, path: str) -> Iterator[str]:
        for name in map(str, section):
            yield f"{path}{name}"
            if isinstance(node := section._get_node(name), DictConfig):
                yield from walk(node, f"{path}{name}.")

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        try:
            return list(walk(compose(name, list(overrides)), ""))
        except HydraException:
            return list(walk(compose(name), ""))


def task(cfg: DictConfig) -> None:
    """One run, or one cell of a sweep. A run's mistake ends the command here, or Hydra would add a line."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from sloop.records import UserError
    from sloop.runs.sweeps import SWEEP_VARIABLE, keeping_cell

    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    overrides = list(HydraConfig.get().overrides.task)  # of this job, where the command line has the whole sweep's
    if sweep := os.environ.get(SWEEP_VARIABLE):
        from sloop.engine.identity import config_hash
        from sloop.models.environment import load_env

        os.chdir(HydraConfig.get().runtime.cwd)  # where the command was given: a cluster's worker starts elsewhere
        load_env()
        with keeping_cell(Path(sweep), config_hash(plain)) as record:
            os.environ.setdefault("SLOOP_COMMAND", record.command)
            _run(plain, overrides, record.id)
        return
    try:
        _run(plain, overrides)
    except UserError as error:
        _fail(str(error))


def _run(plain: dict[str, Any], overrides: Sequence[str], sweep: str | None = None) -> None:
    """Plain data out of Hydra's hands, then `sloop.run`."""
    from sloop.config import parse_config
    from sloop.run import check, execute, preview_samples, run_folder
    from sloop.show.console import Progress
    from sloop.show.tables import print_findings, print_note, print_preview, print_run

    config = parse_config(plain)
    if config.stage == "check":
        print_findings(check(config))
        return
    if config.preview:
        print_preview(preview_samples(config, print_note))
        return
    # What is imported by now stays: looking at it in every collection costs a sixth of a run's requests a second.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    tracked = _Tracking(config)
    with Progress(run_folder(config, plain).name if sweep else "") as progress:
        folder = execute(
            config,
            plain,
            overrides=overrides,
            sweep=sweep,
            report=progress.report,
            project=tracked.project,
            checked=print_findings,
            tell=print_note,
        )
    print_run(folder, tracked.where, tracked.seconds)


class _Tracking:
    """Projects a run to MLflow, where that is wanted, and knows what it cost."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.seconds = 0.0
        self.where = ""
        self._tracker: Any = None
        self._down = False

    def project(self, folder: Path) -> None:
        """Log what is new; what a server that is down has missed is delivered the next time that it answers."""
        if not self.config.tracking.enabled:
            return
        from sloop.records import UserError
        from sloop.run import tracker_of

        began = time.process_time()
        try:
            self._tracker = self._tracker or tracker_of(self.config)
            self._tracker.project(folder)
        except UserError as error:  # a server that is down ends no run: what is on disk can be logged later
            if not self._down:
                _tell(f"not logged: {error}")
            self._down, self.seconds, self.where = True, 0.0, ""
        else:
            if self._down:
                _tell("the tracking server answers again: what it had missed is logged")
            self._down = False
            self.seconds += time.process_time() - began
            self.where = self._tracker.where
