    # A panel a workload: of all touches of an arm, the share that took longer.
    set grid xtics ytics
    set multiplot
    do for [p=1:nr_panels] {
        set lmargin at screen ((p-1)%columns)/real(columns) + 84.0/width
        set rmargin at screen ((p-1)%columns+1)/real(columns) - 30.0/width
        set tmargin at screen top - ((p-1)/columns)*(top-bottom)/real(lines) - 28.0/height
        set bmargin at screen top - ((p-1)/columns+1)*(top-bottom)/real(lines) + 56.0/height
        set title panel_titles[p] offset 0,-0.6 font 'sans-serif,12' textcolor rgb panel_colours[p]
        set ylabel offset 2.5, 0
        plot for [s=1:nr_series] $touches index (p-1)*nr_series+s-1 using 1:2 with steps linewidth 2 linecolor rgb colours[s] notitle
        unset label
    }
    unset multiplot
    unset title
