// Package report writes what is known of a run as one HTML page that opens
// without a network: pictures lie in it, charts are drawn as SVG, and there is
// no script.
package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"
	"image"
	"image/png"
	"io"
)

//go:embed report.html
var page string

var tmpl = template.Must(template.New("report").Parse(page))

// Report is a page.
type Report struct {
	Title    string
	Lead     string // one sentence: what was found
	Facts    []Fact
	Sections []Section
}

// Fact is a line at the top.
type Fact struct{ Name, Value string }

// Section is a heading with what stands under it, in this order.
type Section struct {
	Title    string
	Text     string // a paragraph
	Tables   []Table
	Charts   []template.HTML // SVG of this package
	Pictures []Picture
	Rows     []Row
	Code     string // shown as it is
}

// Table has a caption and columns; the first cell of a row heads it.
type Table struct {
	Caption string
	Columns []string
	Rows    [][]string
}

// Picture is an image with what it shows, for those who do not see it.
type Picture struct {
	Image   image.Image
	Alt     string
	Caption string
}

// Source is the image as a data address.
func (p Picture) Source() (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, p.Image); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// Row is pictures side by side under a line of text.
type Row struct {
	Text     string
	Pictures []Picture
}

// Write writes the page.
func (r *Report) Write(w io.Writer) error { return tmpl.Execute(w, r) }
