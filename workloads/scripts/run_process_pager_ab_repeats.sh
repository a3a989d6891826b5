#!/bin/sh
# The A/B of the workloads without and with process-pager, repeated; all the work is done by the
# program build/bench/ab-repeats, which this only calls. Options are passed on; the usual ones:
#   --runs N  --duration-sec S  --only a,b  --profile published|coldtail  --peer zram
#   --results-dir D  --seed N                                        (all of them: --help)
#   aggregate DIR, plot DIR: work on the results of an earlier run
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
ab=${PP_BUILD_DIR:-$root/build}/bench/ab-repeats
if [ ! -x "$ab" ]; then
    echo "run_process_pager_ab_repeats.sh: $ab is not built: run \"make\" in $root first" >&2
    exit 69
fi
case ${1:-} in aggregate | plot) exec "$ab" "$@" ;; esac
# Unless said otherwise, results go below the repository and not below where we were called.
PP_CALLED_AS=$0 exec "$ab" --results-base "$root/workloads/results/process-pager-ab-repeats" "$@"
