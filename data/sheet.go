package data

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"wgjepa/data/volume"
)

// Bounds of a table in bytes and in fields, each of which takes memory of its own.
const (
	maxSheet  = 64 << 20
	maxFields = 1 << 22
)

// sheet is a table of text: a CSV with commas or semicolons, or a TSV.
type sheet struct {
	name string
	head []string // trimmed
	rows []sheetRow
}

type sheetRow struct {
	line   int
	fields []string // trimmed
}

// at returns a field, "" where the row is short.
func (r sheetRow) at(column int) string {
	if column >= len(r.fields) {
		return ""
	}
	return r.fields[column]
}

// Columns names the columns of a table of labels.
func Columns(name string) ([]string, error) {
	s, err := readSheet(volume.OS, name)
	if err != nil {
		return nil, err
	}
	return s.head, nil
}

// readSheet reads a table; an error of [fs.ErrNotExist] where there is none.
func readSheet(fsys fs.FS, name string) (*sheet, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	bad := func(err error) error { return fmt.Errorf("data: %s: %w", name, err) }
	text, err := io.ReadAll(io.LimitReader(f, maxSheet+1))
	switch {
	case err != nil:
		return nil, bad(err)
	case len(text) > maxSheet:
		return nil, bad(fmt.Errorf("a table of more than %d MiB", maxSheet>>20))
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, bad(errors.New("it is UTF-16: save it as CSV in UTF-8"))
	case bytes.IndexByte(text, 0) >= 0:
		return nil, bad(errors.New("it is no text: save it as CSV or TSV"))
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	first, _, _ := bytes.Cut(text, []byte("\n"))
	for _, comma := range "\t;" { // what the first line holds most of
		if bytes.Count(first, []byte{byte(comma)}) > bytes.Count(first, []byte{byte(r.Comma)}) {
			r.Comma = comma
		}
	}
	if n := bytes.Count(text, []byte{byte(r.Comma)}) + bytes.Count(text, []byte{'\n'}); n > maxFields {
		return nil, bad(fmt.Errorf("a table of more than %d fields", maxFields))
	}
	r.LazyQuotes = r.Comma == '\t' // a TSV has no quotes
	s := &sheet{name: name}
	if s.head, err = r.Read(); err == io.EOF {
		return nil, bad(errors.New("it is empty"))
	}
	for err == nil {
		var row []string
		if row, err = r.Read(); err == nil {
			line, _ := r.FieldPos(0)
			s.rows = append(s.rows, sheetRow{line, row})
		}
	}
	if err != io.EOF {
		return nil, bad(err)
	}
	clean := func(fields []string) {
		for i, f := range fields {
			if !utf8.ValidString(f) { // what is not UTF-8 is Latin-1
				wide := make([]rune, 0, len(f))
				for _, b := range []byte(f) {
					wide = append(wide, rune(b))
				}
				f = string(wide)
			}
			fields[i] = strings.TrimSpace(f)
		}
	}
	clean(s.head)
	for i := range s.rows {
		clean(s.rows[i].fields)
	}
	return s, nil
}

// column returns the first of names, in any case, that is a column; −1 where none is.
func (s *sheet) column(names ...string) int {
	for _, n := range names {
		if i := slices.IndexFunc(s.head, func(h string) bool { return strings.EqualFold(h, n) }); i >= 0 {
			return i
		}
	}
	return -1
}

// keys are names for files.
var keyColumns = []string{"file", "filename", "file_name", "name", "path", "image", "sample", "scan", "id", participantColumn}

// participantColumn names people instead of files, as BIDS has it.
const participantColumn = "participant_id"

// names finds the rows that mean a sample by a key: the sample's name, where either may
// have folders in front or lack the extension that the other has; else a folder that it
// lies in or, where the keys are people, its sub-XX.
type names struct {
	people bool
	last   map[string][]nameKey // by the last part without extension
	whole  map[string]int       // by the whole key
}

type nameKey struct {
	key string // without extension
	row int
}

func newNames(people bool) *names {
	return &names{people, map[string][]nameKey{}, map[string]int{}}
}

// tidy is a key as names of samples are written.
func tidy(key string) string {
	return strings.Trim(path.Clean("/"+strings.ReplaceAll(key, `\`, "/")), "/")
}

// add makes key mean row; it returns the row that it already means, or −1.
func (n *names) add(key string, row int) int {
	key = tidy(key)
	if n.people && !strings.HasPrefix(key, "sub-") {
		key = "sub-" + key
	}
	if old, twice := n.whole[key]; twice {
		return old
	}
	n.whole[key] = row
	s := stem(key)
	n.last[path.Base(s)] = append(n.last[path.Base(s)], nameKey{s, row})
	return -1
}

// find returns the row for a sample, −1 where there is none, and −2 where several rows
// mean it equally.
func (n *names) find(name string) int {
	if row, ok := n.whole[name]; ok {
		return row
	}
	if n.people {
		if row, ok := n.whole[bidsSubject(name)]; ok {
			return row
		}
	} else {
		s, best, found := stem(name), -1, -1
		for _, k := range n.last[path.Base(s)] {
			if !suffix(s, k.key) && !suffix(k.key, s) {
				continue
			}
			switch common := min(len(s), len(k.key)); {
			case common > best:
				best, found = common, k.row
			case common == best:
				found = -2
			}
		}
		if found != -1 {
			return found
		}
	}
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		for _, d := range []string{dir, path.Base(dir)} {
			if row, ok := n.whole[d]; ok {
				return row
			}
		}
	}
	return -1
}

// suffix says that path p ends in the parts of q.
func suffix(p, q string) bool { return p == q || strings.HasSuffix(p, "/"+q) }

// bidsSubject returns the sub-XX that begins a part of a name, "" without.
func bidsSubject(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if rest, ok := strings.CutPrefix(part, "sub-"); ok {
			end := strings.IndexFunc(rest, func(r rune) bool {
				return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '+')
			})
			if end < 0 {
				end = len(rest)
			}
			if end > 0 {
				return part[:len("sub-")+end]
			}
		}
	}
	return ""
}
