package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"strconv"

	"github.com/go-analyze/charts"
)

// Series is one curve: points in ascending order of X.
type Series struct {
	Name string // in the legend, where a panel has several
	X, Y []float64
}

// Panel is one chart of a picture of curves.
type Panel struct {
	Title  string
	Series []Series
}

// Layout of a panel in pixels.
const (
	panelWidth, panelHeight = 600, 300
	marginLeft, marginRight = 74, 24
	marginTop, marginBottom = 44, 44
)

var (
	ink      = charts.ColorRGB(60, 60, 60)
	grid     = charts.ColorRGB(226, 228, 232)
	palette  = []charts.Color{charts.ColorRGB(38, 98, 190), charts.ColorRGB(214, 96, 36), charts.ColorRGB(40, 140, 80), charts.ColorRGB(140, 70, 160)}
	small    = charts.FontStyle{FontSize: 9, FontColor: ink, Font: charts.GetDefaultFont()}
	headline = charts.FontStyle{FontSize: 12, FontColor: ink, Font: charts.GetDefaultFont()}
)

// Curves draws panels over the same horizontal axis, two in a row. Points that
// are not finite are left out, and panels without any.
func Curves(xTitle string, panels []Panel) (image.Image, error) {
	var drawn []Panel
	last := 0.0
	for _, p := range panels {
		if p = p.finite(); len(p.Series) > 0 {
			drawn = append(drawn, p)
			for _, s := range p.Series {
				last = math.Max(last, s.X[len(s.X)-1])
			}
		}
	}
	if len(drawn) == 0 || last == 0 {
		return nil, errors.New("picture: there are no points to draw")
	}
	rows := (len(drawn) + 1) / 2
	columns := min(2, len(drawn))
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: columns * panelWidth, Height: rows * panelHeight})
	p.FilledRect(0, 0, p.Width(), p.Height(), charts.ColorWhite, charts.ColorWhite, 0)
	for i, panel := range drawn {
		panel.draw(p, i%2*panelWidth, i/2*panelHeight, xTitle, last)
	}
	encoded, err := p.Bytes()
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	return png.Decode(bytes.NewReader(encoded))
}

// finite is p without points that cannot be drawn and curves without points.
func (p Panel) finite() Panel {
	out := Panel{Title: p.Title}
	for _, s := range p.Series {
		if len(s.X) != len(s.Y) {
			panic(fmt.Sprintf("picture: Curves: %s has %d abscissas and %d values", s.Name, len(s.X), len(s.Y)))
		}
		kept := Series{Name: s.Name}
		for i, y := range s.Y {
			if !math.IsNaN(y) && !math.IsInf(y, 0) {
				kept.X, kept.Y = append(kept.X, s.X[i]), append(kept.Y, y)
			}
		}
		if len(kept.X) > 0 {
			out.Series = append(out.Series, kept)
		}
	}
	return out
}

// draw paints the panel with its upper left corner at (left, top).
func (p Panel) draw(c *charts.Painter, left, top int, xTitle string, last float64) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for _, y := range s.Y {
			low, high = math.Min(low, y), math.Max(high, y)
		}
	}
	yTicks := ticks(low, high, 5)
	low, high = math.Min(low, yTicks[0]), math.Max(high, yTicks[len(yTicks)-1])
	x0, x1 := left+marginLeft, left+panelWidth-marginRight
	y0, y1 := top+panelHeight-marginBottom, top+marginTop
	atX := func(x float64) int { return x0 + int(math.Round(x/last*float64(x1-x0))) }
	atY := func(y float64) int { return y0 - int(math.Round((y-low)/(high-low)*float64(y0-y1))) }
	width := func(text string, f charts.FontStyle) int { return c.MeasureText(text, 0, f).Width() }

	c.Text(p.Title, x0, top+24, 0, headline)
	for _, y := range yTicks {
		at, text := atY(y), figure(y)
		c.LineStroke([]charts.Point{{X: x0, Y: at}, {X: x1, Y: at}}, grid, 1)
		c.Text(text, x0-8-width(text, small), at+4, 0, small)
	}
	c.LineStroke([]charts.Point{{X: x0, Y: y0}, {X: x1, Y: y0}}, ink, 1)
	for _, x := range ticks(0, last, 6) {
		if x > last {
			break
		}
		at, text := atX(x), figure(x)
		c.LineStroke([]charts.Point{{X: at, Y: y0}, {X: at, Y: y0 + 4}}, ink, 1)
		c.Text(text, at-width(text, small)/2, y0+18, 0, small)
	}
	c.Text(xTitle, (x0+x1-width(xTitle, small))/2, y0+36, 0, small)

	legend := x1
	for i := len(p.Series) - 1; i >= 0; i-- {
		s, color := p.Series[i], palette[i%len(palette)]
		points := make([]charts.Point, len(s.X))
		for j := range points {
			points[j] = charts.Point{X: atX(s.X[j]), Y: atY(s.Y[j])}
		}
		if len(points) < 60 {
			c.Dots(points, color, color, 1, 2.2)
		}
		c.LineStroke(points, color, 1.5)
		if len(p.Series) > 1 {
			legend -= width(s.Name, small)
			c.Text(s.Name, legend, top+24, 0, small)
			c.LineStroke([]charts.Point{{X: legend - 22, Y: top + 20}, {X: legend - 6, Y: top + 20}}, color, 3)
			legend -= 36
		}
	}
}

// ticks are about n round values that span low to high.
func ticks(low, high float64, n int) []float64 {
	if !(high-low > 1e-9*math.Max(math.Abs(low), math.Abs(high))) { // flat
		pad := math.Max(math.Abs(low)*0.1, 1e-9)
		low, high = low-pad, high+pad
	}
	rough := (high - low) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, f := range []float64{1, 2, 5} {
		if f*power >= rough*0.8 {
			step = f * power
			break
		}
	}
	first := math.Floor(low/step + 1e-9)
	var list []float64
	for i := first; ; i++ {
		list = append(list, i*step)
		if i*step >= high-1e-9*step || len(list) > 4*n {
			return list
		}
	}
}

// figure writes a value on an axis.
func figure(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}
