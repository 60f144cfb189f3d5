"""What is recorded of a run, and what is not."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ALONE, sloop

from sloop.engine.identity import NOT_RESULTS, config_hash, differing
from sloop.records import CodeState, UserError
from sloop.runs.cite import FEATURES, check_clean, code_state, machine, run_record, sweep_record, versions

CONFIG: dict[str, Any] = {"name": "study", "seed": 0, "steps": 4, "output_dir": None, "executor": {"workers": 8}}

plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = st.recursive(plain, lambda part: st.lists(part, max_size=3))


@given(key=st.sampled_from(NOT_RESULTS[""]), value=values)
@settings(deadline=None, max_examples=40)
def test_where_and_how_does_not_change_the_hash(key: str, value: Any) -> None:
    assert config_hash({**CONFIG, key: value}) == config_hash(CONFIG)


@given(key=st.text(min_size=1, max_size=8).filter(lambda key: key not in NOT_RESULTS[""]), value=values)
@settings(deadline=None, max_examples=40)
def test_what_is_computed_changes_the_hash(key: str, value: Any) -> None:
    changed = {**CONFIG, key: value}
    same = key in CONFIG and CONFIG[key] == value and type(CONFIG[key]) is type(value)
    assert (config_hash(changed) == config_hash(CONFIG)) == same


def test_the_keys_that_make_the_difference_are_named() -> None:
    given = {**CONFIG, "output_dir": "here", "decode": {"max_tokens": 9}, "benchmark": {"cache_path": "a", "name": "b"}}
    other = {**given, "output_dir": "there", "decode": {"max_tokens": 9, "temperature": 0.7}, "data": "x.jsonl"}
    other["benchmark"] = {"cache_path": "c", "name": "b"}
    assert differing(given, other) == ["data", "decode.temperature"]
    assert differing(given, {**given, "trials": 1}) == []


def test_a_key_that_came_later_changes_the_hash_only_where_it_changes_what_is_computed() -> None:
    config = {**CONFIG, "decode": {"max_tokens": 9}}
    as_before = {**config, "trials": 1, "decode": {"max_tokens": 9, "temperature": 0.0}}
    assert config_hash(as_before) == config_hash(config)
    assert config_hash({**as_before, "trials": 2}) != config_hash(config)
    assert config_hash({**as_before, "decode": {"max_tokens": 9, "temperature": 0.7}}) != config_hash(config)


def test_the_order_of_keys_does_not_matter() -> None:
    assert config_hash(dict(reversed(CONFIG.items()))) == config_hash(CONFIG)


def test_only_named_variables_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    secret = "-".join(("sk", "planted"))  # in pieces, as the record holds the diff of a changed checkout
    monkeypatch.setenv("SLOOP_STRONG_API_KEY", secret)
    record = run_record(kind="loop", name="run", config=CONFIG, overrides=["steps=4"], sweep=None)
    assert record.environment["OMP_NUM_THREADS"] == "1"
    assert secret not in str(record)
    assert (record.study, record.seed, record.status) == ("study", 0, "RUNNING")


def test_every_run_has_its_own_id() -> None:
    ids = {run_record(kind="gen", name="run", config=CONFIG, overrides=[], sweep=None).id for _ in range(20)}
    ids |= {sweep_record("study", "loop").id for _ in range(20)}
    assert len(ids) == 40


def test_versions_of_what_is_installed_and_none_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sloop.runs.cite.PACKAGES", ("pydantic", "no-such-package"))
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["pydantic"]
    assert found["no-such-package"] is None


def test_the_machine_tells_this_process_and_its_processor() -> None:
    found = machine()
    assert found.pid == os.getpid()
    assert set(found.features) <= FEATURES
    assert found.model or not Path("/proc/cpuinfo").is_file()


def test_what_sums_depend_on_is_told_by_torch() -> None:
    from sloop.students.arithmetic import arithmetic

    found = arithmetic()
    assert found.capability
    assert found.threads >= 1


def test_sources_that_no_commit_names_are_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    diff = "diff --git a/sloop/a.py b/sloop/a.py\n-diff --git a/x b/x\n"
    code = CodeState(version="0", digest="0" * 64, commit="c" * 40, diff=diff, untracked=("new.py",))
    assert code.changed == ("sloop/a.py", "new.py")
    check_clean(code.model_copy(update={"diff": None, "untracked": ()}), "cite.require_clean=true")
    with pytest.raises(
        UserError, match=r"cite\.require_clean=true: .* commit c{12}: sloop/a\.py, new\.py\. Commit them"
    ):
        check_clean(code, "cite.require_clean=true")


def test_a_run_of_unclean_sources_is_refused_where_it_is_to_be_cited(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("num_samples=2", f"output_dir={tmp_path / 'data'}", "cite.require_clean=true", ALONE)
    assert sloop("gen", *words) == (2 if code_state().changed else 0)
    assert (tmp_path / "data").exists() == (not code_state().changed)


def test_new_files_of_a_checkout_are_known_by_their_content() -> None:
    found = code_state()
    assert set(found.untracked_sha256) <= set(found.untracked)
    assert all(len(sha256) == 64 for sha256 in found.untracked_sha256.values())


def test_the_digest_of_the_code_is_stable() -> None:
    assert code_state().digest == code_state().digest
    assert len(code_state().digest) == 64
