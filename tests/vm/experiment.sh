# experiment - the published experiment, shortened, with DAMON as the source of heat: is the folder of
# results complete, and has anything left where the region stays?
. /vm/support.sh

at=/tmp/results
check env PP_BUILD_DIR=/ sh /workloads/scripts/run_process_pager_ab_repeats.sh --runs 2 \
    --duration-sec 10 --heat damon --daemon /bin/process-pagerd --workloads-dir /bin --results-dir $at
cat $at/aggregate_summary.txt

check grep -q '"heat_source": *"damon' $at/manifest.json
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
