#!/usr/bin/env bash
# The study on dirty data: for each kind of corruption the loop against its first set again, as studies of their own.
#   BFCL=FOLDER scripts/corruption.sh                   clean, wrong_calls (half of them), schema_drift
#   KINDS=scarce scripts/corruption.sh optimize.shares.expansions=50
# See scripts/real.sh, which it runs for each kind.
set -euo pipefail
STUDY="${STUDY:-corruption}"
export VARIANTS="${VARIANTS:-full,static}"
for kind in ${KINDS:-clean wrong_calls schema_drift}; do
  STUDY="$STUDY-$kind" "$(dirname "$0")/real.sh" label_noise=0 corruption="$kind" "$@"
done
