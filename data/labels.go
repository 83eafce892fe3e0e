package data

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// class returns the number of a class name.
func (c *collection) class(name string) int {
	n, ok := c.names[name]
	if !ok {
		n = len(c.names)
		c.names[name] = n
	}
	return n
}

// sortClasses renumbers classes by name: numbers by value, else alphabetically.
func (c *collection) sortClasses() {
	if len(c.names) == 0 {
		return
	}
	names := slices.Collect(maps.Keys(c.names))
	number := func(s string) (float64, bool) {
		v, err := strconv.ParseFloat(s, 64)
		return v, err == nil
	}
	sort.Slice(names, func(i, j int) bool {
		a, okA := number(names[i])
		b, okB := number(names[j])
		if okA && okB && a != b {
			return a < b
		}
		return names[i] < names[j]
	})
	to := make([]int, len(names))
	for i, n := range names {
		to[c.names[n]] = i
	}
	for i := range c.items {
		if k := c.items[i].class; k >= 0 {
			c.items[i].class = to[k]
		}
	}
	c.classes = names
}

// subfolders gives pictures the split and the class that their folders' names say:
// train/, val/, test/ first, then one folder a class.
func (c *collection) subfolders(items []item) {
	parts := func(it item) []string { return strings.Split(path.Dir(it.name), "/") }
	splits := map[string]string{"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
	defined := len(items) > 0
	for _, it := range items {
		if len(it.header.Size) != 2 {
			return
		}
		defined = defined && splits[parts(it)[0]] != ""
	}
	classes, names := true, map[string]bool{}
	for i := range items {
		dirs := parts(items[i])
		if defined {
			items[i].split = splits[dirs[0]]
			dirs = dirs[1:]
		}
		classes = classes && len(dirs) == 1 && dirs[0] != "."
		if classes {
			names[dirs[0]] = true
		}
	}
	if !classes || len(names) < 2 {
		return
	}
	for i := range items {
		items[i].class = c.class(path.Base(path.Dir(items[i].name)))
	}
}

// table is labels.csv: labels by name of file.
type table struct {
	labels map[string]string // by full name, base name or stem, as written
	used   map[string]bool
}

// table reads root/labels.csv, nil where there is none.
func (c *collection) table(root string) (*table, error) {
	name := path.Join(root, "labels.csv")
	f, err := c.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	c.report.Ignored[".csv"]--
	if c.report.Ignored[".csv"] <= 0 {
		delete(c.report.Ignored, ".csv")
	}
	r := csv.NewReader(io.LimitReader(f, 64<<20))
	r.FieldsPerRecord = -1
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", name, err)
	}
	file, label := -1, -1
	for i, h := range head {
		switch strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))) {
		case "file":
			file = i
		case "label":
			label = i
		}
	}
	if file < 0 || label < 0 {
		return nil, fmt.Errorf("data: %s: its first line must name the columns file and label, it has %q", name, head)
	}
	t := &table{map[string]string{}, map[string]bool{}}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("data: %s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		if len(row) <= max(file, label) {
			return nil, fmt.Errorf("data: %s: line %d has %d columns", name, line, len(row))
		}
		k := strings.TrimSpace(row[file])
		if _, twice := t.labels[k]; twice {
			return nil, fmt.Errorf("data: %s: line %d names %s again", name, line, k)
		}
		t.labels[k] = strings.TrimSpace(row[label])
	}
}

// take returns the label of a file by its name in the folder, its base name or its stem.
func (t *table) take(name string) (string, bool) {
	if t == nil {
		return "", false
	}
	for _, k := range []string{name, "images/" + name, path.Base(name), stem(name), stem(path.Base(name))} {
		if l, ok := t.labels[k]; ok {
			t.used[k] = true
			return l, l != ""
		}
	}
	return "", false
}

// left returns the rows that no image took.
func (t *table) left() []string {
	if t == nil {
		return nil
	}
	var left []string
	for k := range t.labels {
		if !t.used[k] {
			left = append(left, k)
		}
	}
	sort.Strings(left)
	return left
}
