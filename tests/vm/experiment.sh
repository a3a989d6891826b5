# experiment - the published experiment, shortened, with DAMON as the source of heat: is the folder of
# results complete, and has anything left where the region stays? With the default budget nothing is watched
# for long enough in ten seconds, so the cold age is a given one; and what touches all of its memory more than
# once a second leaves nothing cold: bursts and streams pause for 3 s, and the heap is touched ten times more
# slowly, as by an emulated CPU.
# Huge pages only for who asks: of those that the heap got, each is touched eighty times a second, and DAMON
# sees no finer than a huge page.
. /vm/support.sh
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

at=/tmp/results
export XDG_CACHE_HOME=/tmp
PP_BUILD_DIR=/ sh /workloads/scripts/run_process_pager_ab_repeats.sh --runs 2 --duration-sec 10 \
    --heat damon --cold-age 1s --row-args 'interactive_burst=--idle 3s' \
    --row-args 'anon_streamer=--idle 3s' --row-args 'random_touch_heap=--ops-per-sec 20000' \
    --daemon /bin/process-pagerd --workloads-dir /bin --results-dir $at >/tmp/said 2>&1 ||
    { fail "exit code $?"; tail -n 20 /tmp/said; }
cat $at/aggregate_summary.txt

check grep -q '"heat_source":[[:space:]]*"damon"' $at/manifest.json
grep -E '"(heat_source|command_line|command)"' $at/manifest.json
for file in all_runs_long.csv aggregate.csv report.html runs/run-001/comparison.csv \
    runs/run-002/comparison.csv runs/run-002/summary.txt; do
    check test -s $at/$file
done
equal 24 "pictures in plots/" "$(ls $at/plots/*.png $at/plots/*.svg | wc -l)"

# value ROW COLUMN: of the first repeat.
value()
{
    awk -F, -v row="$1" -v name="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i }
        $0 ~ row { print $at; exit }' $at/runs/run-001/comparison.csv
}
for row in interactive_burst anon_streamer random_touch_heap; do
    at_least 1 "evictions of $row" "$(value $row pager_client_evict_success)"
done
finish
