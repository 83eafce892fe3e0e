package data

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// tableNames are looked for in a folder of images.
var tableNames = []string{"labels.csv", "labels.tsv", "participants.tsv"}

var (
	labelColumns   = []string{"label", "class", "target", "diagnosis", "group"}
	subjectColumns = []string{"subject", "subject_id", "patient", "patient_id", participantColumn}
)

// table holds labels and subjects by name of sample.
type table struct {
	file           string
	optional       bool // found beside the images and of general use: need not fit
	labels         string
	subjects       string // their columns, "" without
	names          *names
	rows           []tableRow
	missing        []string // samples without a row
	unclear        []string // samples that several rows mean
	twice          []string // rows that were there again
	given, matched int      // samples asked for, found
}

type tableRow struct {
	key, label, subject string
	used                int
}

// folderTable reads the table that lies in a folder of images, nil where there is none.
func (c *collection) folderTable(root string) (*table, error) {
	if c.opt.Labels != "" {
		return nil, nil // the table that was named holds for all
	}
	for _, n := range tableNames {
		name := path.Join(root, n)
		t, err := c.table(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ext := path.Ext(n)
		if c.report.Ignored[ext]--; c.report.Ignored[ext] <= 0 {
			delete(c.report.Ignored, ext)
		}
		return t, nil
	}
	return nil, nil
}

// table reads one table.
func (c *collection) table(name string) (*table, error) {
	s, err := readSheet(c.fsys, name)
	if err != nil {
		return nil, err
	}
	t := &table{file: path.Base(name), optional: c.opt.Labels == "" && path.Base(name) == "participants.tsv"}
	key := s.column(keyColumns...)
	if key < 0 {
		return nil, fmt.Errorf("data: %s: no column says which image a row is about: name one file (or name, or participant_id); its columns are %s", name, strings.Join(s.head, ", "))
	}
	t.names = newNames(strings.EqualFold(s.head[key], participantColumn))
	pick := func(wanted, option string, defaults []string) (int, error) {
		if wanted == "" {
			return s.column(defaults...), nil
		}
		i := s.column(wanted)
		if i < 0 {
			return i, fmt.Errorf("data: %s: there is no column %q (%s); its columns are %s", name, wanted, option, strings.Join(s.head, ", "))
		}
		return i, nil
	}
	label, err := pick(c.opt.LabelColumn, "label_column", labelColumns)
	if err != nil {
		return nil, err
	}
	subject, err := pick(c.opt.SubjectColumn, "subject_column", subjectColumns)
	if err != nil {
		return nil, err
	}
	if label < 0 && subject < 0 {
		return nil, fmt.Errorf("data: %s: no column holds labels or subjects: call them label and subject, or say which (label_column, subject_column); its columns are %s", name, strings.Join(s.head, ", "))
	}
	if label >= 0 {
		t.labels = s.head[label]
	} else {
		c.note("%s: no label: one of its columns %s can be chosen as label_column", t.file, strings.Join(s.head, ", "))
	}
	if len(s.rows) == 0 && !t.optional {
		return nil, fmt.Errorf("data: %s: it has a head and no rows", name)
	}
	if subject >= 0 {
		t.subjects = s.head[subject]
	}
	var bad []string
	for _, r := range s.rows {
		row := tableRow{key: r.at(key)}
		if label >= 0 {
			row.label = known(r.at(label))
		}
		if subject >= 0 {
			row.subject = known(r.at(subject))
		}
		if row.key == "" {
			if row.label != "" {
				bad = append(bad, fmt.Sprintf("line %d names no image", r.line))
			}
			continue
		}
		switch old := t.names.add(row.key, len(t.rows)); {
		case old < 0:
			t.rows = append(t.rows, row)
		case t.rows[old].label != row.label || t.rows[old].subject != row.subject:
			bad = append(bad, fmt.Sprintf("line %d names %s again and says otherwise (%q, before %q)", r.line, row.key, row.label+" "+row.subject, t.rows[old].label+" "+t.rows[old].subject))
		default:
			t.twice = append(t.twice, row.key)
		}
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("data: %s: %d rows cannot be used:\n  %s", name, len(bad), strings.Join(firstOf(bad), "\n  "))
	}
	return t, nil
}

// known is a field of a table, "" where it says that nothing is known.
func known(field string) string {
	switch strings.ToLower(field) {
	case "n/a", "na", "nan":
		return ""
	}
	return field
}

// firstOf cuts a long list of problems.
func firstOf(list []string) []string {
	const most = 10
	if len(list) > most {
		return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	return list
}

// take gives an item what its row says.
func (t *table) take(it *item) {
	t.given++
	row := t.names.find(it.name)
	switch {
	case row == -2:
		t.unclear = append(t.unclear, it.name)
	case row < 0:
		t.missing = append(t.missing, it.name)
	default:
		r := &t.rows[row]
		r.used++
		t.matched++
		if t.labels != "" {
			it.label, it.tabled = r.label, true
		}
		it.subject = r.subject
	}
}

// settle says what did not fit; an error where nothing fits.
func (c *collection) settle(t *table) error {
	var left, shared []string
	for _, r := range t.rows {
		switch {
		case r.used == 0:
			left = append(left, r.key)
		case r.used > 1 && !t.names.people:
			shared = append(shared, r.key)
		}
	}
	if t.matched == 0 && t.given > 0 && !t.optional {
		return fmt.Errorf("data: %s: none of its %d names (%s) is that of one of the %d images (%s): names are compared without extension, folders where both have them", t.file, len(t.rows), some(left), t.given, some(append(t.missing, t.unclear...)))
	}
	var parts []string
	say := func(one, many string, list []string) {
		if len(list) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", counted(len(list), one, many), some(list)))
		}
	}
	say("row names no image", "rows name no image", left)
	say("image has no row", "images have no row", t.missing)
	say("image is meant by several rows and got none", "images are meant by several rows and got none", t.unclear)
	say("row names several images", "rows name several images", shared)
	say("row is there twice", "rows are there twice", t.twice)
	if len(parts) > 0 {
		c.note("%s: %s", t.file, strings.Join(parts, "; "))
	}
	switch column := t.labels; {
	case column == "":
	case c.report.LabelColumn == "", c.report.LabelColumn == column:
		c.report.LabelColumn = column
	default:
		c.report.LabelColumn += ", " + column
	}
	if t.subjects != "" {
		c.subjectColumn = t.subjects + " of " + t.file
	}
	return nil
}

// counted is a number of things.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// LabelKind says what labels are.
type LabelKind string

const (
	LabelAuto   LabelKind = "auto"   // numbers where a table has fractions or more than 20 different numbers, else classes (default)
	LabelClass  LabelKind = "class"  // names of classes
	LabelNumber LabelKind = "number" // what is to be predicted is a number
)

// mostClasses that numbers of a table may make before they are taken as quantities.
const mostClasses = 20

// resolve turns the text of labels into classes or numbers.
func (c *collection) resolve() error {
	kind := c.opt.LabelKind
	if kind == "" || kind == LabelAuto {
		kind = LabelClass
		seen, fraction := map[string]bool{}, false
		for _, it := range c.items {
			if it.label == "" {
				continue
			}
			x, err := strconv.ParseFloat(it.label, 64)
			if err != nil || !it.tabled {
				seen = nil
				break
			}
			seen[it.label] = true
			fraction = fraction || x != math.Trunc(x)
		}
		if len(seen) > mostClasses || fraction && len(seen) > 2 {
			kind = LabelNumber
			c.note("labels are taken as numbers, not as classes (%d different); label_kind says which", len(seen))
		}
	}
	var bad []string
	for i := range c.items {
		it := &c.items[i]
		switch {
		case it.label == "":
		case kind == LabelClass:
			it.class = c.class(it.label)
		default:
			x, err := strconv.ParseFloat(it.label, 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				bad = append(bad, fmt.Sprintf("%s: %q", it.name, it.label))
				continue
			}
			it.target, it.hasTarget = x, true
			c.report.Targets++
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("data: labels are to be numbers, but %d are not; mend them, or use them as classes:\n  %s", len(bad), strings.Join(firstOf(bad), "\n  "))
	}
	return nil
}
