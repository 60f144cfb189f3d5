"""Files of records, whole or not at all: rows, lines, caches, digests."""

from sloop.store.cache import Cache
from sloop.store.content import checkpoint_at, file_digest, folder_digest
from sloop.store.files import (
    disk,
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
