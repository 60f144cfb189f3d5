"""The configuration tree: every preset and every option composes for every stage, and is what the code expects."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from running import sloop

from sloop.cli import STAGES, conf_folder
from sloop.config import Builder, Config, parse_config
from sloop.engine.build import build
from sloop.records import UserError

CONF = conf_folder()
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and list(path.glob("*.yaml")))
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONF.glob("*/*.yaml"))
PRESETS = [option for option in OPTIONS if option.startswith("experiment=")]
COMPONENTS = ("teacher", "judge", "student", "sampler", "trainer", "benchmark")


@cache
def _compose(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides))
    return OmegaConf.to_container(config, resolve=True)


def _given(value, path=""):
    """Paths of what is still missing."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _given(item, f"{path}.{key}".lstrip("."))]
    return [path] if value == "???" else []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes_for_every_stage(stage, preset):
    assert parse_config(_compose(f"stage={stage}", preset)).stage == stage


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_is_typed_for_every_stage(option):
    group, _, choice = option.partition("=")
    words = ("student=endpoint", f"endpoint@student.endpoint={choice}") if group == "endpoint" else (option,)
    plain = _compose(*words)  # nothing in the tree depends on the stage, so that composing once will do
    for stage in ("loop",) if group == "corruption" else STAGES:
        assert parse_config({**plain, "stage": stage}).stage == stage


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_wins_over_the_defaults(preset):
    written = yaml.safe_load((CONF / f"{preset.replace('=', '/')}.yaml").read_text())
    composed = _compose(preset)

    def check(part, whole):
        for key, value in part.items():
            if isinstance(value, dict):
                check(value, whole[key])
            else:
                assert whole[key] == value, key

    check({key: value for key, value in written.items() if key != "defaults"}, composed)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_written_into_the_root(preset):
    assert (CONF / f"{preset.replace('=', '/')}.yaml").read_text().startswith("# @package _global_\n")


def test_the_command_line_wins_over_a_preset():
    assert _compose("experiment=smoke", "loop.rounds=7")["loop"]["rounds"] == 7


def test_every_group_is_told_by_the_configuration():
    assert set(GROUPS) == {
        *COMPONENTS,
        "endpoint",
        "tools",
        "variant",
        "corruption",
        "distributed",
        "executor",
        "experiment",
    }


def test_every_key_of_the_root_is_typed_and_every_typed_key_is_there():
    assert set(_compose()) == set(Config.model_fields)


def test_no_hydra_key_reaches_the_typed_configuration():
    assert "hydra" not in _compose()


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.split("=")[0] in COMPONENTS])
def test_every_component_is_built_from_its_defaults(option, tmp_path):
    group = option.split("=")[0]
    plain = _compose(option)
    built = Builder(parse_config(plain))
    if _given(plain[group], group):
        with pytest.raises(UserError, match=r"is missing.*=VALUE"):
            built.benchmarks() if group == "benchmark" else built.part(group)
        return
    assert built.benchmarks() if group == "benchmark" else built.part(group)


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.split("=")[0] == "tools"])
def test_tools_are_loaded_or_their_missing_file_is_named(option):
    plain = _compose(option)
    if _given(plain["tools"]):
        with pytest.raises(UserError, match=r"tools\.(path|server|document|module) is missing"):
            Builder(parse_config(plain)).tools()
        return
    assert Builder(parse_config(plain)).tools()


def test_a_tool_file_of_ones_own_is_read():
    path = Path(__file__).parent / "plugin" / "acme_tools.json"
    tools = Builder(parse_config(_compose("tools=own", f"tools.path={path}"))).tools()
    assert [tool.name for tool in tools][:2] == ["open_valve", "read_gauge"]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_begins_with_what_it_is(option):
    text = (CONF / f"{option.replace('=', '/')}.yaml").read_text()
    head = [line for line in text.splitlines() if line.strip()][:2]
    assert any(line.startswith("# ") and "@package" not in line for line in head)


def test_defaults_live_in_the_configuration_alone():
    """No component of sloop's has a default in its constructor for what is written in its YAML."""
    import inspect

    for option in OPTIONS:
        plain = yaml.safe_load((CONF / f"{option.replace('=', '/')}.yaml").read_text()) or {}
        if "_target_" not in plain:
            continue
        module, _, name = plain["_target_"].rpartition(".")
        cls = getattr(__import__(module, fromlist=[name]), name)
        given = {key for key in plain if not key.startswith("_")}
        defaults = {
            key
            for key, parameter in inspect.signature(cls).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        assert not defaults & given, option


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=x", r"seed='x'"),
        ("label_noise=2", r"label_noise=2"),
        ("train_split=-1", r"train_split=-1"),
        ("batch_size=0", r"batch_size=0"),
        ("executor.workers=0", r"executor\.workers=0"),
        ("executor.kind=dask", r"executor\.kind='dask': give 'local' or 'ray'"),
        ("+executor.shard=8", r"executor\.shard=8: no such key\. Allowed: executor\.kind, executor\.workers"),
        ("+nonsense=1", r"nonsense=1"),
        ("+loop.nonsense=1", r"loop\.nonsense=1"),
        ("optimize.axes=[value]", r"optimize\.axes\[0\]='value'"),
        ("stage=train_all", r"stage='train_all'"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises(UserError, match=message):
        parse_config(_compose(override))


def test_a_strangers_parts_are_put_into_the_configuration_by_their_dotted_path():
    plain = _compose("experiment=smoke")
    plain["student"] = {"_target_": "acme_tools.LookupStudent", "name": "lookup", "skill": 0.2}
    assert Builder(parse_config(plain)).part("student").skill == 0.2


def test_a_part_without_the_methods_of_its_place_is_named():
    plain = {**_compose(), "judge": {"_target_": "sloop.stages.samplers.RandomSampler"}}
    with pytest.raises(UserError, match=r"judge\._target_=.*RandomSampler: this key takes a Judge"):
        Builder(parse_config(plain)).part("judge")


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_benchmark_whose_name_is_no_folders_is_refused(name):
    plain = _compose()
    plain["benchmark"]["name"] = name
    with pytest.raises(UserError, match=r"benchmark\.name=.*: a folder or file is called so"):
        Builder(parse_config(plain)).benchmarks()


def test_the_noise_of_the_teacher_follows_the_top_level_key():
    assert _compose("label_noise=0.05")["teacher"]["label_noise"] == 0.05
    assert build(_compose()["teacher"], "teacher") is not None


def test_no_path_of_one_machine_stands_in_the_tree():
    for path in CONF.rglob("*.yaml"):
        assert not re.search(r"(^|[\s\"'=])/(home|root|work|tmp|Users)/", path.read_text(), re.M), path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stage=probe", "trials=2"), "trials=2, .*: a probe asks once"),
        (("stage=loop", "decode.temperature=0.5"), r"decode\.temperature=0\.5: a loop asks once"),
        (("stage=eval", "trials=0"), "trials=0: give a whole number from 1"),
        (("stage=eval", "decode.temperature=-1"), r"decode\.temperature=-1"),
        (("stage=loop", "retry_failed=true"), "only eval and probe have answers to ask again for, not loop"),
        (("stage=gen", "corruption=wrong_calls"), "corruption=wrong_calls: the sets of a loop alone .* those of gen"),
    ],
)
def test_what_does_not_fit_the_stage_is_said(words, message):
    with pytest.raises(UserError, match=message):
        parse_config(_compose(*words))


def test_several_benchmarks_have_several_names():
    plain = _compose("benchmark=both")
    plain["benchmark"]["bfcl"] = plain["benchmark"]["sloop_bench"]
    with pytest.raises(UserError, match=r"benchmark\.bfcl\.name=sloop_bench: another benchmark has that name"):
        Builder(parse_config(plain)).benchmarks()


def test_eval_asks_one_benchmark(capsys, tmp_path):
    assert sloop("eval", "benchmark=both", "student=scripted", f"output_dir={tmp_path / 'run'}") == 2
    assert "eval asks one benchmark, not benchmark.sloop_bench, benchmark.bfcl" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
