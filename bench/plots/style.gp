# Text is taken as it is: a workload's name has underscores.
set encoding utf8
set border 3 linecolor rgb '#6b6b6b' linewidth 1
set tics nomirror out scale 0.6 font 'sans-serif,11'
set xlabel font 'sans-serif,11' textcolor rgb '#222222'
set ylabel font 'sans-serif,11' textcolor rgb '#222222'
set grid xtics linecolor rgb '#d0d0d0' linewidth 0.7 dashtype 1, linecolor rgb '#e8e8e8' linewidth 0.5
set style fill solid 1.0 noborder
set bars 0.6
