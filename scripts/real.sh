#!/usr/bin/env bash
# The study on a pretrained student: seeds x variants on two benchmarks, then tables and paired comparisons.
#   BFCL=FOLDER scripts/real.sh                         FOLDER with BFCL_v4_*.json; empty: the installed bfcl-eval
#   SEEDS=0 VARIANTS=full,static scripts/real.sh loop.budget=48
# An interrupted study goes on where it stopped when it is started again. Extra arguments are overrides.
set -euo pipefail
STUDY="${STUDY:-real}"
SEEDS="${SEEDS:-0,1,2}"
VARIANTS="${VARIANTS:-full,static,fresh_noisy}"
JOBS="${JOBS:-2}"
SLOOP="${SLOOP:-sloop}"
export OMP_NUM_THREADS=1

# The variant changes slowest, so that jobs side by side do not wait for the rounds that variants share.
$SLOOP loop -m experiment=real ${BFCL:+benchmark.bfcl.path="$BFCL"} "$@" name="$STUDY" variant="$VARIANTS" seed="$SEEDS" \
  hydra/launcher=joblib hydra.launcher.n_jobs="$JOBS"

$SLOOP table "$STUDY"
if [[ ",$VARIANTS," == *",full,"* ]]; then
  for benchmark in sloop_bench bfcl_v4; do
    $SLOOP compare full full@0 --study "$STUDY" --benchmark "$benchmark"  # what the loop adds to the checkpoint as it came
    for control in ${VARIANTS//,/ }; do
      [[ "$control" == full ]] && continue
      $SLOOP compare full "$control" --study "$STUDY" --benchmark "$benchmark"
    done
  done
fi
