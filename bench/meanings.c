/* meanings.c - see meanings.h. Names end in their units; <arm> is baseline, pager or zram. */
#include "meanings.h"

const struct meaning meanings[] = {
    {"units_per_sec_ratio_pager_vs_baseline",
     "Impact on the workload: its units per second with the pager, divided by those of the "
     "baseline arm of the same run. 1 is no change; a little above 1 is noise. The same with "
     "zram."},
    {"elapsed_ms_ratio_pager_vs_baseline",
     "Close to 1 by construction: the workloads run for a fixed time."},
    {"net memory saved",
     "Baseline target's Pss - (target's Pss without its map of the store + daemon's Pss without "
     "its memfds + blocks held by those memfds). The zram arm: target's Pss + what zram uses in "
     "all. In % of the baseline target's Pss. Sampled twice a second in every arm; steady: the "
     "last quarter."},
    {"<arm>_memory_paid_steady_mib", "What the arm pays in memory in the steady state, as above."},
    {"<arm>_anon_huge_pages_steady_mib",
     "Of the target's memory, what is in transparent huge pages in the steady state."},
    {"pager_window_cpu_pct", "CPU time of all pager threads over the measured part, in percent of "
                             "one CPU. The session beside it also holds the checking of all bytes "
                             "at the end."},
    {"pager_daemon_cpu_pct_total",
     "CPU time of all pager threads (daemon, agent, porter) over the session's wall time."},
    {"pager_fault_cpu_pct, pager_bg_cpu_pct",
     "Of that total: the agent's work on faults and events; and the rest. That work is measured in "
     "wall time: where the machine is busy it is more than the CPU time of it."},
    {"pager_daemon_process_cpu_pct, pager_agent_cpu_pct, pager_porter_cpu_pct",
     "Of that total, by thread: the daemon's process, and the two threads inside the target."},
    {"pager_fault_missing_p95_ns, _p99_ns",
     "Service of a missing-page fault: from reading the event to the end of the waking call. It "
     "does not see how long the event waited to be read: what the client felt stands beside it. With "
     "--direct nobody is asked: what the touching thread felt, 1.5 µs of it assumed for the signal."},
    {"pager_restore_wall_p95_ns, _p99_ns", "Decompressing a page or moving it back from staging, "
                                           "and putting it in its place. Between this and the "
                                           "fault's time lies scheduling, not the codec."},
    {"<arm>_touch_p50_ns to _p999_ns",
     "All touches of pages, each timed by the workload itself. p99.9 only from 10,000 touches on."},
    {"<arm>_touch_over_1us_...",
     "Only the touches above 1 µs (1024 ns), which a stored page causes."},
    {"<arm>_touch_out_...",
     "Only the touches of pages that had been taken out: with the workloads' option --tell-out, which "
     "looks before each touch."},
    {"<arm>_period_...", "Whole passes, bursts, batches of touches, or maps."},
    {"pager_client_evict_success", "Pages taken out of the target."},
    {"pager_compress_success", "Pages of these that were stored."},
    {"pager_faults_missing", "Missing-page faults answered; zero pages too."},
    {"pager_restore_success", "Pages brought back; those from staging, which met no codec, too."},
    {"pager_range_add_msgs, pager_range_del_msgs",
     "Calls that announce a range or take it back; those that had to send nothing too."},
    {"pager_pages_tracked_peak", "The most pages that were under the pager's eyes at a time."},
    {"pager_process_madvise_unsupported", "Calls that this kernel did not know."},
    {"<arm>_time_...", "From GNU time, of the whole process with first touch and checking: CPU %, "
                       "faults, largest resident set. Empty where GNU time is not installed."},
    {"verify_errors", "Pages whose bytes were not the ones last written. All bytes are checked at "
                      "the end, outside the measured time. One makes the run invalid."},
    {"n, min, p50, p95, max, mean, stddev, iqr",
     "Over the runs that count. p95: nearest rank. iqr: from the first quartile to the third."},
};
const size_t meanings_count = sizeof(meanings) / sizeof(meanings[0]);

const char *const limits[] = {
    "One machine, at one time. Ratios carry over to other machines better than times do; nothing "
    "here says by how much.",
    "The workloads are synthetic. Their patterns are plainer than those of real programs, and with "
    "the default contents their pages compress better.",
    "What is saved depends on how long the run is against the cold age, and with a budget on what the "
    "pager has learnt so far: a run of seconds saves little, whatever the pager.",
    "With few runs the spread from least to largest is no confidence interval; two arms whose "
    "spreads overlap are not told apart.",
    "Memory is sampled twice a second; peaks between two samples are not seen. Reading Pss takes "
    "some milliseconds in every arm alike.",
    "The target's share of the shared rings is counted twice, against the pager. The pager's "
    "bookkeeping inside the target counts as the target's.",
    "Touch latencies include what the scheduler and other programs do; the baseline arm shows how "
    "much that is.",
};
const size_t limits_count = sizeof(limits) / sizeof(limits[0]);
