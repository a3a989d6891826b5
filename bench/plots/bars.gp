    # A line a workload, bars side by side or one behind the other, a whisker from the least run to
    # the largest; red crosses are invalid runs.
    unset ytics
    set border 1
    plot for [s=1:nr_series] $bars index s-1 using 2:1:2:3:($1-$4):($1+$4):5 with boxxyerror linecolor rgb variable notitle, \
         $whiskers using 2:1:3:4 with xerrorbars pointtype 7 pointsize 0.5 linewidth 1.4 linecolor rgb '#222222' notitle, \
         $runs using 2:1:3:4 with points pointsize 0.8 pointtype variable linecolor rgb variable notitle
