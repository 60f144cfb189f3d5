"""The records of the loop: their identity, their canonical form, and nothing else.

Every record is immutable and is written to disk as one JSON line.
"""

from sloop.records.base import (
    OutOfBudget,
    Record,
    UserError,
    canonical_json,
    digest,
    finite,
    from_json,
    no_constant,
    to_json,
    whole_number,
)
from sloop.records.episodes import Step, Task, Turn
from sloop.records.judging import Grade, Judgement, Outcome, Rubric, Ruling, Verdict
from sloop.records.runs import (
    ROUND_FILE,
    RUN_FILE,
    Arithmetic,
    BegunRecord,
    Cell,
    Checkpoint,
    CodeState,
    DataRecord,
    FileRecord,
    InputRecord,
    Machine,
    Retry,
    RoundRecord,
    RoundSummary,
    RunRecord,
    Score,
    StageFiles,
    StageRecord,
    Status,
    SweepRecord,
    Tracked,
    Unreadable,
    Versioned,
)
from sloop.records.samples import (
    AnyKind,
    Axis,
    Decode,
    Dialogue,
    EnvSpec,
    Kind,
    Label,
    Lineage,
    Message,
    Order,
    Part,
    Prediction,
    Rejected,
    Sample,
    Source,
    TaskKind,
    Tool,
    ToolCall,
    Truth,
    decisions,
    number_calls,
    trial_field,
    trial_id,
)
