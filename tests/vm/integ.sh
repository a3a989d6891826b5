# integ - the integration suite on this kernel: one program after the other, as root. TCG is slower than
# any machine that the seconds were meant for, so all limits of time are five times as long.
. /vm/support.sh
export PP_DAEMON=/build/process-pagerd PP_POINT_DAEMON=/build/process-pagerd-points PP_SOURCE=/source
export PP_VICTIM=/build/run_victim PP_STATIC=/build/run_static
export PP_PATIENCE=5

passed=0 skipped=0
while read -r name seconds; do
    case $name in
    direct-*) export PP_TEST_DIRECT=1 ;;
    *) unset PP_TEST_DIRECT ;;
    esac
    timeout -k 2 $((seconds * PP_PATIENCE)) "/integ/$name" >/tmp/output 2>&1 </dev/null
    code=$?
    case $code in
    0) passed=$((passed + 1)); echo "PASS $name" ;;
    77) skipped=$((skipped + 1)); echo "SKIP $name: $(tail -n 1 /tmp/output)" ;;
    *) tail -n 20 /tmp/output; fail "$name: exit code $code" ;;
    esac
done </integ/list
echo "$passed passed, $skipped skipped"
finish
