#!/bin/sh
# A night in the image without an account: what `docker/image.sh check` runs in its place. $1 is a folder whose
# subfolder `data`, the current one, is all that may be written.
set -eu

refused() {
    if (: > "$1") 2> /dev/null; then
        echo "image: $1 can be written" >&2
        exit 1
    fi
}

[ "$(id -u)" != 0 ]
refused "$1/app/bin/braze-elt"
refused "$1/code/new"

: > sandbox.log
braze-elt sandbox --port 0 --campaigns 5 --canvases 2 > sandbox.log &
sandbox=$!
trap 'kill $sandbox' EXIT
until url=$(grep -o 'http://[^ ]*' sandbox.log); do
    kill -0 $sandbox
    sleep 0.1
done
export SOURCES__BRAZE__ENDPOINT="$url" SOURCES__BRAZE__API_KEY=any
SOURCES__BRAZE__START_DATE=$(date -u -d '7 days ago' +%F 2> /dev/null || date -u -v-7d +%F)
export SOURCES__BRAZE__START_DATE

sh "$1/code/healthy.sh"
braze-elt check > check.txt || { cat check.txt; exit 1; }
braze-elt sync --metrics "$METRICS" > sync.txt
tail -n 1 sync.txt
sh "$1/code/healthy.sh"
# Not 0: the sync ended within this second.
if MAX_AGE_HOURS=-1 sh "$1/code/healthy.sh"; then
    echo "image: what is too old is called healthy" >&2
    exit 1
fi
braze-elt status --max-age-hours "$MAX_AGE_HOURS" > status.txt

# What the image does by default, ended as an orchestrator ends it.
braze-elt schedule --cron '0 0 1 1 *' --metrics "$METRICS" 2> schedule.log &
schedule=$!
trap 'kill $sandbox $schedule' EXIT
until grep -q 'Next sync' schedule.log; do
    kill -0 $schedule
    sleep 0.1
done
kill -TERM $schedule
wait $schedule
trap 'kill $sandbox' EXIT
echo "image: a night was loaded, found healthy, and the schedule ended cleanly."
