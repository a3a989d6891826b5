# heat - the sources side by side: figures for docs/heat.md, nothing is required of them. Takes four minutes.
. /vm/support.sh
for stripe in 8192 512 16 scattered; do
    for source in damon scan scan+probe; do
        half_hot $source $stripe
    done
done
finish
