"""What MLflow's page of a study shows when it is opened by a link of ours: saved views, as tags of the experiment.

MLflow 3 keeps the views that people save under tags ``mlflow.sharedViewState.<key>`` and opens one by
``viewStateShareKey=<key>`` in the address. A search in the address would undo it, so that the view holds that too. Runs
lie flat, as they are not sorted by time: under MLflow's own order a search shows the loops' sweep, folded up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

ROUNDS, COMPARISON = "sloop-rounds", "sloop-compare"
"""Keys of the views: lines by round, and the last values side by side."""
TAG = "mlflow.sharedViewState."
HEADLINES = ("call_accuracy", "harmonic_accuracy", "tool_accuracy", "argument_accuracy", "no_call_accuracy")
"""Metrics of a benchmark that come first, in this order."""
DATA = ("data/label_noise", "data/share/error", "probe/disagreement")
"""Metrics of the training data that are shown below them."""
BY_ROUND = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}
WHOLE_WIDTH = {"columns": 1, "cardHeight": 520}
"""Of a section: a table of several runs shows one of them in MLflow's third of a page, 360 pixels high."""
LOOPS = "tags.`sloop.kind` = 'loop'"


def headlines(metrics: Iterable[str]) -> list[str]:
    """The metrics of benchmarks that come first, as far as they were logged: one after the other on every benchmark."""
    known = sorted({name for name in metrics if name.startswith("eval/") and name.count("/") == 2})
    return [name for last in HEADLINES for name in known if name.endswith(f"/{last}")]


def views(metrics: Iterable[str]) -> dict[str, str]:
    """The saved views of a study, as tags; none where no loop has logged a headline.

    Args:
        metrics: names of all that its loops have logged.
    """
    logged = set(metrics)
    first = headlines(logged)
    if not first:
        return {}
    below = [name for name in DATA if name in logged]
    lines = [*(_card("LINE", name, "eval") for name in first), *(_card("LINE", name, "data") for name in below)]
    bars = [*(_card("BAR", name, "eval") for name in first), _differences("data")]
    return {
        f"{TAG}{ROUNDS}": _view("sloop: by round", lines, {"eval": "Benchmarks by round", "data": "Data by round"}),
        f"{TAG}{COMPARISON}": _view(
            "sloop: compared", bars, {"eval": "Benchmarks, last round", "data": "What differs"}
        ),
    }


def _card(kind: str, metric: str, section: str) -> dict[str, Any]:
    """A chart of one metric, as MLflow's page writes it down. Of a line, all is said: what is left out of a view is no
    default there, and a curve of three rounds would be drawn smoothed, far from its values.
    """
    card = {"uuid": f"sloop-{kind}-{metric}", "type": kind, "metricKey": metric, "metricSectionId": section}
    line = {
        "selectedMetricKeys": [metric],
        "displayPoints": True,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        **BY_ROUND,
    }
    return {**card, "runsCountToCompare": 100, **(line if kind == "LINE" else {})}


def _differences(section: str) -> dict[str, Any]:
    """The table of what differs between the runs."""
    return {
        "uuid": "sloop-differences",
        "type": "DIFFERENCE",
        "metricSectionId": section,
        "chartName": "What differs",
        "compareGroups": ["Parameters", "Model metrics"],
        "showDifferencesOnly": True,
        "showChangeFromBaseline": True,
        "baselineColumnUuid": "",
        "runsCountToCompare": 100,
    }


def _view(name: str, cards: list[dict[str, Any]], sections: Mapping[str, str]) -> str:
    fixed = {"deleted": False, "isGenerated": False}
    wide = {card["metricSectionId"]: WHOLE_WIDTH for card in cards if card["type"] == "DIFFERENCE"}
    state = {
        "searchFilter": LOOPS,
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "compareRunCharts": [card | fixed for card in cards],
        "compareRunSections": [
            {"uuid": key, "name": called, "display": True, "isReordered": True} | fixed | wide.get(key, {})
            for key, called in sections.items()
        ],
        "isAccordionReordered": True,
        "globalLineChartConfig": BY_ROUND,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": ["params.`variant.name`", "params.`seed`", "params.`student.name`"],
    }
    # The page refuses a view without times; with ours, the same metrics would give another tag whenever it is made.
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})
