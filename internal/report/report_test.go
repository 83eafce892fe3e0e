package report

import (
	"bytes"
	"encoding/xml"
	"html/template"
	"image"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReportStandsAlone(t *testing.T) {
	r := &Report{
		Title: "Run <b>", Lead: "It & learnt.", Facts: []Fact{{"data", "3 samples"}},
		Sections: []Section{{
			Title: "All", Text: "text", Code: "a < b",
			Tables:   []Table{{Caption: "scores", Columns: []string{"", "trained"}, Rows: [][]string{{"AUC", "0.9"}}}},
			Pictures: []Picture{{image.NewGray(image.Rect(0, 0, 2, 2)), "two by two", "a caption"}},
			Rows:     []Row{{"near", []Picture{{image.NewGray(image.Rect(0, 0, 1, 1)), "one", "<script>"}}}},
			Charts:   []template.HTML{Scatter("map", "x", "y", []string{"a"}, []Point{{1, 2, 0, "</title><script>"}, {2, 1, -1, ""}})},
		}},
	}
	var b bytes.Buffer
	require.NoError(t, r.Write(&b))
	text := b.String()
	require.Contains(t, text, "data:image/png;base64,")
	require.Contains(t, text, "Run &lt;b&gt;")
	require.Contains(t, text, `alt="two by two"`)
	for _, word := range []string{"<script", "http://", "https://", "src=\"#"} {
		require.NotContains(t, text, word, "nothing is loaded and no name of a file becomes markup")
	}
}

// TestChartsAreXML parses what the charts draw, names of any kind included.
func TestChartsAreXML(t *testing.T) {
	nan := math.NaN()
	groups := make([]string, 30)
	var points []Point
	for k := range groups {
		groups[k] = "g<&\""
		points = append(points, Point{float64(k), float64(k % 7), k, "a<b>&"})
	}
	for _, chart := range []template.HTML{
		Scatter("t<", "x", "y", groups, points),
		Scatter("one point", "x", "y", nil, []Point{{3, 3, -1, "p"}}),
		Lines("curve", "samples", "AUC", []Line{
			{"trained", []float64{10, 100, 1000}, []float64{0.5, nan, 0.9}, []float64{0.4, nan, 0.85}, []float64{0.6, nan, 0.95}},
			{"flat", []float64{10}, []float64{0.5}, []float64{0.5}, []float64{0.5}},
			{"no interval", []float64{10}, []float64{0.7}, []float64{nan}, []float64{nan}},
		}),
		Lines("same", "x", "y", []Line{{"a", []float64{1}, []float64{2}, []float64{2}, []float64{2}}}),
	} {
		require.NotContains(t, string(chart), "NaN")
		require.NotContains(t, string(chart), "Inf")
		d := xml.NewDecoder(strings.NewReader(string(chart)))
		for {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err, chart)
		}
	}
	require.Empty(t, Lines("none", "x", "y", []Line{{"a", []float64{1}, []float64{nan}, []float64{nan}, []float64{nan}}}))
}

func TestTicks(t *testing.T) {
	require.InDeltaSlice(t, []float64{0.4, 0.5, 0.6, 0.7, 0.8}, ticks(0.38, 0.83), 1e-9)
	require.InDeltaSlice(t, []float64{-1, 0, 1}, ticks(-1.2, 1.3), 1e-9)
}
