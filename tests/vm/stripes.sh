# stripes - is a cold half found that lies in stripes of 2 MiB? The figures are those of damon.sh. Finer
# stripes are measured and reported.
. /vm/support.sh
finds damon 512
half_hot damon 16
finish
