"""The simulated model behind `sloop serve`: role prompts are answered over HTTP as they are in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import serving
from endpoint import serving as listening
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from running import ALONE, sloop
from simulation import simulate, words

from sloop.cli import conf_folder
from sloop.records import UserError
from sloop.serve.start import parse_serve_config, responder_of


def configured(*overrides: str) -> dict[str, object]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain = OmegaConf.to_container(compose("serve", list(overrides)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@pytest.fixture
def url() -> Iterator[str]:
    with serving(responder_of(parse_serve_config(configured("teacher=template")))) as found:
        yield found


def test_a_judged_gen_gets_the_bytes_that_the_model_gives_in_process(url: str, tmp_path: Path) -> None:
    with listening() as endpoint:
        simulate(endpoint)
        for name, at, model in (("here", endpoint.url, "small"), ("there", url, "template")):
            chosen = [f"{role}.endpoint.model={model}" for role in ("teacher", "judge")]
            asked = ("num_samples=12", "gen.judge=true", *words(at), *chosen)
            assert sloop("gen", *asked, f"output_dir={tmp_path / name}", ALONE) == 0
    for file in ("train.jsonl", "dev.jsonl", "judgements.jsonl", "rejected.jsonl"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()
    assert (tmp_path / "there" / "train.jsonl").stat().st_size


def test_a_preflight_finds_all_that_a_teacher_needs(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    chosen = ("teacher=llm", f"teacher.endpoint.base_url={url}", "teacher.endpoint.model=template")
    assert sloop("check", *chosen, f"paths.outputs={tmp_path}") == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "│ teacher" in line]
    assert "json_schema" in row
    assert row.count("yes") == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("teacher=template", "path=somewhere"), "path=somewhere, teacher=template: .* not both"),
        (("teacher=template", "~teacher.templates"), "only teacher=template can be a simulated model"),
        ((), "sloop serve teacher=template"),
    ],
)
def test_what_cannot_be_served_is_said(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        responder_of(parse_serve_config(configured(*overrides)))
