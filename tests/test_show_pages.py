"""What a run shows of itself: its figures, and the page or image that holds them."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from running import ALONE, acme, graded, rounds, sloop

from sloop.records import Score, UserError
from sloop.runs.find import find_run
from sloop.show.figures import dots
from sloop.show.pages import content, figures_of, page
from sloop.store import read_json, write_json

OF_A_LOOP = ["rounds", "heat_map", "slices", "errors"]
OF_ONE = ["metrics", "heat_map", "slices", "errors"]


def _figure(label="a"):
    return dots({"": [Score(name="a", value=0.5, n=10, low=0.4, high=0.6)]}, label, [label])


def test_a_loop_shows_its_rounds(outputs: Path) -> None:
    folder = outputs / "acme" / "full0"
    found = figures_of(find_run(outputs, str(folder)))
    assert list(found) == OF_A_LOOP
    titles = [note.text for note in found["rounds"].layout.annotations]
    trace = found["rounds"].data[titles.index("call accuracy")]
    on_disk = [
        row["value"] * 100
        for content in rounds(folder)
        for row in content["metrics"]
        if row["name"] == "eval/dev/call_accuracy" and not row["slice"]
    ]
    assert list(trace.y) == pytest.approx(on_disk)
    assert [trace.name for trace in found["slices"].data] == ["round 1", "round 2"]
    wrong = [sum(trace.y[k] for trace in found["errors"].data) for k in (0, 1)]
    shares = [[not right for right in graded(folder, number).values()] for number in (1, 2)]
    assert wrong == pytest.approx([100 * sum(share) / len(share) for share in shares])


def test_a_mean_whose_interval_reaches_below_0_is_shown_in_its_round(outputs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "full0")
    first = read_json(folder / "round_1" / "round.json")
    for row in first["metrics"]:
        row |= {"value": 0.001, "low": -0.002, "high": 0.004} if row["name"] == "eval/dev/judge_score" else {}
    write_json(folder / "round_1" / "round.json", first)
    found = figures_of(find_run(tmp_path, str(folder)))["rounds"]
    titles = [note.text for note in found.layout.annotations]
    trace = found.data[titles.index("judge score")]
    assert trace.x[0] == 1
    assert trace.error_y.arrayminus[0] == pytest.approx(0.3)


def test_each_benchmark_of_a_loop_has_its_figures(outputs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "full0")
    for number in (1, 2):
        path = folder / f"round_{number}" / "round.json"
        content = read_json(path)
        asked = [row for row in content["metrics"] if row["name"].startswith("eval/dev/")]
        content["metrics"] += [{**row, "name": row["name"].replace("/dev/", "/an other/")} for row in asked]
        write_json(path, content)
        shutil.copytree(path.parent / "evaluate" / "dev", path.parent / "evaluate" / "an other")
    found = figures_of(find_run(tmp_path, str(folder)))
    assert list(found) == [f"{name}_{figure}" for name in ("dev", "an-other") for figure in OF_A_LOOP]
    assert found["an-other_slices"].data[0].x == found["dev_slices"].data[0].x


def test_a_round_is_shown_by_itself(outputs: Path) -> None:
    found = figures_of(find_run(outputs, str(outputs / "acme" / "full0")), 1)
    assert list(found) == OF_ONE
    assert "round 1" in found["heat_map"].layout.title.text


def test_an_evaluation_shows_its_metrics_and_a_stage_that_evaluates_nothing_shows_nothing(
    outputs: Path, tmp_path: Path
) -> None:
    checkpoint = outputs / "acme" / "full0" / "round_2" / "train" / "checkpoint"
    words = (*acme(), ALONE, f"+student.path={checkpoint}", f"output_dir={tmp_path / 'eval'}")
    assert sloop("eval", *words) == 0
    found = figures_of(find_run(tmp_path, str(tmp_path / "eval")))
    assert list(found) == OF_ONE
    assert "call accuracy" in found["metrics"].layout.yaxis.ticktext
    assert sloop("gen", *acme(), ALONE, "num_samples=5", f"output_dir={tmp_path / 'gen'}") == 0
    assert figures_of(find_run(tmp_path, str(tmp_path / "gen"))) == {}


def test_a_page_has_the_script_once_asks_for_no_network_and_repeats(outputs: Path) -> None:
    run = find_run(outputs, str(outputs / "acme" / "full0"))
    made = page(run.name, figures_of(run))
    assert made == page(run.name, figures_of(run))
    markup = made.replace(get_plotlyjs(), "")
    assert len(made) - len(markup) == len(get_plotlyjs())
    assert not [word for word in (" src=", "<link", "@import") if word in markup]
    assert [f'id="{name}"' in made for name in OF_A_LOOP] == [True] * 4


def test_names_cannot_leave_their_place_in_the_page() -> None:
    evil = "</script><b>x"
    assert evil not in page(evil, {"a": _figure(evil)})


def test_other_endings_than_the_known_are_refused() -> None:
    with pytest.raises(UserError, match=r"a\.pdf: figures are written as html, svg, png"):
        content({"a": _figure()}, "title", Path("a.pdf"))


@pytest.mark.skipif(
    find_spec("kaleido") is not None, reason="tells what is said where kaleido is missing: pip uninstall kaleido"
)
def test_an_image_without_kaleido_says_what_to_install() -> None:
    with pytest.raises(UserError, match="pip install kaleido"):
        content({"a": _figure()}, "title", Path("a.png"))


@pytest.mark.skipif(
    find_spec("kaleido") is None, reason="draws by kaleido, which sloop does without: pip install kaleido"
)
def test_an_image_is_drawn_where_kaleido_is_installed() -> None:
    try:
        drawn = content({"a": _figure()}, "title", Path("a.svg"))
    except UserError as error:
        if "Chrome" not in str(error.__cause__):  # anything else is a failure
            raise
        pytest.skip(f"kaleido draws with a Chrome or Chromium, and finds none: {error}")
    assert drawn.startswith(b"<svg")
