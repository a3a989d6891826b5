# damon - DAMON as a source of heat: what it finds, and that it leaves its tree as it was.
. /vm/support.sh

kdamonds=/sys/kernel/mm/damon/admin/kdamonds

nothing_left() { equal 0 nr_kdamonds "$(cat $kdamonds/nr_kdamonds)"; }
is_on() { [ "$(cat $kdamonds/0/state 2>/dev/null)" = on ]; }
said() { wait_until grep -q "$1" /tmp/pager.log; }

# start_client SECONDS: in the background, verified.
start_client()
{
    random_touch_heap --region 16M --hot-fraction 0.5 --hot-probability 1 --ops-per-sec 20000 \
        --duration-sec "$1" --use-process-pager --socket /run/pager.sock >/tmp/result.json &
    client=$!
}

note "what it finds"
finds damon 8192
nothing_left

note "a verified pass; the daemon is killed early in it, and started again"
start_daemon --heat damon --cold-age 1s
start_client 13
wait_until is_on
kill -9 "$daemon"
wait "$daemon"
equal 1 "nr_kdamonds left by the killed one" "$(cat $kdamonds/nr_kdamonds)"
rm -f /tmp/pager.csv
start_daemon --heat damon --cold-age 1s
said 'source=damon'
wait_until is_on
check wait "$client"
wait_until test -s /tmp/pager.csv
at_least 1800 client_evict_success "$(column client_evict_success)" # of 2048 that are never touched
equal 0 restore_fail "$(column restore_fail)"
stop_daemon
nothing_left

note "lost while in use"
start_daemon --heat damon --cold-age 1s
start_client 8
wait_until is_on
echo 0 >$kdamonds/0/contexts/0/schemes/0/quotas/weights/sz_permil # the mark: now it is not ours
said 'event=damon_lost'
check wait "$client"
at_least 1800 client_evict_success "$(column client_evict_success)"
stop_daemon
equal 1 "nr_kdamonds that was not put away" "$(cat $kdamonds/nr_kdamonds)"
if is_on; then echo off >$kdamonds/0/state; fi
echo 0 >$kdamonds/nr_kdamonds

note "in use by somebody else"
echo 1 >$kdamonds/nr_kdamonds
echo 1 >$kdamonds/0/contexts/nr_contexts
grep -rH '' $kdamonds >/tmp/before 2>/dev/null
start_daemon --heat damon
said 'source=scan reason="DAMON is in use by somebody else"'
stop_daemon
grep -rH '' $kdamonds >/tmp/after 2>/dev/null
check cmp /tmp/before /tmp/after
echo 0 >$kdamonds/nr_kdamonds

note "without the right"
echo 1 >/proc/sys/vm/unprivileged_userfaultfd # else nobody cannot be a daemon at all
as nobody process-pagerd --check | grep "source of heat.*scan: DAMON is root's" ||
    fail "it does not say whose DAMON is"
finish
