package data

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"wgjepa/data/volume"
)

// Report says what [Open] found.
type Report struct {
	Samples      int
	Channels     int
	Size         []int          // after preprocessing
	Formats      map[string]int // samples by format
	Sizes        map[string]int // samples by their own size, "36×50×36"
	Spacings     map[string]int // samples by spacing, "1×1×1"
	Orientations map[string]int // volumes by orientation, "RAS"
	Classes      []string       // of samples
	ClassCounts  []int          // samples of each class
	LabelColumn  string         // of the table, "" without
	Targets      int            // samples with a number to predict
	Subjects     int            // persons; as many as samples where nothing says
	SubjectsBy   string         // how they are told, "" where they are not
	Copies       [][2]string    // samples whose content another has too, each with the first of them
	VoxelLabels  int            // samples with voxel labels
	VoxelClasses int            // with the background; 0 where no label map was read yet
	Splits       map[string]int // samples of each split
	Refused      []Refusal      // files that could not be used
	Ignored      map[string]int // other files by extension
	Notes        []string       // what a person should know
	HeaderOnly   int            // files whose pixels were not read yet, because memory for samples ran out
	CachedBytes  int64          // held in memory
}

// Refusal is a file that was not used.
type Refusal struct {
	Name, Reason string
	Compressed   *volume.CompressedError // of DICOM that can be converted; nil for all else
}

// String is the report in a few lines for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d samples, %d channels, %s", r.Samples, r.Channels, sizeText(r.Size))
	table := func(title string, m map[string]int) {
		if len(m) == 0 {
			return
		}
		keys := slices.Collect(maps.Keys(m))
		sort.Slice(keys, func(i, j int) bool {
			if m[keys[i]] != m[keys[j]] {
				return m[keys[i]] > m[keys[j]]
			}
			return keys[i] < keys[j]
		})
		fmt.Fprintf(&b, "\n%s:", title)
		for i, k := range keys {
			if i == 6 {
				fmt.Fprintf(&b, " and %d more", len(keys)-i)
				break
			}
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, " %s (%d)", k, m[k])
		}
	}
	table("formats", r.Formats)
	table("sizes", r.Sizes)
	table("spacings", r.Spacings)
	table("orientations", r.Orientations)
	if len(r.Classes) > 0 {
		m := map[string]int{}
		for i, c := range r.Classes {
			m[c] = r.ClassCounts[i]
		}
		table("classes", m)
	}
	if r.Targets > 0 {
		fmt.Fprintf(&b, "\nnumbers to predict: %d samples", r.Targets)
	}
	if r.LabelColumn != "" {
		fmt.Fprintf(&b, "\nlabels: column %s", r.LabelColumn)
	}
	if r.SubjectsBy != "" {
		fmt.Fprintf(&b, "\nsubjects: %d, by %s", r.Subjects, r.SubjectsBy)
	}
	if r.VoxelLabels > 0 {
		fmt.Fprintf(&b, "\nvoxel labels: %d samples", r.VoxelLabels)
		if r.VoxelClasses > 0 {
			fmt.Fprintf(&b, ", %d classes with the background", r.VoxelClasses)
		}
	}
	table("splits", r.Splits)
	table("other files, left alone", r.Ignored)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\nnote: %s", n)
	}
	if r.HeaderOnly > 0 {
		fmt.Fprintf(&b, "\nnote: the pixels of %d files were not checked yet", r.HeaderOnly)
	}
	for _, f := range r.Refused {
		fmt.Fprintf(&b, "\nrefused: %s: %s", f.Name, f.Reason)
	}
	return b.String()
}

func sizeText(size []int) string {
	s := make([]string, len(size))
	for i, n := range size {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, "×")
}

func spacingText(spacing []float64) string {
	s := make([]string, len(spacing))
	for i, x := range spacing {
		s[i] = strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strings.Join(s, "×")
}

func (c *collection) summarise(d *dataset) {
	r := c.report
	r.Samples, r.Channels, r.Size = len(d.items), d.channels, d.size
	r.Classes, r.ClassCounts = d.classes, make([]int, len(d.classes))
	if r.HeaderOnly < len(d.items) {
		r.VoxelClasses = d.voxelClasses
	}
	subjects := map[string]bool{}
	frames, unplaced, notes := 0, 0, map[string][]string{}
	for _, it := range d.items {
		r.Formats[it.header.Format]++
		r.Sizes[sizeText(it.header.Size)]++
		r.Spacings[spacingText(it.header.Spacing)]++
		if o := it.header.Orientation(); o != "" && !slices.Contains([]string{"NPY", "NPZ", "TIFF", "phantom"}, it.header.Format) {
			r.Orientations[o]++
		}
		if it.header.Frames > 1 {
			frames++
		}
		if slices.Contains([]string{"NPY", "NPZ", "PNG", "JPEG", "TIFF"}, it.header.Format) {
			unplaced++
		}
		for _, n := range it.header.Notes {
			notes[n] = append(notes[n], it.name)
		}
		if it.class >= 0 {
			r.ClassCounts[it.class]++
		}
		subjects[it.subject] = true
		if it.voxels != nil {
			r.VoxelLabels++
		}
	}
	r.Subjects = len(subjects)
	for _, n := range slices.Sorted(maps.Keys(notes)) {
		c.note("%s: %s", some(notes[n]), n)
	}
	if frames > 0 {
		if c.opt.FramesAsChannels {
			c.note("the volumes of %d 4-D files are used as channels", frames)
		} else {
			c.note("of %d 4-D files only volume %d is used", frames, max(c.opt.Frame, 1))
		}
	}
	if unplaced > 0 && (len(c.opt.Spacing) > 0 || c.opt.Reorient) {
		c.note("%d samples come in formats that do not say their spacing and orientation: 1 mm and RAS are assumed", unplaced)
	}
	if len(r.Spacings) > 1 && len(c.opt.Spacing) == 0 {
		c.note("spacings differ: a voxel is not the same length in every file; nothing is resampled (a spacing to resample to can be set)")
	}
	if len(r.Orientations) > 1 && !c.opt.Reorient {
		c.note("orientations differ: axes are used as they are stored; nothing is reoriented (reorienting to RAS can be set)")
	}
	for name, s := range d.splits {
		r.Splits[name] = len(s)
	}
	c.copies(d)
	r.CachedBytes = c.opt.cacheBytes() - d.cache.left.Load()
}

// copies says which samples hold the same as others, and whether they lie in different
// parts of the split.
func (c *collection) copies(d *dataset) {
	list := c.report.Copies
	if len(list) == 0 {
		return
	}
	part := map[string]string{}
	for name, s := range d.splits {
		for _, i := range s {
			part[d.items[i].name] = name
		}
	}
	var text []string
	apart := 0
	for _, pair := range list {
		text = append(text, pair[0]+" = "+pair[1])
		if part[pair[0]] != part[pair[1]] {
			apart++
		}
	}
	c.note("%d samples hold the same as another: %s", len(list), some(text))
	if apart > 0 {
		c.note("%d of them lie in another part of the split than their original, so that a test measures memory too", apart)
	}
}
