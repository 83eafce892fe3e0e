package embed

import (
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"wgjepa/data"
	"wgjepa/data/numpy"
	"wgjepa/internal/atomicfile"
)

// Table is what a complete table holds: a row a sample, or with Patches a row a patch.
type Table struct {
	Patches func(sample int) []int // the grid of each sample's patches; nil for a row a sample
	ds      data.Dataset
	// What is known of the samples, and has a column therefore.
	subjects, classes, targets bool
}

// NewTable is a table of a row a sample.
func NewTable(ds data.Dataset) Table {
	t := Table{ds: ds, classes: len(ds.Classes()) > 0}
	for i := 0; i < ds.Len() && !(t.subjects && t.targets); i++ {
		_, ok := ds.Target(i)
		t.targets = t.targets || ok
		t.subjects = t.subjects || ds.Subject(i) != ds.Name(i)
	}
	return t
}

// ID is what is known of a sample.
type ID struct {
	Name    string
	Subject string   // whose sample it is
	Class   *string  // nil without
	Target  *float64 // the number that is to be predicted; nil without
}

// ID says what is known of sample i.
func (t Table) ID(i int) ID {
	id := ID{Name: t.ds.Name(i), Subject: t.ds.Subject(i)}
	if c, ok := t.ds.Label(i); ok {
		id.Class = &t.ds.Classes()[c]
	}
	if v, ok := t.ds.Target(i); ok {
		id.Target = &v
	}
	return id
}

// head names the columns of identifiers.
func (t Table) head() []string {
	list := []string{"name"}
	for _, c := range []struct {
		name string
		has  bool
	}{{"subject", t.subjects}, {"class", t.classes}, {"target", t.targets}} {
		if c.has {
			list = append(list, c.name)
		}
	}
	return list
}

// cells appends the columns of identifiers.
func (t Table) cells(dst []string, id ID) []string {
	dst = append(dst, id.Name)
	if t.subjects {
		dst = append(dst, id.Subject)
	}
	if t.classes {
		class := ""
		if id.Class != nil {
			class = *id.Class
		}
		dst = append(dst, class)
	}
	if t.targets {
		target := ""
		if id.Target != nil {
			target = strconv.FormatFloat(*id.Target, 'g', -1, 64)
		}
		dst = append(dst, target)
	}
	return dst
}

// Row is one row, and what it is of.
type Row struct {
	ID
	Patch  []int // its place on the sample's grid; nil for a row a sample
	Values []float32
}

// each reads the rows of a complete partial table in order. A row is valid until the next.
func (t Table) each(p *Partial, use func(Row) error) error {
	next, err := p.Reader()
	if err != nil {
		return err
	}
	return p.Each(func(i int) error {
		row := Row{ID: t.ID(i)}
		read := func() (err error) {
			if row.Values, err = next(); err != nil {
				return err
			}
			return use(row)
		}
		if t.Patches == nil {
			return read()
		}
		grid := t.Patches(i)
		row.Patch = make([]int, len(grid))
		return everyPlace(grid, row.Patch, read)
	})
}

// everyPlace counts at through all places of a grid, the last axis fastest.
func everyPlace(grid, at []int, do func() error) error {
	for {
		if err := do(); err != nil {
			return err
		}
		a := len(grid) - 1
		for ; a >= 0; a-- {
			if at[a]++; at[a] < grid[a] {
				break
			}
			at[a] = 0
		}
		if a < 0 {
			return nil
		}
	}
}

// IDsFile is the name of the table of identifiers beside an .npy file.
func IDsFile(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".ids.csv" }

// FinishNPY makes a complete partial table the file FILE.npy: float32, (n, W), or with patches
// (n, P, D), and the names of its rows FILE.ids.csv.
func (t Table) FinishNPY(p *Partial) error {
	shape := []int{int(p.Rows()), p.state.Width}
	if t.Patches != nil {
		n := t.ds.Len() - len(p.Skipped())
		shape = []int{n, int(p.Rows()) / max(n, 1), p.state.Width}
	}
	if err := p.w.Flush(); err != nil {
		return p.advice(err)
	}
	ids := IDsFile(p.path)
	tmp := p.path + ".part.csv"
	var written []int
	if err := p.Each(func(i int) error { written = append(written, i); return nil }); err != nil {
		return err
	}
	if err := atomicfile.Write(tmp, func(w io.Writer) error { return t.WriteIDs(w, written) }); err != nil {
		return p.advice(err)
	}
	if _, err := p.f.WriteAt(numpy.Float32Header(shape...), 0); err != nil {
		return err
	}
	if err := errors.Join(p.f.Sync(), p.f.Close()); err != nil {
		return err
	}
	p.f = nil
	// An array beside names always belongs to them.
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, ids); err != nil {
		return err
	}
	if err := os.Rename(p.numbers(), p.path); err != nil {
		return err
	}
	return RemovePartial(p.path)
}

// WriteIDs writes the table of identifiers beside an .npy file whose rows are of these samples.
func (t Table) WriteIDs(w io.Writer, samples []int) error {
	out := csv.NewWriter(w)
	if err := out.Write(append([]string{"row"}, t.head()...)); err != nil {
		return err
	}
	for row, i := range samples {
		if err := out.Write(t.cells([]string{strconv.Itoa(row)}, t.ID(i))); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// RowWriter writes a table of one format.
type RowWriter interface {
	Write(Row) error
	Close() error
}

// Finish makes a complete partial table the file at its path, as the writer that open makes
// writes it.
func (t Table) Finish(p *Partial, open func(io.Writer) (RowWriter, error)) error {
	err := atomicfile.Write(p.path, func(w io.Writer) error {
		rows, err := open(w)
		if err != nil {
			return err
		}
		return errors.Join(t.each(p, rows.Write), rows.Close())
	})
	if err != nil {
		return p.advice(err)
	}
	if err := p.f.Close(); err != nil {
		return err
	}
	p.f = nil
	return RemovePartial(p.path)
}

// csvWriter writes columns name, what else is known of the samples, the place of the patch where
// rows are patches (i, j, k along the axes), and z0, z1, ….
type csvWriter struct {
	w       *csv.Writer
	table   Table
	cells   []string
	started bool
}

// CSV writes rows as text.
func (t Table) CSV(w io.Writer) (RowWriter, error) {
	return &csvWriter{w: csv.NewWriter(w), table: t}, nil
}

func (c *csvWriter) Write(r Row) error {
	if !c.started {
		c.started = true
		head := append(c.table.head(), []string{"i", "j", "k"}[:len(r.Patch)]...)
		for i := range r.Values {
			head = append(head, "z"+strconv.Itoa(i))
		}
		if err := c.w.Write(head); err != nil {
			return err
		}
	}
	c.cells = c.table.cells(c.cells[:0], r.ID)
	for _, i := range r.Patch {
		c.cells = append(c.cells, strconv.Itoa(i))
	}
	for _, v := range r.Values {
		c.cells = append(c.cells, strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	return c.w.Write(c.cells)
}

func (c *csvWriter) Close() error {
	c.w.Flush()
	return c.w.Error()
}
