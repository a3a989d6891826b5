# smoke - does it work at all on this kernel: --check, and verified passes as root and as a user, with
# the source of heat that every kernel has (damon.sh has the other).
. /vm/support.sh

check process-pagerd --check

# Half of the region is never touched and must leave; at its end the workload compares everything with
# what it wrote, so all of that has to come back.
pass()
{
    note "random_touch_heap as $1"
    rm -f /tmp/pager.csv
    start_daemon --heat scan --cold-age 1s
    equal -900 oom_score_adj "$(cat /proc/$daemon/oom_score_adj)" # root, and nobody has said otherwise
    chmod 666 /run/pager.sock # else only a group's, which the guest does not have
    check as "$1" random_touch_heap --region 16M --hot-fraction 0.5 --hot-probability 1 \
        --ops-per-sec 20000 --duration-sec 6 --use-process-pager --socket /run/pager.sock \
        >/tmp/result.json
    grep -E '"(pages_checked|verify_errors|units)"' /tmp/result.json
    wait_until test -s /tmp/pager.csv
    equal 0 verify_errors "$(sed -n 's/.*"verify_errors": \([0-9]*\).*/\1/p' /tmp/result.json)"
    at_least 1800 client_evict_success "$(column client_evict_success)" # of 2048 that never are
    at_least 1800 restore_success "$(column restore_success)"
    equal 0 restore_fail "$(column restore_fail)"
    stop_daemon
}

pass root
pass nobody
finish
