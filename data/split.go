package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// SplitPlan divides samples where their source does not.
type SplitPlan struct {
	// Val and Test are shares below 1, or numbers of samples from 1. Subjects are not
	// divided, so that numbers are met as nearly as whole subjects allow.
	Val, Test float64
	// ByOrder takes the last samples, in the order in which they were found (files by
	// name), as test and those before as
	// val; otherwise membership depends on Seed and the subject's name, which is the
	// sample's where subjects are not known.
	ByOrder bool
	// Mixed leaves the classes as chance has them; otherwise each part gets its share of
	// each class. It has no meaning with ByOrder.
	Mixed bool
	Seed  uint64
}

// DefaultSplit is used where Options say nothing.
var DefaultSplit = SplitPlan{Val: 0.15, Test: 0.15}

// SubjectSource says how samples of one person are told.
type SubjectSource string

const (
	SubjectAuto   SubjectSource = "auto"   // by the table, else sub-XX in the name, else the patient or study of DICOM files (default)
	SubjectTable  SubjectSource = "table"  // by the column of the table
	SubjectBIDS   SubjectSource = "bids"   // by sub-XX in the name
	SubjectFolder SubjectSource = "folder" // by the folder that a sample lies in
	SubjectNone   SubjectSource = "none"   // each sample is a person
)

// unused is the split of samples that take no part.
const unused = "none"

var splitNames = map[string]string{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test", "none": unused, "": unused}

// findSubjects gives each item the name of its subject.
func (c *collection) findSubjects() error {
	from := c.opt.Subjects
	var without []string
	patients, studies := map[uint64]string{}, map[uint64]string{} // the first sample of each
	for _, it := range c.items {
		if p := it.header.Patient; p != 0 && patients[p] == "" {
			patients[p] = it.name
		}
		if s := it.header.Study; s != 0 && studies[s] == "" {
			studies[s] = it.name
		}
	}
	anonymous := len(patients) == 1 && len(c.items) > 1
	tables, bids, patient, study := 0, 0, 0, 0
	for i := range c.items {
		it := &c.items[i]
		tabled := it.subject
		it.subject = ""
		if (from == "" || from == SubjectAuto || from == SubjectTable) && tabled != "" {
			it.subject = tabled
			tables++
		} else if s := bidsSubject(it.name); s != "" && (from == "" || from == SubjectAuto || from == SubjectBIDS) {
			it.subject = s
			bids++
		} else if p := it.header.Patient; p != 0 && !anonymous && (from == "" || from == SubjectAuto) {
			it.subject = patients[p] // its name says nothing of the person
			patient++
		} else if s := it.header.Study; s != 0 && len(studies) > 1 && (from == "" || from == SubjectAuto) {
			it.subject = studies[s] // a study is of one person, whatever was done to the IDs
			study++
		} else if dir := path.Dir(it.name); from == SubjectFolder && dir != "." {
			it.subject = dir
		}
		if it.subject == "" {
			without = append(without, it.name)
			it.subject = it.name
		}
	}
	switch n := len(without); {
	case from == SubjectTable && tables == 0:
		return fmt.Errorf("data: no table says whose the samples are: name a table that has a column subject, or its column (subject_column)")
	case from == SubjectBIDS && bids == 0:
		return fmt.Errorf("data: no name has a part sub-XX (%s): subjects cannot be told by names", some(without))
	case n > 0 && n < len(c.items):
		c.note("%d samples are each taken as a subject of their own, since nothing says whose they are: %s", n, some(without))
	}
	if anonymous && tables+bids == 0 && (from == "" || from == SubjectAuto) {
		what := "sample"
		if study > 0 {
			what = "study"
		}
		c.note("all DICOM files have the same patient's ID, as after anonymisation: each %s is taken as a subject of its own; subject_from = folder, or a table, can say better", what)
	}
	var sources []string
	if tables > 0 {
		sources = append(sources, "column "+c.subjectColumn)
	}
	if bids > 0 {
		sources = append(sources, "sub-XX in the name")
	}
	if patient > 0 {
		sources = append(sources, "patients of the DICOM files")
	}
	if study > 0 {
		sources = append(sources, "studies of the DICOM files")
	}
	if from == SubjectFolder {
		sources = append(sources, "folders")
	}
	c.report.SubjectsBy = strings.Join(sources, ", ")
	return nil
}

// splitKey is what a subject's chance in the split depends on: the seed and its name.
func splitKey(subject string, seed uint64) uint64 {
	h := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte(subject), seed))
	return binary.LittleEndian.Uint64(h[:])
}

// group is the samples of one subject.
type group struct {
	items []int
	key   uint64
	class int // the most frequent, −1 without
}

// groups of the items, in order of their first.
func groups(items []item, seed uint64) []group {
	at := map[string]int{}
	var list []group
	for i, it := range items {
		s := cmp.Or(it.subject, it.name)
		g, ok := at[s]
		if !ok {
			g = len(list)
			at[s] = g
			list = append(list, group{key: splitKey(s, seed)})
		}
		list[g].items = append(list[g].items, i)
	}
	for i := range list {
		count := map[int]int{}
		for _, k := range list[i].items {
			count[items[k].class]++
		}
		list[i].class = slices.MaxFunc(slices.Sorted(maps.Keys(count)), func(a, b int) int { return cmp.Compare(count[a], count[b]) })
	}
	return list
}

// split divides the items as their source says, or as the plan.
func split(items []item, plan SplitPlan) map[string][]int {
	splits := map[string][]int{}
	if slices.ContainsFunc(items, func(it item) bool { return it.split != "" }) {
		for i, it := range items {
			s := cmp.Or(it.split, "train")
			if s != unused {
				splits[s] = append(splits[s], i)
			}
		}
		return splits
	}
	n := len(items)
	number := func(share float64) int {
		if share < 1 {
			share = math.Round(share * float64(n))
		}
		return min(int(share), n)
	}
	test := number(plan.Test)
	val := min(number(plan.Val), n-test)
	all := groups(items, plan.Seed)
	var strata [][]group
	if plan.ByOrder {
		strata = [][]group{all}
	} else {
		// A subject's place depends on its own name only, so adding files moves few others.
		slices.SortStableFunc(all, func(a, b group) int { return cmp.Compare(a.key, b.key) })
		byClass := map[int][]group{}
		for _, g := range all {
			class := g.class
			if plan.Mixed {
				class = -1
			}
			byClass[class] = append(byClass[class], g)
		}
		for _, class := range slices.Sorted(maps.Keys(byClass)) {
			strata = append(strata, byClass[class])
		}
	}
	sizes := make([]int, len(strata))
	for i, s := range strata {
		for _, g := range s {
			sizes[i] += len(g.items)
		}
	}
	tests := apportion(test, sizes)
	rest := slices.Clone(sizes)
	for i := range rest {
		rest[i] -= tests[i]
	}
	vals := apportion(val, rest)
	for i, s := range strata {
		s, last := fromEnd(s, tests[i])
		splits["test"] = append(splits["test"], last...)
		s, last = fromEnd(s, vals[i])
		splits["val"] = append(splits["val"], last...)
		_, last = fromEnd(s, n)
		splits["train"] = append(splits["train"], last...)
	}
	for _, s := range splits {
		slices.Sort(s)
	}
	return splits
}

// apportion divides n among parts of the given sizes in proportion: whole shares first,
// then one more to those with the largest remainders.
func apportion(n int, sizes []int) []int {
	total := 0
	for _, s := range sizes {
		total += s
	}
	out, order := make([]int, len(sizes)), make([]int, len(sizes))
	if total == 0 {
		return out
	}
	left := n
	for i, s := range sizes {
		order[i] = i
		out[i] = n * s / total
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(n*sizes[b]%total, n*sizes[a]%total) })
	for _, i := range order[:left] {
		out[i]++
	}
	return out
}

// fromEnd takes whole groups from the end until their samples are as near to n as they
// come.
func fromEnd(groups []group, n int) (before []group, items []int) {
	for len(groups) > 0 {
		g := groups[len(groups)-1]
		if over := len(items) + len(g.items) - n; over > 0 && over >= n-len(items) {
			break
		}
		items = append(items, g.items...)
		groups = groups[:len(groups)-1]
	}
	return groups, items
}

// readSplits gives items the part that the splits file says.
func (c *collection) readSplits(name string) error {
	s, err := readSheet(c.fsys, name)
	if err != nil {
		return err
	}
	key, part := s.column(keyColumns...), s.column("split", "set", "part")
	if key < 0 || part < 0 {
		return fmt.Errorf("data: %s: its first line must name the columns name and split; it has %s", name, strings.Join(s.head, ", "))
	}
	n := newNames(strings.EqualFold(s.head[key], participantColumn))
	var bad []string
	for i, r := range s.rows {
		value := r.at(part)
		if _, ok := splitNames[strings.ToLower(value)]; !ok {
			bad = append(bad, fmt.Sprintf("line %d: %q is not train, val, test or none", r.line, value))
		}
		if old := n.add(r.at(key), i); old >= 0 && s.rows[old].at(part) != value {
			bad = append(bad, fmt.Sprintf("line %d puts %s into %q, before %q", r.line, r.at(key), value, s.rows[old].at(part)))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("data: %s: %d rows cannot be used:\n  %s", name, len(bad), strings.Join(firstOf(bad), "\n  "))
	}
	var missing []string
	used := make([]bool, len(s.rows))
	for i := range c.items {
		it := &c.items[i]
		it.split = unused
		if row := n.find(it.name); row >= 0 {
			used[row] = true
			it.split = splitNames[strings.ToLower(s.rows[row].at(part))]
		} else {
			missing = append(missing, it.name)
		}
	}
	if len(missing) == len(c.items) {
		return fmt.Errorf("data: %s: none of its %d names is that of one of the %d samples (%s)", name, len(s.rows), len(c.items), some(missing))
	}
	if len(missing) > 0 {
		c.note("%s: %d samples are not in it and take no part: %s", path.Base(name), len(missing), some(missing))
	}
	var left []string
	for i, r := range s.rows {
		if !used[i] && n.whole[tidy(r.at(key))] == i {
			left = append(left, r.at(key))
		}
	}
	if len(left) > 0 {
		c.note("%s: %d rows name no sample: %s", path.Base(name), len(left), some(left))
	}
	return nil
}

// leaks finds subjects that lie in several parts, which only a source's own split can do.
func (c *collection) leaks(d *dataset) error {
	in := map[string]string{}
	var both []string
	for _, part := range []string{"train", "val", "test"} {
		for _, i := range d.splits[part] {
			s := cmp.Or(d.items[i].subject, d.items[i].name)
			if old, ok := in[s]; ok && old != part && !slices.Contains(both, s) {
				both = append(both, s)
			}
			in[s] = part
		}
	}
	if len(both) == 0 {
		return nil
	}
	if c.opt.Splits != "" {
		return fmt.Errorf("data: %s: %d subjects lie in several parts, so that a test would measure memory: %s; mend the file, or say that samples are not told by subject (subject_from none)", c.opt.Splits, len(both), some(both))
	}
	c.note("%d subjects lie in several parts of the split that the data come with, so that a test measures memory too: %s", len(both), some(both))
	return nil
}

// WriteSplits writes a CSV with the columns name, subject, class and split of all
// samples, as [Options.Splits] reads it back.
func WriteSplits(w io.Writer, ds Dataset) error {
	parts := make([]string, ds.Len())
	for _, part := range []string{"train", "val", "test"} {
		for _, i := range ds.Split(part) {
			parts[i] = part
		}
	}
	out := csv.NewWriter(w)
	out.Write([]string{"name", "subject", "class", "split"})
	for i := range ds.Len() {
		class := ""
		if k, ok := ds.Label(i); ok {
			class = ds.Classes()[k]
		} else if x, ok := ds.Target(i); ok {
			class = strconv.FormatFloat(x, 'g', -1, 64)
		}
		out.Write([]string{ds.Name(i), ds.Subject(i), class, cmp.Or(parts[i], unused)})
	}
	out.Flush()
	return out.Error()
}
