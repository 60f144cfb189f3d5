"""A bundle as a Process Run Crate (https://w3id.org/ro/wfrun/process/0.5), which is an RO-Crate 1.1 of what was run."""

from __future__ import annotations

import mimetypes
import warnings
from pathlib import PurePosixPath
from typing import Any

from sloop.runs.bundle import MANIFEST, RUN, Manifest
from sloop.runs.papers import Authorship

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
FORMATS = {
    ".jsonl": "application/jsonl", ".gz": "application/gzip", ".cff": "application/yaml", ".yaml": "application/yaml",
    ".bib": "application/x-bibtex", ".md": "text/markdown", ".safetensors": "application/octet-stream",
    ".jinja": "text/plain",
}  # fmt: skip
STATUS = {"FINISHED": "CompletedActionStatus", "RUNNING": "ActiveActionStatus"}


def crate(manifest: Manifest, by: Authorship) -> dict[str, Any]:
    """The metadata file: files with their digests, and an action for the run and for each of its stages.

    Args:
        manifest: with every file of the bundle but this one and itself.
        by: whose the run is.
    """
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    run = manifest.run
    made = ROCrate(version="1.1")
    context = "https://w3id.org/ro/terms/workflow-run/context"
    made.metadata.extra_contexts.append(context)
    root = made.root_dataset
    root["name"] = f"sloop run {run.name} of the study {run.study}"
    root["description"] = f"Data, answers, scores and provenance of one {run.kind} of sloop; {MANIFEST} says all of it."
    root["datePublished"] = (run.finished or run.began)[:10]
    root["identifier"] = f"urn:sloop:run:{run.id}"
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root["conformsTo"] = made.add(ContextEntity(made, PROFILE, properties=profile))
    told = {"name": "not stated", "description": "Ask the run's authors."} if not by.licence else {"name": by.licence}
    where = by.licence_url if by.licence else "#licence"
    root["license"] = made.add(ContextEntity(made, where, properties={"@type": "CreativeWork", **told}))
    people = [
        made.add(ContextEntity(made, f"#author-{n}", properties=_agent(who))) for n, who in enumerate(by.authors, 1)
    ]
    if people:
        root["author"] = _alone(people)
    software = {
        "@type": "SoftwareApplication",
        "name": "sloop",
        "softwareVersion": run.code.version,
        "identifier": run.code.commit or run.code.digest,
    }
    program = made.add(ContextEntity(made, f"urn:sloop:code:{run.code.digest}", properties=software))
    entities = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the files stand in the zip, not on this disk
        for name, file in {**manifest.files, MANIFEST: None}.items():
            suffix = PurePosixPath(name).suffix
            kind = FORMATS.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
            told = {"encodingFormat": kind, "name": PurePosixPath(name).name}
            if file is not None:
                told |= {"contentSize": str(file.bytes), "sha256": file.sha256}
            entities[name] = made.add_file(dest_path=name, properties=told)
    whole = {
        "name": run.command,
        "description": f"The whole {run.kind}, stage after stage.",
        "startTime": run.began,
        "endTime": run.finished or run.began,
        "actionStatus": f"http://schema.org/{STATUS.get(run.status, 'FailedActionStatus')}",
    }
    given = [entities[one.file] for one in manifest.inputs if one.file]
    results = [entity for name, entity in entities.items() if name.startswith(f"{RUN}/")]
    actions = [_action(made, program, "#run", given, results, whole, people)]
    for place, stage in run.stages.items():
        names = [PurePosixPath(RUN, place, name).as_posix() for name in stage.files]
        parents = {PurePosixPath(RUN, name).as_posix() for name in manifest.parents.get(place, {}).values()}
        objects = [entity for name, entity in entities.items() if _within(name, parents)]
        found = [entities[name] for name in names if name in entities]
        told = {"name": f"sloop stage {place}", "identifier": stage.key}
        told["description"] = f"Made {len(stage.files)} files under the key {stage.key}."
        actions.append(_action(made, program, f"#stage-{place}", objects, found, told, people))
    root["mentions"] = actions
    plain: dict[str, Any] = made.metadata.generate()
    return plain


def _within(name: str, parents: set[str]) -> bool:
    return name in parents or any(name.startswith(f"{parent}/") for parent in parents)


def _agent(name: str) -> dict[str, str]:
    return {"@type": "Person", "name": name}


def _action(
    made: Any, program: Any, identifier: str, objects: list[Any], results: list[Any], told: dict[str, str], agents: Any
) -> Any:
    parts = {key: value for key, value in (("object", objects), ("result", results), ("agent", agents)) if value}
    action = made.add_action(program, identifier=identifier, properties=told)
    for key, value in parts.items():
        action[key] = _alone(value)
    return action


def _alone(values: list[Any]) -> Any:
    """The values, a single one without a list: RO-Crate recommends it."""
    return values[0] if len(values) == 1 else values
