package data

import (
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
	defined := len(items) > 0
	for _, it := range items {
		if len(it.header.Size) != 2 {
			return
		}
		part := splitNames[parts(it)[0]]
		defined = defined && part != "" && part != unused
	}
	classes, names := true, map[string]bool{}
	for i := range items {
		dirs := parts(items[i])
		if defined {
			items[i].split = splitNames[dirs[0]]
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
		items[i].label = path.Base(path.Dir(items[i].name))
	}
}
