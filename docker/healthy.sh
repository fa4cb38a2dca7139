#!/bin/sh
# The health check of the image: fails if the last sync that loaded ended more than MAX_AGE_HOURS ago, or if none has.
# It goes by the metrics that the schedule writes, since asking a DuckDB warehouse could get in the way of a sync.
# Before the first sync there is nothing to complain about.
set -eu
metrics=${METRICS:?}
[ -e "$metrics" ] || exit 0
awk -v now="$(date +%s)" -v hours="${MAX_AGE_HOURS:?}" '
    /^braze_elt_last_success_timestamp_seconds/ { known = 1; old = now - $NF > hours * 3600 }
    END { exit !known || old }
' "$metrics"
