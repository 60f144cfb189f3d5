"""Files of records, whole or not at all: rows, lines, caches, digests."""

from sloop.store.cache import Cache
from sloop.store.files import (
    checkpoint_at,
    disk,
    file_digest,
    folder_digest,
    is_file,
    line_of,
    now,
    read_json,
    read_record,
    read_rows,
    row_of,
    write_bytes,
    write_json,
    write_rows,
    writing,
)
from sloop.store.lines import Lines
from sloop.store.rows import JSON_COLUMNS, Dataset, Rows, from_datasets, predictions_at, to_datasets
