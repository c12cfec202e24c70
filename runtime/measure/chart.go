package measure

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
)

// The chart's measures, in pixels. The scale is logarithmic: a ratio of 2 is as far from 1 as one of a half.
const (
	chartLabels = 120 // left of the bars
	chartWidth  = 480 // of the bars
	chartValues = 260 // right of them
	chartRow    = 28
	chartTop    = 34
	chartLeast  = 0.1 // the ratios at both ends
	chartMost   = 1000
)

// Chart draws the ratios of figures as SVG: a bar from 1 for each, and a line where it should reach.
func Chart(w io.Writer, figures []Figure) error {
	out := bufio.NewWriter(w)
	height := chartTop + chartRow*len(figures) + 8
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		chartLabels+chartWidth+chartValues, height)
	fmt.Fprintln(out, `<rect width="100%" height="100%" fill="white"/>`)
	for _, x := range []float64{chartLeast, 1, 10, 100, chartMost} {
		at := chartPlace(x)
		fmt.Fprintf(out, `<path d="M%.1f %d V%d" stroke="#ccc"/><text x="%.1f" y="16" text-anchor="middle">%g</text>`+"\n", at, chartTop-10, height-4, at, x)
	}
	for i, f := range figures {
		drawFigure(out, f, chartTop+chartRow*i)
	}
	fmt.Fprintln(out, `</svg>`)
	return out.Flush()
}

func drawFigure(w io.Writer, f Figure, y int) {
	colour := "#2a7"
	if !f.OK {
		colour = "#c63"
	}
	one, to, bar := chartPlace(1), chartPlace(f.Ratio), chartPlace(f.Bar)
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabels-8, y+14, html.EscapeString(f.Bench))
	fmt.Fprintf(w, `<rect class="ratio" x="%.1f" y="%d" width="%.1f" height="18" fill="%s"/>`, min(one, to), y, math.Abs(to-one), colour)
	fmt.Fprintf(w, `<path d="M%.1f %d v22" stroke="black" stroke-width="2"/>`, bar, y-2)
	fmt.Fprintf(w, `<text x="%d" y="%d">%.2f of %s</text>`+"\n", chartLabels+chartWidth+8, y+14, f.Ratio, html.EscapeString(f.Against))
}

// chartPlace returns where a ratio is; those beyond the ends are there.
func chartPlace(ratio float64) float64 {
	ratio = min(max(ratio, chartLeast), chartMost)
	return chartLabels + chartWidth*math.Log10(ratio/chartLeast)/math.Log10(chartMost/chartLeast)
}
