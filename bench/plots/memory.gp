    # A panel a workload: what the pager arm pays, one part upon the other; the others' sums as lines.
    set grid xtics ytics
    set multiplot
    do for [p=1:nr_panels] {
        set lmargin at screen ((p-1)%columns)/real(columns) + 66.0/width
        set rmargin at screen ((p-1)%columns+1)/real(columns) - 18.0/width
        set tmargin at screen top - ((p-1)/columns)*(top-bottom)/real(lines) - 28.0/height
        set bmargin at screen top - ((p-1)/columns+1)*(top-bottom)/real(lines) + 56.0/height
        set title panel_titles[p] offset 0,-0.6 font 'sans-serif,12' textcolor rgb panel_colours[p]
        set xrange [panel_begins[p]:panel_ends[p]]
        set yrange [0:panel_tops[p]]
        set arrow 1 from window_begins[p], graph 0 to window_begins[p], graph 1 nohead dashtype 3 linecolor rgb '#6b6b6b' front
        set arrow 2 from window_ends[p], graph 0 to window_ends[p], graph 1 nohead dashtype 3 linecolor rgb '#6b6b6b' front
        plot $memory index p-1 using 1:(0):2 with filledcurves linecolor rgb colours[1] notitle, \
             $memory index p-1 using 1:2:3 with filledcurves linecolor rgb colours[2] notitle, \
             $memory index p-1 using 1:3:4 with filledcurves linecolor rgb colours[3] notitle, \
             $baseline index p-1 using 1:2 with lines linewidth 2 linecolor rgb colours[4] notitle, \
             for [s=5:nr_series] $zram index p-1 using 1:2 with lines linewidth 2 dashtype 2 linecolor rgb colours[s] notitle
        unset label
    }
    unset multiplot
    unset title
