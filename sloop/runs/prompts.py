"""The packaged texts that a run's models were asked with, in MLflow's prompt registry: a version for each content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sloop.engine.build import MOVED
from sloop.engine.identity import ROOT, package_digest
from sloop.records import RunRecord
from sloop.runs.destination import led
from sloop.runs.entries import flattened

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "sloop/prompts"
ASKING = {
    "sloop.teachers.llm.LLMTeacher": ("user", "assistant"),
    "sloop.judges.llm.LLMJudge": ("judge",),
    "sloop.trainers.teacher_mode.TeacherMode": ("calls",),
    "sloop.simulation.user.ModelUser": ("simulated_user",),
    "sloop.benchmarks.desk.DeskBenchmark": ("bookings",),
}
"""By component: the texts that it asks a model with."""
EXPERIMENTS = "_mlflow_experiment_ids"
"""Tag of a prompt by which MLflow lists it with an experiment: ids between commas."""


def prompts_of(record: RunRecord) -> dict[str, str]:
    """The packaged texts that a run's components ask with, by name.

    Those of a component that has a folder of its own (``prompts=...``) are left out, as are all of a run whose code is
    not that of today: what was asked then is not known, and no file that a run names is opened.
    """
    config = dict(flattened(record.config))
    names = {
        name
        for key, target in config.items()
        for name in (ASKING.get(MOVED.get(target, target), ()) if key.endswith("_target_") else ())
        if config.get(f"{key.removesuffix('_target_')}prompts", "None") == "None"
    }
    if not names or package_digest() != record.code.digest:
        return {}
    return {name: (ROOT / FOLDER / f"{name}.jinja").read_text("utf-8") for name in sorted(names)}


def log_prompts(client: MlflowClient, uri: str, experiment: str, run_id: str, texts: Mapping[str, str]) -> None:
    """Register texts that are not there yet, and link them to a run.

    Args:
        client: of the server.
        uri: its address.
        experiment: its id.
        run_id: of the run that used them.
        texts: by name (`prompts_of`).
    """
    with led(uri, experiment):
        for name, text in texts.items():
            called, sha256 = f"sloop-{name}", hashlib.sha256(text.encode()).hexdigest()
            alias = f"sha256-{sha256[:16]}"
            prompt = client.get_prompt(called)
            version = client.get_prompt_version_by_alias(called, alias) if prompt else None
            if version is None:
                version = client.register_prompt(called, text, f"{FOLDER}/{name}.jinja", {"sloop.sha256": sha256})
                client.set_prompt_alias(called, alias, version.version)
            known = (prompt.tags.get(EXPERIMENTS, "") if prompt else "").strip(",").split(",")
            if prompt and experiment not in known:
                client.set_prompt_tag(called, EXPERIMENTS, f",{','.join(filter(None, [*known, experiment]))},")
            client.link_prompt_version_to_run(run_id, version)
