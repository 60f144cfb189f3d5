"""Run files: stage folders under a key, journals, digests, datasets. A stage writes its data by them alone."""

from sloop.store.cache import Cache
from sloop.store.dialogues import Converted, Decisions, Form, Intake, open_dataset
from sloop.store.files import (
    checkpoint_at,
    code_digest,
    file_digest,
    folder_digest,
    line_of,
    now,
    open_text,
    read_json,
    read_rows,
    row_of,
    write_bytes,
    write_json,
    write_rows,
)
from sloop.store.lines import Lines
from sloop.store.rows import JSON_COLUMNS, Dataset, Rows, from_datasets, predictions_at, to_datasets
from sloop.store.stage import BEGUN_FILE, MAX_FAILED_SHARE, STAGE_FILE, Stage, stage_key

__all__ = [
    "BEGUN_FILE",
    "JSON_COLUMNS",
    "MAX_FAILED_SHARE",
    "STAGE_FILE",
    "Cache",
    "Converted",
    "Dataset",
    "Decisions",
    "Form",
    "Intake",
    "Lines",
    "Rows",
    "Stage",
    "checkpoint_at",
    "code_digest",
    "file_digest",
    "folder_digest",
    "from_datasets",
    "line_of",
    "now",
    "open_dataset",
    "open_text",
    "predictions_at",
    "read_json",
    "read_rows",
    "row_of",
    "stage_key",
    "to_datasets",
    "write_bytes",
    "write_json",
    "write_rows",
]
