package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// inks tell groups apart, shapes too, for those who do not tell colours.
var inks = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f"}

// mark draws shape number k at (x, y).
func mark(k int, x, y float64, ink, title string) string {
	const r = 4
	var shape string
	switch k / len(inks) % 3 {
	case 1:
		shape = fmt.Sprintf(`<rect x="%.1f" y="%.1f" width="%d" height="%d"`, x-r+0.5, y-r+0.5, 2*r-1, 2*r-1)
	case 2:
		shape = fmt.Sprintf(`<path d="M%.1f %.1fl%d %dh-%dz"`, x, y-r, r+1, 2*r, 2*r+2)
	default:
		shape = fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="%d"`, x, y, r)
	}
	if title == "" {
		return shape + fmt.Sprintf(` fill="%s"/>`, ink)
	}
	name := shape[1:strings.IndexByte(shape, ' ')]
	return shape + fmt.Sprintf(` fill="%s" fill-opacity="0.75"><title>%s</title></%s>`, ink, template.HTMLEscapeString(title), name)
}

// Point is one sample of a scatter plot.
type Point struct {
	X, Y  float64
	Group int // −1: none
	Name  string
}

// Scatter draws points in equal scale on both axes; the mouse over one tells
// its name.
func Scatter(title, xName, yName string, groups []string, points []Point) template.HTML {
	const width, height, left, top = 760.0, 520.0, 46.0, 34.0
	right := 16.0
	if len(groups) > 0 {
		right = 190
	}
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, p := range points {
		lowX, highX, lowY, highY = math.Min(lowX, p.X), math.Max(highX, p.X), math.Min(lowY, p.Y), math.Max(highY, p.Y)
	}
	w, h := width-left-right, height-top-40
	scale := 0.94 * math.Min(w/math.Max(highX-lowX, 1e-12), h/math.Max(highY-lowY, 1e-12))
	x := func(v float64) float64 { return left + w/2 + scale*(v-(lowX+highX)/2) }
	y := func(v float64) float64 { return top + h/2 - scale*(v-(lowY+highY)/2) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" width="%g" role="img" aria-label="%s">`, width, height, width, template.HTMLEscapeString(title))
	fmt.Fprintf(&b, `<text x="%g" y="18">%s</text>`, left, template.HTMLEscapeString(title))
	fmt.Fprintf(&b, `<rect x="%g" y="%g" width="%g" height="%g" fill="none" class="axis"/>`, left, top, w, h)
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle" class="soft">%s</text>`, left+w/2, height-16, template.HTMLEscapeString(xName))
	fmt.Fprintf(&b, `<text transform="translate(20 %g) rotate(-90)" text-anchor="middle" class="soft">%s</text>`, top+h/2, template.HTMLEscapeString(yName))
	for _, p := range points {
		k, ink := max(p.Group, 0), "#7f7f7f"
		if p.Group >= 0 {
			ink = inks[k%len(inks)]
		}
		b.WriteString(mark(k, x(p.X), y(p.Y), ink, p.Name))
	}
	for k, name := range groups {
		at := top + 14 + 20*float64(k)
		if at > height-30 {
			break
		}
		b.WriteString(mark(k, width-right+20, at, inks[k%len(inks)], ""))
		fmt.Fprintf(&b, `<text x="%g" y="%g">%s</text>`, width-right+32, at+4, template.HTMLEscapeString(name))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// Line is a curve with intervals; NaN leaves a point out.
type Line struct {
	Name         string
	X            []float64
	Y, Low, High []float64
}

// Lines draws curves over a logarithmic horizontal axis, each point with its
// interval.
func Lines(title, xName, yName string, lines []Line) template.HTML {
	const width, height, left, right, top, bottom = 620.0, 340.0, 58.0, 150.0, 34.0, 56.0
	var xs []float64
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for i, x := range l.X {
			if math.IsNaN(l.Y[i]) {
				continue
			}
			xs = append(xs, x)
			for _, v := range []float64{l.Y[i], l.Low[i], l.High[i]} {
				if !math.IsNaN(v) {
					low, high = math.Min(low, v), math.Max(high, v)
				}
			}
		}
	}
	if len(xs) == 0 {
		return ""
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	if high-low < 1e-9 {
		low, high = low-0.5, high+0.5
	}
	first, span := math.Log(xs[0]), math.Max(math.Log(xs[len(xs)-1])-math.Log(xs[0]), 1e-9)
	x := func(v float64) float64 { return left + 14 + (width-left-right-28)*(math.Log(v)-first)/span }
	y := func(v float64) float64 { return top + 8 + (height-top-bottom-16)*(high-v)/(high-low) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" width="%g" role="img" aria-label="%s">`, width, height, width, template.HTMLEscapeString(title))
	fmt.Fprintf(&b, `<text x="%g" y="18">%s</text>`, left, template.HTMLEscapeString(title))
	for _, v := range ticks(low, high) {
		fmt.Fprintf(&b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" class="axis"/><text x="%g" y="%.1f" text-anchor="end" class="soft">%.3g</text>`, left, width-right, y(v), y(v), left-8, y(v)+4, v)
	}
	for _, v := range xs {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle" class="soft">%.4g</text>`, x(v), height-bottom+18, v)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle" class="soft">%s</text>`, left+(width-left-right)/2, height-12, template.HTMLEscapeString(xName))
	fmt.Fprintf(&b, `<text transform="translate(14 %g) rotate(-90)" text-anchor="middle" class="soft">%s</text>`, top+(height-top-bottom)/2, template.HTMLEscapeString(yName))
	for k, l := range lines {
		ink := inks[k%len(inks)]
		shift := 3 * (float64(k) - float64(len(lines)-1)/2) // intervals do not hide one another
		path := ""
		for i, v := range l.X {
			if math.IsNaN(l.Y[i]) {
				continue
			}
			command := "L"
			if path == "" {
				command = "M"
			}
			at := x(v) + shift
			path += fmt.Sprintf("%s%.1f %.1f", command, at, y(l.Y[i]))
			if !math.IsNaN(l.Low[i]) && !math.IsNaN(l.High[i]) {
				fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-opacity="0.6"/>`, at, at, y(l.Low[i]), y(l.High[i]), ink)
			}
			b.WriteString(mark(k*len(inks)+k, at, y(l.Y[i]), ink, fmt.Sprintf("%s: %.3f", l.Name, l.Y[i])))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.8"/>`, path, ink)
		at := top + 16 + 20*float64(k)
		b.WriteString(mark(k*len(inks)+k, width-right+20, at, ink, ""))
		fmt.Fprintf(&b, `<text x="%g" y="%g">%s</text>`, width-right+32, at+4, template.HTMLEscapeString(l.Name))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// ticks are round numbers between low and high.
func ticks(low, high float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/2)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= 6 {
			step *= m
			break
		}
	}
	var list []float64
	for v := math.Ceil(low/step) * step; v <= high+1e-9*step; v += step {
		list = append(list, v)
	}
	return list
}
