    # A line a workload, a mark a series: the median, a bar from the least run to the largest, and
    # each run as a small mark; those of invalid runs are red crosses.
    unset ytics
    set border 1
    plot for [s=1:nr_series] $runs index s-1 using 2:1:3:4 with points pointsize 0.7 pointtype variable linecolor rgb variable notitle, \
         for [s=1:nr_series] $spread index s-1 using 2:1:3:4:5 with xerrorbars pointtype points[s] pointsize 1.3 linewidth 1.6 linecolor rgb variable notitle
