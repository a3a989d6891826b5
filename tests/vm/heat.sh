# heat - the two sources side by side: figures for docs/heat.md, nothing is required of them.
. /vm/support.sh
for stripe in 8192 512 16; do
    half_hot damon $stripe
    half_hot scan $stripe
done
finish
