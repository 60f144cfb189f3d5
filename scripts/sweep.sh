#!/usr/bin/env bash
# The experiment of the README: seeds x students x variants at the demo's size, then the paired comparisons.
#   scripts/sweep.sh                                   5 seeds x 2 students x 3 variants, 2 jobs of 1 thread each
#   STUDY=mine SEEDS=0,1 STUDENTS=tiny scripts/sweep.sh experiment=smoke
# An interrupted sweep goes on where it stopped when it is started again. Extra arguments are overrides.
set -euo pipefail
STUDY="${STUDY:-sweep}"
SEEDS="${SEEDS:-0,1,2,3,4}"
STUDENTS="${STUDENTS:-tiny,tiny_wide}"
VARIANTS="${VARIANTS:-full,static,fresh_noisy}"
JOBS="${JOBS:-2}"
SLOOP="${SLOOP:-sloop}"
export OMP_NUM_THREADS=1

# The demo's one thread a job, for any preset. The variant changes slowest, so that jobs side by side do not wait for
# the round that variants share.
if [[ " $* " != *" experiment="* ]]; then set -- experiment=demo "$@"; fi
$SLOOP loop -m "$@" name="$STUDY" variant="$VARIANTS" seed="$SEEDS" student="$STUDENTS" \
  student.threads=1 trainer.threads=1 hydra/launcher=joblib hydra.launcher.n_jobs="$JOBS"

for control in static fresh_noisy; do
  if [[ ",$VARIANTS," == *",full,"* && ",$VARIANTS," == *",$control,"* ]]; then
    $SLOOP compare full "$control" --study "$STUDY"
  fi
done
