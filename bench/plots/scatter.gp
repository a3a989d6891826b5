    # A mark a run.
    set grid xtics ytics
    set bmargin at screen bottom + 62.0 / height
    plot $points using 1:2:3:4 with points pointsize 1.2 linewidth 1.6 pointtype variable linecolor rgb variable notitle
