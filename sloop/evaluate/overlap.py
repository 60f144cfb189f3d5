"""Does a training set repeat a benchmark? No kind of request is exempt: small talk counts like any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sloop.accept import request_key
from sloop.types import Record, Sample

MAX_EXAMPLES = 10


class Overlap(Record):
    """What a training set and a benchmark share."""

    train: int
    """Samples in the training set."""
    bench: int
    ids: tuple[str, ...]
    """Samples that stand in both: the same tools and messages."""
    requests: dict[str, int]
    """Training samples whose last user message is a request of the benchmark, by their kind; whatever tools are on
    offer, and whatever their case, spacing and punctuation (`sloop.accept.request_key`)."""
    num_shared: int
    """Training samples that share one or the other; 0 = disjoint."""
    examples: tuple[str, ...]
    """The first few shared requests."""


def forbidden_requests(bench: Iterable[Sample]) -> frozenset[str]:
    """Keys of the requests that no training sample may repeat (refused as ``in_benchmark``)."""
    return frozenset(key for sample in bench if (key := request_key(sample.request)))


def overlaps(train: Iterable[Sample], bench: Iterable[Sample]) -> Overlap:
    """Compare a training set with a benchmark; both are streamed, only keys are kept."""
    ids: set[str] = set()
    keys: set[str] = set()
    num_bench = 0
    for sample in bench:
        num_bench += 1
        ids.add(sample.id)
        if key := request_key(sample.request):
            keys.add(key)
    shared_ids: list[str] = []
    requests: Counter[str] = Counter()
    examples: list[str] = []
    num_train = num_shared = 0
    for sample in train:
        num_train += 1
        same_id, same_request = sample.id in ids, request_key(sample.request) in keys
        num_shared += same_id or same_request
        if same_id:
            shared_ids.append(sample.id)
        if same_request:
            requests[sample.kind or "unknown"] += 1
            if len(examples) < MAX_EXAMPLES:
                examples.append(sample.request)
    return Overlap(
        train=num_train,
        bench=num_bench,
        ids=tuple(sorted(shared_ids)),
        requests=dict(sorted(requests.items())),
        num_shared=num_shared,
        examples=tuple(examples),
    )
