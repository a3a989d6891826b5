#!/bin/sh
# One A/B run of the workloads without and with process-pager; all the work is done by the program
# build/bench/ab, which this only calls. Options are passed on; the usual ones:
#   --duration-sec N  --only a,b  --results-dir D  --repeats R   (all of them: --help)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
ab=${PP_BUILD_DIR:-$root/build}/bench/ab
if [ ! -x "$ab" ]; then
    echo "run_process_pager_ab.sh: $ab is not built: run \"make\" in $root first" >&2
    exit 69
fi
# Unless said otherwise, results go below the repository and not below where we were called.
for option in "$@"; do
    case $option in --results-dir | --results-dir=*) exec "$ab" "$@" ;; esac
done
exec "$ab" --results-dir \
    "$root/workloads/results/process-pager-ab/$(date +%Y%m%d-%H%M%S)" "$@"
