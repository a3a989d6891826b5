# cgroup - whose memory is it, on cgroup v2? What has left is not the client's any more, what is kept of it is
# the daemon's; and what has no room in the client's cgroup is not brought back by hand.
. /vm/support.sh

at=/sys/fs/cgroup
mib() { echo $(($1 / 1048576)); }
current() { mib "$(cat $at/"$1"/memory.current)"; }
# status NAME: a number of the only session.
status()
{
    process-pager status --json --socket /run/pager.sock | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" |
        head -n 1
}

# within GROUP PROGRAM ARGUMENT...: in the background only, or it is this shell that becomes it.
within()
{
    group=$1
    shift
    exec sh -c 'echo $$ >"$0"; exec "$@"' $at/"$group"/cgroup.procs "$@"
}

echo +memory >$at/cgroup.subtree_control
mkdir $at/daemon $at/client

within daemon process-pagerd --socket /run/pager.sock --csv /tmp/pager.csv --heat damon --cold-age 1s \
    2>/tmp/pager.log &
daemon=$!
wait_until test -S /run/pager.sock
before=$(current daemon)
within client random_touch_heap --region 64M --content heap --hot-fraction 0.25 --hot-probability 1 \
    --ops-per-sec 20000 --duration-sec 25 --use-process-pager --socket /run/pager.sock >/tmp/result.json &
client=$!

# Forty seconds: it is filled, and then has to become cold.
turns=0
until [ "$(current client)" -gt 60 ] || [ $turns -ge 100 ]; do sleep 0.2; turns=$((turns + 1)); done
until [ "$(current client)" -lt 30 ] || [ $turns -ge 200 ]; do sleep 0.2; turns=$((turns + 1)); done

peak=$(mib "$(cat $at/client/memory.peak)")
at_least 64 "MiB in the client's cgroup at most" "$peak"
at_least 34 "MiB less in it now" $((peak - $(current client)))
held=$(mib "$(status store_held_bytes)")
at_least 1 "MiB held for it, as the status says" "$held"
at_least "$held" "MiB more in the daemon's cgroup" $(($(current daemon) - before + 1)) # rounded down twice

note "no room"
echo "$((($(current client) + 8) * 1048576))" >$at/client/memory.max
pid=$(pidof random_touch_heap)
process-pager drain --socket /run/pager.sock "$pid" && fail "drain brings back what has no room"
grep -E "oom_kill |max " $at/client/memory.events
echo max >$at/client/memory.max
check wait "$client"
wait_until test -s /tmp/pager.csv
equal 0 verify_errors "$(sed -n 's/.*"verify_errors": \([0-9]*\).*/\1/p' /tmp/result.json)"
equal 0 restore_fail "$(column restore_fail)"
stop_daemon
finish
