#!/usr/bin/env bash
# Benchmark a checkpoint: a folder or a hub id, on a benchmark of conf/benchmark (default sloop_bench).
#   scripts/benchmark_checkpoint.sh outputs/demo/RUN/round_3/train/checkpoint [key=value ...]
set -euo pipefail
CHECKPOINT="${1:?give a checkpoint folder or hub id}"
shift
${SLOOP:-sloop} eval student=checkpoint student.path="$CHECKPOINT" "$@"
