"""A bundle's data and scores in forms of others: Croissant, Every Eval Ever and the Hub's ``.eval_results``."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from sloop.measures.constants import HEADLINE, constant_of
from sloop.records import Grade, Prediction, Sample, Score, UserError, canonical_json, digest, to_json, trial_id
from sloop.runs.bundle import RUN, Manifest, Measured
from sloop.runs.papers import Authorship, people
from sloop.runs.questions import questions_of
from sloop.runs.read import Run
from sloop.store import Dataset, predictions_at

LOWER_IS_BETTER = (
    "false_refusal_rate", "flip_rate", "label_noise", "model_errors", "needless_call_rate", "official_format_max_delta",
    "official_format_std", "user_errors",
)  # fmt: skip
"""Metrics of which less is better."""
INTERVALS = "Wilson at the effective sample size; of means Student's, of official means the normal one"
"""How intervals are made, but for that of the headline."""
OWN_SCALE = ("reward", "measured")
"""How metrics begin that an environment of others measures on a scale of its own."""
Z = 1.959964
"""Half width of a 95% interval in standard errors."""


# --- Croissant ----------------------------------------------------------------------------------------------------

VOCABULARY = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/", "extract": "cr:extract",
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#", "rai": "http://mlcommons.org/croissant/RAI/", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
"""Croissant 1.0's context."""
RESPONSIBLE = {
    "rai:dataLimitations": "Requests, tools and answers were written by programs or models, in the languages of the "
    "run's templates and prompts; how people really ask is covered as far as those do. Labels may be wrong.",
    "rai:dataBiases": "Which tools, values and phrasings occur follows the run's sampler, teacher and tools.",
    "rai:personalSensitiveInformation": "None was collected. Names and addresses in requests are invented, unless the "
    "tools or files that the run was given hold others.",
    "rai:dataUseCases": "Training and evaluating models that call tools, and repeating this run. Not for judging how a "
    "model does with tools, languages or people that are not in the data.",
    "rai:dataSocialImpact": "Better calls at lower cost; whoever lets a model act is answerable for what it does.",
}
"""The fields of Croissant RAI that can be said of any run."""
COLUMNS = {"id": "sc:Text", "kind": "sc:Text", "source": "sc:Text", "slice": "sc:Text"}
"""Fields of a sample that are plain values."""


def croissant(manifest: Manifest, by: Authorship) -> dict[str, Any]:
    """Croissant 1.0 with RAI 1.0: the files of samples, their digests, and how they came about."""
    run = manifest.run
    made = [name for name, file in manifest.files.items() if name.endswith(".jsonl") and file.rows and _is_data(name)]
    fake = "sloop.simulation" in json.dumps(run.config.get("teacher", {}))
    how = (
        "templates" if fake else f"the teacher {run.called('teacher') or run.config.get('teacher', {}).get('_target_')}"
    )
    return {
        "@context": VOCABULARY,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"sloop-{run.name}",
        "description": f"Tool-calling samples of the sloop run {run.name} of the study {run.study}, round by round.",
        "version": "1.0.0",
        "datePublished": (run.finished or run.began)[:10],
        "creator": [
            {
                "@type": "sc:Person" if "family-names" in one else "sc:Organization",
                "name": " ".join(reversed(one.values())),
            }
            for one in people(by)
        ],
        **({"license": by.licence_url} if by.licence else {}),
        "citeAs": run.bibtex,
        "rai:dataCollection": f"Generated by {how}, seed {run.seed}; rules let each sample in; what they did not is "
        "counted with its reason in rejected.jsonl.",
        "rai:hasSyntheticData": True,
        **RESPONSIBLE,
        "prov:wasGeneratedBy": f"sloop {run.code.version}, run {run.id}, configuration {run.config_hash}",
        "prov:wasDerivedFrom": [f"{one.key}: {one.file or one.given}" for one in manifest.inputs] or "no other dataset",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{manifest.files[name].bytes} B",
                "encodingFormat": "application/jsonlines",
                "sha256": manifest.files[name].sha256,
            }
            for name in made
        ],
        "recordSet": [_record_set(name) for name in made],
    }


def _is_data(name: str) -> bool:
    """Whether a file holds samples that the run made: pools, portions, sets to train on."""
    path = PurePosixPath(name)
    return path.parts[0] == RUN and path.name.startswith(("train", "dev", "dataset", "round_", "unseen_", "expanded"))


def _record_set(name: str) -> dict[str, Any]:
    label = name.removeprefix(f"{RUN}/").removesuffix(".jsonl").replace("/", "-")
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{label}/{column}",
            "name": column,
            "dataType": kind,
            "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
        }
        for column, kind in COLUMNS.items()
    ]
    return {"@type": "cr:RecordSet", "@id": label, "name": label, "field": fields}


# --- Every Eval Ever ----------------------------------------------------------------------------------------------


class _Evaluated(NamedTuple):
    """One benchmark in the last round that was evaluated on it."""

    benchmark: str
    round: int
    scores: list[Measured]


def _evaluated(manifest: Manifest) -> Iterator[_Evaluated]:
    rows = [one for one in manifest.metrics if one.name.startswith("eval/") and not constant_of(one.name)]
    for benchmark in dict.fromkeys(one.name.split("/")[1] for one in rows):
        of_it = [one for one in rows if one.name.split("/")[1] == benchmark]
        last = max(one.round for one in of_it)
        yield _Evaluated(benchmark, last, [one for one in of_it if one.round == last and one.value is not None])


def every_eval_ever(run: Run, manifest: Manifest) -> dict[str, bytes]:
    """Records of version 0.3.0 (github.com/evaleval/every_eval_ever), by their names in a bundle.

    One a benchmark with every score, and one a graded answer beside it.
    """
    found: dict[str, bytes] = {}
    for one in _evaluated(manifest):
        known = digest([manifest.run.id, one.benchmark, one.round])
        identity = uuid.UUID(hex=known[:32], version=4)
        place = f"data/{one.benchmark}/sloop/{manifest.run.name}/{identity}"
        told = _told(manifest, one)
        rows, unasked = _instances(run, one, told)
        if rows:
            content = "".join(to_json(row) + "\n" for row in rows).encode()
            found[f"every_eval_ever/{place}_samples.jsonl"] = content
            told["detailed_evaluation_results"] = {
                "format": "jsonl",
                "file_path": f"{place}_samples.jsonl",
                "hash_algorithm": "sha256",
                "checksum": hashlib.sha256(content).hexdigest(),
                "total_rows": len(rows),
                "additional_details": {"answers_without_a_recorded_question": str(unasked)},
            }
        found[f"every_eval_ever/{place}.json"] = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
    return found


def _told(manifest: Manifest, one: _Evaluated) -> dict[str, Any]:
    run = manifest.run
    ended = str(int(datetime.fromisoformat(run.finished or run.began).timestamp()))
    remote = next((remote for remote in manifest.remotes if remote.role == "student"), None)
    model = {
        "name": run.called("student") or "student",
        "id": f"sloop/{run.name}",
        "additional_details": {
            "deployment_type": "externally_managed" if remote else "self_deployed",
            "model_availability": "unknown",
            "round": str(one.round),
        },
    }
    if remote:
        model["additional_details"]["model_asked"] = remote.asked  # type: ignore[index]
    return {
        "schema_version": "0.3.0",
        "evaluation_id": f"{one.benchmark}/sloop/{run.name}/{ended}",
        "evaluation_timestamp": ended,
        "retrieved_timestamp": ended,
        "source_metadata": {
            "source_name": f"sloop run {run.id}",
            "source_type": "evaluation_run",
            "source_organization_name": "the run's authors",
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": "sloop", "version": run.code.version},
        "model_info": model,
        "evaluation_results": [_result(manifest, one, score) for score in one.scores],
    }


def _result(manifest: Manifest, one: _Evaluated, score: Measured) -> dict[str, Any]:
    metric = score.name.split("/", 2)[2]
    decode = manifest.run.config.get("decode", {})
    details: dict[str, Any] = {"score": score.value, "details": {"n": str(score.n)}}
    if score.low is not None and score.high is not None:
        how = "MOVER" if metric == HEADLINE else INTERVALS
        details["uncertainty"] = {
            "standard_error": {
                "value": (score.high - score.low) / (2 * Z),
                "method": "half width of the interval / 1.96",
            },
            "confidence_interval": {"lower": score.low, "upper": score.high, "confidence_level": 0.95, "method": how},
            "num_samples": score.n,
        }
    is_share = metric.partition("/")[0] not in OWN_SCALE
    config: dict[str, Any] = {
        "metric_id": f"sloop.{metric}",
        "metric_name": metric,
        **({"metric_unit": "proportion"} if is_share else {}),
        "lower_is_better": metric.rpartition("/")[2] in LOWER_IS_BETTER,
        "score_type": "continuous",
        "min_score": 0.0 if is_share else None,
        "max_score": 1.0 if is_share else None,
    }
    judge = next((remote for remote in manifest.remotes if remote.role == "judge"), None)
    if metric == "judge_score" and judge:
        judging = {"model_info": {"name": judge.asked, "id": judge.asked, "additional_details": _UNKNOWN}}
        config["llm_scoring"] = {"judges": [judging], "input_prompt": f"sloop's, digest {judge.prompts}"}
    return {
        "evaluation_result_id": f"{metric}/{score.slice}" if score.slice else metric,
        "evaluation_name": f"{one.benchmark}/{score.slice}" if score.slice else one.benchmark,
        "source_data": {"dataset_name": one.benchmark, "source_type": "other"},
        "metric_config": config,
        "score_details": details,
        "generation_config": {
            "generation_args": {key: decode[key] for key in ("temperature", "max_tokens") if key in decode}
        },
    }


_UNKNOWN = {"deployment_type": "externally_managed", "model_availability": "unknown"}


def _instances(run: Run, one: _Evaluated, told: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """A row a graded answer whose question the run keeps; and how many have none."""
    questions = next((path for path in questions_of(run.folder) if path.name == f"{one.benchmark}.jsonl.gz"), None)
    grades = run.grades(one.benchmark, one.round)
    if questions is None:
        return [], len(grades)
    asked = {sample.id: sample for sample in Dataset(questions)}
    answers = predictions_at(run.evaluation(one.benchmark, one.round) / "predictions.jsonl")
    given = {trial_id(answer.sample_id, answer.trial): answer for answer in answers}
    rows = [
        _instance(told, one, asked[grade.sample_id], given[known], grade)
        for known, grade in grades.items()
        if grade.sample_id in asked and known in given
    ]
    return rows, len(grades) - len(rows)


def _instance(
    told: Mapping[str, Any], one: _Evaluated, sample: Sample, answer: Prediction, grade: Grade
) -> dict[str, Any]:
    question = canonical_json([message.to_openai() for message in sample.messages])
    wanted = [canonical_json(sample.label.model_dump(mode="json"))] if sample.label else []
    calls = canonical_json([call.model_dump(mode="json") for call in answer.calls])
    row = {
        "schema_version": "0.3.0",
        "evaluation_id": told["evaluation_id"],
        "model_id": told["model_info"]["id"],
        "evaluation_name": one.benchmark,
        "evaluation_result_id": "call_accuracy",
        "sample_id": trial_id(sample.id, answer.trial),
        "sample_hash": hashlib.sha256((question + "".join(wanted)).encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": question, "reference": wanted},
        "output": {"raw": [answer.text or calls]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": calls,
                "extraction_method": "custom",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": float(bool(grade.correct)), "is_correct": bool(grade.correct)},
    }
    return row | ({"error": grade.error} if grade.error else {})


# --- the Hub ------------------------------------------------------------------------------------------------------


def eval_results(manifest: Manifest, hub: Mapping[str, str]) -> dict[str, bytes]:
    """``.eval_results/<benchmark>.yaml`` of each benchmark that is said to be a dataset on the Hub; the form is
    huggingface_hub's ``EvalResultEntry``, in per cent.

    Raises:
        UserError: the run was not evaluated on one of them.
    """
    found = {}
    evaluated = list(_evaluated(manifest))
    known = [one.benchmark for one in evaluated]
    if strange := sorted(hub.keys() - set(known)):
        raise UserError(
            f"--hub {strange[0]}: the run was evaluated on {', '.join(known) or 'no benchmark'}. Name that."
        )
    for one in evaluated:
        if one.benchmark not in hub:
            continue
        rows = [score for score in one.scores if not score.slice and score.name.endswith("/call_accuracy")]
        entries = [_entry(manifest, hub[one.benchmark], score) for score in rows]
        text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120)
        found[f".eval_results/{one.benchmark}.yaml"] = text.encode()
    return found


def _entry(manifest: Manifest, dataset: str, score: Score) -> dict[str, Any]:
    doubt = "" if score.low is None or score.high is None else f", 95% interval {score.low:.4f} to {score.high:.4f}"
    return {
        "dataset": {"id": dataset, "task_id": score.name.split("/", 2)[2]},
        "value": round((score.value or 0.0) * 100, 4),
        "date": datetime.fromisoformat(manifest.run.finished or manifest.run.began).isoformat(timespec="seconds"),
        "notes": f"sloop run {manifest.run.id}, n = {score.n}{doubt}",
    }
