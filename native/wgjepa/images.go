package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgjepa/data"
	"wgjepa/data/numpy"
	"wgjepa/data/volume"
)

// imageReport says what an image file is.
type imageReport struct {
	File        string         `json:"file"`
	Kind        string         `json:"kind"` // image
	Format      string         `json:"format"`
	Type        string         `json:"type"`
	Bytes       int64          `json:"bytes"`
	Channels    int            `json:"channels"`
	Size        []int          `json:"size"`
	Spacing     []float64      `json:"spacing"`
	Orientation string         `json:"orientation,omitempty"`
	Affine      *[4][4]float64 `json:"affine,omitempty"` // of volumes
	Volumes     int            `json:"volumes"`          // of a 4-D file
	Intensity   *intensities   `json:"intensity,omitempty"`
	Problem     string         `json:"problem,omitempty"` // why its pixels cannot be read
	Notes       []string       `json:"notes,omitempty"`
}

// intensities are figures of an image's finite values.
type intensities struct {
	Min         float64    `json:"min"`
	Max         float64    `json:"max"`
	Mean        float64    `json:"mean"`
	Std         float64    `json:"std"`
	Percentiles [3]float64 `json:"percentiles_1_50_99"`
	Zeros       int        `json:"zeros"`
	NonFinite   int        `json:"nonfinite"` // NaN and infinities
	Values      int        `json:"values"`
}

// percentileValues is how many values, evenly spread, the percentiles are of.
const percentileValues = 4 << 20

func intensitiesOf(v []float32) *intensities {
	r := &intensities{Values: len(v), Min: math.Inf(1), Max: math.Inf(-1)}
	finite, sum := 0, 0.0
	for _, x := range v {
		if x-x != 0 {
			r.NonFinite++
			continue
		}
		if x == 0 {
			r.Zeros++
		}
		finite++
		sum += float64(x)
		r.Min, r.Max = min(r.Min, float64(x)), max(r.Max, float64(x))
	}
	if finite == 0 {
		r.Min, r.Max = 0, 0
		return r
	}
	r.Mean = sum / float64(finite)
	squares := 0.0
	var sorted []float32
	every := max(1, len(v)/percentileValues)
	for i, x := range v {
		if x-x != 0 {
			continue
		}
		d := float64(x) - r.Mean
		squares += d * d
		if i%every == 0 {
			sorted = append(sorted, x)
		}
	}
	r.Std = math.Sqrt(squares / float64(finite))
	slices.Sort(sorted)
	for i, q := range []int{1, 50, 99} {
		if n := len(sorted); n > 0 {
			r.Percentiles[i] = float64(sorted[min(n*q/100, n-1)])
		}
	}
	return r
}

// inspectImage reads an image file: its header, then its pixels for their figures.
func inspectImage(path string) (*imageReport, error) {
	m, err := volume.Open(volume.OS, path, volume.Options{Frame: 1})
	if err != nil {
		return nil, err
	}
	h := m.Header()
	r := &imageReport{
		File: path, Kind: "image", Format: h.Format, Type: h.Type, Channels: h.Channels, Size: h.Size, Spacing: h.Spacing, Orientation: h.Orientation(),
		Volumes: h.Frames, Notes: h.Notes,
	}
	if len(h.Size) == 3 {
		r.Affine = &h.Affine
	}
	if s, err := os.Stat(path); err == nil {
		r.Bytes = s.Size()
	}
	v, err := m.Read(nil)
	if err != nil {
		r.Problem = err.Error()
		return r, nil
	}
	r.Intensity = intensitiesOf(v)
	return r, nil
}

func (r *imageReport) String() string {
	var b strings.Builder
	line := func(what, format string, a ...any) { fmt.Fprintf(&b, "%-12s %s\n", what, fmt.Sprintf(format, a...)) }
	line("format", "%s, %d bytes, stored as %s", r.Format, r.Bytes, r.Type)
	line("size", "%s, %d channels", sizeText(r.Size), r.Channels)
	if r.Volumes > 1 {
		line("volumes", "%d; what follows is of the first", r.Volumes)
	}
	if r.Affine != nil {
		line("spacing", "%s mm", spacingText(r.Spacing))
		line("orientation", "%s", r.Orientation)
		for i, row := range r.Affine[:3] {
			line(map[bool]string{true: "affine"}[i == 0], "%9.4g %9.4g %9.4g %9.4g", row[0], row[1], row[2], row[3])
		}
	}
	if i := r.Intensity; i != nil {
		line("intensity", "%.6g to %.6g, mean %.6g, deviation %.6g", i.Min, i.Max, i.Mean, i.Std)
		line("percentiles", "1 %%: %.6g, 50 %%: %.6g, 99 %%: %.6g", i.Percentiles[0], i.Percentiles[1], i.Percentiles[2])
		line("values", "%d, %.1f %% of them 0", i.Values, 100*float64(i.Zeros)/float64(max(i.Values, 1)))
		if i.NonFinite > 0 {
			line("warning", "%d values are NaN or infinite: --set data.zero_nonfinite=true reads them as 0", i.NonFinite)
		}
		if i.Min == i.Max {
			line("warning", "all values are the same")
		}
	}
	if r.Problem != "" {
		line("problem", "%s", r.Problem)
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	return b.String()
}

func sizeText(size []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(size), "[]"), " ", "×")
}

func spacingText(v []float64) string {
	var s []string
	for _, x := range v {
		s = append(s, fmt.Sprintf("%.4g", x))
	}
	return strings.Join(s, "×")
}

// arraysReport says what an .npz archive, or an .npy that is no image, is.
type arraysReport struct {
	File   string        `json:"file"`
	Kind   string        `json:"kind"` // arrays
	Format string        `json:"format"`
	Bytes  int64         `json:"bytes"`
	Arrays []arrayReport `json:"arrays"`
}

type arrayReport struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// maxArrays bounds one array of an archive, inflated; it is not read here.
const maxArrays = 1 << 42

func inspectArrays(path string) (*arraysReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &arraysReport{File: path, Kind: "arrays", Bytes: s.Size(), Format: "NPY"}
	if h, _, err := numpy.ReadHeader(f); err == nil {
		r.Arrays = []arrayReport{{filepath.Base(path), h.TypeName(), h.Shape}}
		return r, nil
	}
	r.Format = "NPZ"
	a, err := numpy.OpenArchive(f, s.Size(), maxArrays)
	if err != nil {
		return nil, err
	}
	for _, name := range a.Names() {
		h, err := a.Header(name)
		if err != nil {
			return nil, err
		}
		r.Arrays = append(r.Arrays, arrayReport{name, h.TypeName(), h.Shape})
	}
	if len(r.Arrays) == 0 {
		return nil, errors.New("an archive without arrays")
	}
	return r, nil
}

func (r *arraysReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %s, %d bytes\n", "format", r.Format, r.Bytes)
	for _, a := range r.Arrays {
		fmt.Fprintf(&b, "%-12s %s: %s (%s)\n", "array", a.Name, a.Type, strings.ReplaceAll(strings.Trim(fmt.Sprint(a.Shape), "[]"), " ", ", "))
	}
	return b.String()
}

// folderReport says what the images of a folder are.
type folderReport struct {
	File         string         `json:"file"`
	Kind         string         `json:"kind"` // folder
	Samples      int            `json:"samples"`
	Channels     int            `json:"channels"`
	Formats      map[string]int `json:"formats"`
	Sizes        map[string]int `json:"sizes"`
	Spacings     map[string]int `json:"spacings"`
	Orientations map[string]int `json:"orientations,omitempty"`
	Classes      map[string]int `json:"classes,omitempty"`
	Subjects     int            `json:"subjects"`
	VoxelLabels  int            `json:"voxel_labels"`
	Refused      []data.Refusal `json:"refused,omitempty"`
	Ignored      map[string]int `json:"ignored,omitempty"`
	Notes        []string       `json:"notes,omitempty"`
	Problem      string         `json:"problem,omitempty"` // why they are no data set as they are
	text         string
}

// inspectFolder reads the headers of the images in a folder.
func inspectFolder(path string) (*folderReport, error) {
	o := data.Options{HeadersOnly: true, SkipBad: true, Frame: 1}
	_, report, err := data.Open([]string{path}, o)
	problem := ""
	if errors.Is(err, data.ErrAxes) {
		problem = strings.TrimPrefix(err.Error(), "data: ")
		o.Dim = 3
		_, report, err = data.Open([]string{path}, o)
	}
	var differ *data.SizesError
	if errors.As(err, &differ) {
		// Any size of theirs lets the rest be told.
		if problem == "" {
			problem = strings.TrimPrefix(err.Error(), "data: ")
		}
		o.Size = slices.Repeat([]int{1}, len(differ.Sizes[0]))
		_, report, err = data.Open([]string{path}, o)
	}
	if err != nil {
		return nil, err
	}
	r := &folderReport{
		File: path, Kind: "folder", Samples: report.Samples, Channels: report.Channels, Formats: report.Formats, Sizes: report.Sizes, Spacings: report.Spacings,
		Orientations: report.Orientations, Classes: map[string]int{}, Subjects: report.Subjects, VoxelLabels: report.VoxelLabels,
		Refused: report.Refused, Ignored: report.Ignored, Notes: report.Notes, Problem: problem,
	}
	for i, c := range report.Classes {
		r.Classes[c] = report.ClassCounts[i]
	}
	r.text = folderText(report, differ != nil)
	if o.Dim != 0 {
		r.text += fmt.Sprintf("%-12s %s\n", "problem", problem)
	}
	return r, nil
}

func (r *folderReport) String() string { return r.text }

// folderText is the report of a folder in lines.
func folderText(r *data.Report, differ bool) string {
	report := *r
	report.HeaderOnly = 0
	text := report.String()
	if differ { // the size in it is ours
		_, rest, _ := strings.Cut(text, "\n")
		text = fmt.Sprintf("%d samples, %d channels, of different sizes\n%s", report.Samples, report.Channels, rest)
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if name, rest, ok := strings.Cut(l, ": "); ok && i > 0 && len(name) < 24 {
			lines[i] = fmt.Sprintf("%-12s %s", name, rest)
		}
	}
	return fmt.Sprintf("%-12s %s\n", "folder", strings.Join(lines, "\n"))
}
