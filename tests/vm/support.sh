# support.sh - what the scripts share; read by each of them. busybox's sh.

failures=0

note() { echo "--- $*"; }

fail()
{
    echo "FAIL: $*"
    failures=$((failures + 1))
}

check() { "$@" || fail "exit code $?: $*"; }

# as USER PROGRAM ARGUMENT...
as()
{
    user=$1
    shift
    if [ "$user" = root ]; then
        "$@"
    else
        su -s /bin/sh "$user" -c "$*"
    fi
}

# equal EXPECTED NAME VALUE, at_least LEAST NAME VALUE
equal() { if [ "$3" = "$1" ]; then echo "$2 $3"; else fail "$2 is '$3', not $1"; fi; }
at_least() { if [ "${3:-0}" -ge "$1" ]; then echo "$2 $3"; else fail "$2 is '$3', at least $1"; fi; }

# Five seconds; under TCG everything takes longer.
wait_until()
{
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
        "$@" && return
        sleep 0.2
    done
    fail "not within 5 s: $*"
}

# start_daemon OPTION...: as root, with /run/pager.sock, /tmp/pager.csv and /tmp/pager.log.
start_daemon()
{
    process-pagerd --socket /run/pager.sock --csv /tmp/pager.csv "$@" 2>/tmp/pager.log &
    daemon=$!
    wait_until test -S /run/pager.sock
}

stop_daemon()
{
    kill "$daemon"
    wait "$daemon" || fail "process-pagerd ended with $?"
    sed 's/^/    /' /tmp/pager.log
}

# column NAME: of the last row of /tmp/pager.csv.
column()
{
    awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i }
                          END { print at ? $at : "(no such column)" }' /tmp/pager.csv
}

# finds SOURCE STRIPE: as half_hot requires; three tries where the machine was away meanwhile, or too slow.
unknown=
finds()
{
    for _ in 1 2 3; do
        half_hot "$1" "$2" check
        code=$?
        [ $code = 75 ] || break
    done
    case $code in
    0) ;;
    75) unknown="$unknown $1 $2;" ;;
    *) fail "exit code $code: half_hot $1 $2 check" ;;
    esac
}

finish()
{
    echo "$failures failures"
    if [ "$failures" = 0 ] && [ -n "$unknown" ]; then
        echo "the machine was away for too long, or too slow, three times, to say what is found:$unknown"
        exit 77
    fi
    [ "$failures" = 0 ]
    exit
}
