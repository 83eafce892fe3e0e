package volume

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pile is a volume whose slices are pictures in files of their own.
type pile struct {
	header Header
	slices []Image
}

// OpenPile makes a volume (rows, columns, files) of grey pictures of one size, in order of
// their names, numbers in them by value: 2 before 10. A number that is left out is noted.
func OpenPile(fsys fs.FS, names []string, opt Options) (Image, error) {
	names = slices.Clone(names)
	slices.SortFunc(names, natural)
	p := &pile{}
	for i, name := range names {
		m, err := Open(fsys, name, opt)
		if err != nil {
			return nil, fmt.Errorf("slice %s: %w", path.Base(name), withoutPath(err))
		}
		h := m.Header()
		switch {
		case len(h.Size) != 2:
			return nil, fmt.Errorf("slice %s is no picture: it has %d axes", path.Base(name), len(h.Size))
		case h.Channels != 1:
			return nil, fmt.Errorf("slice %s has %d channels: slices must be grey", path.Base(name), h.Channels)
		case i == 0:
			p.header = h
		case !slices.Equal(h.Size, p.header.Size):
			return nil, fmt.Errorf("slice %s is %v, %s %v: the slices of a volume have one size", path.Base(name), h.Size, path.Base(names[0]), p.header.Size)
		case h.Type != p.header.Type:
			return nil, fmt.Errorf("slice %s is %s, %s %s: the slices of a volume have one type", path.Base(name), h.Type, path.Base(names[0]), p.header.Type)
		}
		p.slices = append(p.slices, m)
	}
	p.header.Size = append(slices.Clone(p.header.Size), len(names))
	p.header.Spacing, p.header.Affine = ones(3), Identity()
	if need, most := 4*int64(p.header.Len()), opt.maxBytes(); need > most {
		return nil, fmt.Errorf("%v voxels take %d bytes as float32, above the limit of %d", p.header.Size, need, most)
	}
	if a, b := gap(names); a != "" {
		p.header.Notes = []string{fmt.Sprintf("slices may be missing: the numbers leap from %s to %s", a, b)}
	}
	return p, nil
}

func (p *pile) Header() Header { return p.header }

func (p *pile) Read(dst []float32) ([]float32, error) {
	at, n, depth := len(dst), p.header.Len(), len(p.slices)
	dst = slices.Grow(dst, n)[:at+n]
	var one []float32
	for k, s := range p.slices {
		var err error
		if one, err = s.Read(one[:0]); err != nil {
			return dst[:at], fmt.Errorf("slice %d: %w", k+1, err)
		}
		if len(one) != n/depth {
			return dst[:at], fmt.Errorf("slice %d changed while it was used", k+1)
		}
		for i, x := range one {
			dst[at+i*depth+k] = x
		}
	}
	return dst, nil
}

// natural compares names so that runs of digits count as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), strings.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts those that s begins with.
func digits(s string) int {
	n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		return len(s)
	}
	return n
}

// gap returns two neighbours of sorted names whose last numbers are further apart than
// others are.
func gap(names []string) (before, after string) {
	var numbers []int
	for _, n := range names {
		base := strings.TrimSuffix(path.Base(n), path.Ext(n))
		at := strings.LastIndexFunc(base, func(r rune) bool { return r < '0' || r > '9' })
		v, err := strconv.Atoi(base[at+1:])
		if err != nil {
			return "", ""
		}
		numbers = append(numbers, v)
	}
	step := 0
	for i := 1; i < len(numbers); i++ {
		if d := numbers[i] - numbers[i-1]; d > 0 && (step == 0 || d < step) {
			step = d
		}
	}
	for i := 1; i < len(numbers); i++ {
		if step > 0 && numbers[i]-numbers[i-1] > step {
			return path.Base(names[i-1]), path.Base(names[i])
		}
	}
	return "", ""
}
