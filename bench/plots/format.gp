    if (format eq 'png') {
        set terminal pngcairo noenhanced size 1.6*width,1.6*height fontscale 1.2 linewidth 1.6 pointscale 1.6 font 'sans-serif,12' background rgb 'white'
        set xlabel offset 0, 0
    } else {
        set terminal svg noenhanced size width,height font 'sans-serif,12' background rgb 'white'
        # This terminal keeps more room below the numbers.
        set xlabel offset 0, 0.5
    }
    set output name.'.'.format
    unset key
    unset label
    unset object
    unset arrow
    set lmargin at screen left
    set rmargin at screen right
    set tmargin at screen top
    set bmargin at screen bottom
