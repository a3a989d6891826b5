# workloads - the four workloads, each verified, with DAMON as the source of heat.
. /vm/support.sh

# pass NAME OPTION...: with the pager; the workload checks every byte and fails if one is wrong.
pass()
{
    note "$1"
    rm -f /tmp/pager.csv
    start_daemon --heat damon --cold-age 1s
    check "$@" --use-process-pager --socket /run/pager.sock >/tmp/result.json
    wait_until test -s /tmp/pager.csv
    equal 0 verify_errors "$(sed -n 's/.*"verify_errors": \([0-9]*\).*/\1/p' /tmp/result.json)"
    echo "client_evict_success $(column client_evict_success)"
    equal 0 restore_fail "$(column restore_fail)"
    stop_daemon
    check grep -q source=damon /tmp/pager.log
}

pass interactive_burst --region 64M --active 500ms --idle 5s --duration-sec 15
at_least 1000 client_evict_success "$(column client_evict_success)"
pass anon_streamer --region 64M --idle 5s --duration-sec 15
at_least 1000 client_evict_success "$(column client_evict_success)"
pass random_touch_heap --region 64M --hot-fraction 0.5 --hot-probability 1 --ops-per-sec 20000 \
    --duration-sec 10
at_least 1000 client_evict_success "$(column client_evict_success)"
pass mmap_churn --duration-sec 5 # what lives for a moment is never cold
finish
