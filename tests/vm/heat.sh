# heat - the sources side by side: figures for docs/heat.md, nothing is required of them. Takes three and a half
# minutes: VM_SECONDS=240.
. /vm/support.sh
for stripe in 8192 512 16; do
    half_hot damon $stripe
    half_hot scan $stripe
    half_hot scan+probe $stripe
done
half_hot damon scattered
half_hot scan+probe scattered
finish
