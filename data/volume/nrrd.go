package volume

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// nrrdTypes by the names of https://teem.sourceforge.net/nrrd/format.html.
var nrrdTypes = map[string]scalar{
	"signed char": int8s, "int8": int8s, "int8_t": int8s,
	"uchar": uint8s, "unsigned char": uint8s, "uint8": uint8s, "uint8_t": uint8s,
	"short": int16s, "short int": int16s, "signed short": int16s, "signed short int": int16s, "int16": int16s, "int16_t": int16s,
	"ushort": uint16s, "unsigned short": uint16s, "unsigned short int": uint16s, "uint16": uint16s, "uint16_t": uint16s,
	"int": int32s, "signed int": int32s, "int32": int32s, "int32_t": int32s,
	"uint": uint32s, "unsigned int": uint32s, "uint32": uint32s, "uint32_t": uint32s,
	"longlong": int64s, "long long": int64s, "long long int": int64s, "signed long long": int64s, "signed long long int": int64s, "int64": int64s, "int64_t": int64s,
	"ulonglong": uint64s, "unsigned long long": uint64s, "unsigned long long int": uint64s, "uint64": uint64s, "uint64_t": uint64s,
	"float": float32s, "double": float64s,
}

// nrrdEncodings by all their names.
var nrrdEncodings = map[string]string{
	"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2", "txt": "text", "text": "text", "ascii": "text",
}

// maxText bounds the header of a format whose header is text.
const maxText = 64 << 10

// textHeader reads lines until stop says that one was the last, and returns the bytes
// that were used.
func textHeader(r *bufio.Reader, line func(string) (stop bool, err error)) (int64, error) {
	used := int64(0)
	for {
		b, err := r.ReadSlice('\n')
		used += int64(len(b))
		if err == bufio.ErrBufferFull || used > maxText {
			return 0, errors.New("its text header does not end: damaged")
		}
		if err != nil && len(b) == 0 {
			return used, nil // the file ends with its header: the data lie elsewhere
		}
		stop, e := line(strings.TrimRight(string(b), "\r\n"))
		if e != nil || stop || err != nil {
			return used, e
		}
	}
}

func openNRRD(fsys fs.FS, name string, r *bufio.Reader, opt Options) (Image, error) {
	field := map[string]string{}
	blank := false
	used, err := textHeader(r, func(s string) (bool, error) {
		if s == "" {
			blank = true
			return true, nil
		}
		if strings.HasPrefix(s, "#") || strings.HasPrefix(s, "NRRD000") {
			return false, nil
		}
		if k, v, ok := strings.Cut(s, ": "); ok && !strings.Contains(k, ":=") {
			k = strings.ToLower(strings.TrimSpace(k))
			k = strings.ReplaceAll(k, " ", "")
			if k == "datafile" && strings.HasPrefix(strings.TrimSpace(v), "LIST") {
				return false, errors.New("NRRD: its data lie in a list of files, which is not read: save it as one file")
			}
			field[k] = strings.TrimSpace(v)
			return false, nil
		}
		if k, v, ok := strings.Cut(s, ":="); ok {
			// A key of its own, but old writers put skips so and readers obey.
			if k = strings.ReplaceAll(k, " ", ""); k == "byteskip" || k == "lineskip" {
				field[k] = strings.TrimSpace(v)
			}
			return false, nil
		}
		return false, fmt.Errorf("NRRD header: %.40q is neither a field nor a key", s)
	})
	if err != nil {
		return nil, err
	}
	b := &block{fsys: fsys, file: name, before: used}
	if err := nrrd(b, field, opt); err != nil {
		return nil, fmt.Errorf("NRRD header: %w", err)
	}
	if data, ok := field["datafile"]; ok {
		if strings.Contains(data, "%") {
			return nil, errors.New("NRRD: its data lie in a series of files, which is not read: save it as one file")
		}
		if b.file, err = beside(name, data); err != nil {
			return nil, err
		}
		b.before = 0
	} else if !blank {
		return nil, errors.New("NRRD header without data: it ends without an empty line and names no data file")
	}
	if err := b.check(opt); err != nil {
		return nil, err
	}
	return b, nil
}

// nrrd fills in what the fields say.
func nrrd(b *block, field map[string]string, opt Options) error {
	axes, err := strconv.Atoi(field["dimension"])
	if err != nil || axes < 1 || axes > 16 {
		return fmt.Errorf("dimension %.20q must be 1 to 16", field["dimension"])
	}
	dim := make([]int, axes)
	sizes := strings.Fields(field["sizes"])
	if len(sizes) != axes {
		return fmt.Errorf("%d sizes for %d axes", len(sizes), axes)
	}
	for i, s := range sizes {
		if dim[i], err = strconv.Atoi(s); err != nil || dim[i] < 1 || dim[i] > 1<<31-1 {
			return fmt.Errorf("axis %d has length %.20q", i+1, s)
		}
	}
	vectors, err := nrrdVectors(field["spacedirections"], axes)
	if err != nil {
		return err
	}
	spacings := strings.Fields(field["spacings"])
	if len(spacings) != axes && len(spacings) != 0 {
		return fmt.Errorf("%d spacings for %d axes", len(spacings), axes)
	}
	// Which axes are of space and which of channels or frames.
	kinds := strings.Fields(field["kinds"])
	var space []int
	inner, outer, vector := 1, 1, false
	for i, n := range dim {
		kind := ""
		if i < len(kinds) {
			kind = strings.ToLower(kinds[i])
		}
		other := vectors != nil && vectors[i] == nil ||
			kind != "" && !slices.Contains([]string{"domain", "space", "???", "none"}, kind) ||
			len(space) == 3 // time, as ITK writes it
		switch {
		case strings.Contains(kind, "complex"):
			return errors.New("complex numbers are no image: save their magnitude")
		case !other:
			space = append(space, i)
		case len(space) == 0:
			inner *= n
		default:
			outer *= n
			vector = vector || !slices.Contains([]string{"", "list", "time", "domain", "space", "???", "none"}, kind)
		}
		if other && len(space) > 0 && i+1 < axes && (vectors == nil || vectors[i+1] != nil) && outer > 1 {
			return fmt.Errorf("axis %d, which is none of space, lies between axes of space", i+1)
		}
		if inner > 1<<12 || outer > 1<<20 {
			return fmt.Errorf("axis %d has length %d, but is none of space", i+1, n)
		}
	}
	if len(space) < 2 || len(space) > 3 {
		return fmt.Errorf("%d axes of space among sizes %v; 2 or 3 are read", len(space), dim)
	}
	size := make([]int, len(space))
	for k, i := range space {
		size[k] = dim[i]
	}
	first, count := 0, outer
	if !vector {
		if first, count, err = opt.frames(outer, size); err != nil {
			return err
		}
	}
	g := &b.grid
	var ok bool
	if g.scalar, ok = nrrdTypes[strings.Join(strings.Fields(strings.ToLower(field["type"])), " ")]; !ok {
		return fmt.Errorf("type %.30q is not read", field["type"])
	}
	if b.encoding, ok = nrrdEncodings[strings.ToLower(field["encoding"])]; !ok {
		return fmt.Errorf("encoding %.30q is not read: raw, gzip, bzip2 and ascii are", field["encoding"])
	}
	switch endian := strings.ToLower(field["endian"]); {
	case endian == "big":
		g.order = binary.BigEndian
	case endian == "little", endian == "" && (g.scalar.size == 1 || b.encoding == "text"):
		g.order = binary.LittleEndian
	default:
		return fmt.Errorf("endian %.20q must be little or big", endian)
	}
	g.inner, g.outer = inner, count
	g.axes(size)
	frames := 1
	if !vector {
		frames = outer
	}
	total := 1.0
	for _, n := range dim {
		total *= float64(n)
	}
	if total > 1<<56 {
		return fmt.Errorf("%v numbers are above the limit", dim)
	}
	one := g.bytes() / int64(count)
	if first > 0 && b.encoding == "text" {
		return errors.New("only the first volume of a 4-D file in text is read")
	}
	b.after, b.follow = int64(first)*one, int64(outer-first-count)*one
	if err := nrrdSkips(b, field, one*int64(outer)); err != nil {
		return err
	}
	affine, err := nrrdAffine(field, space, vectors, spacings)
	if err != nil {
		return err
	}
	b.header = Header{Format: "NRRD", Type: g.name, Channels: inner * count, Size: size, Spacing: spacing(affine, len(size)), Affine: affine, Frames: frames}
	return nil
}

// nrrdSkips reads line skip and byte skip. With gzip and bzip2 the lines lie before
// the compressed data and the bytes within.
func nrrdSkips(b *block, field map[string]string, all int64) error {
	if s, ok := field["lineskip"]; ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 1<<20 {
			return fmt.Errorf("line skip %.20q must be a number from 0", s)
		}
		b.lines = n
	}
	if s, ok := field["byteskip"]; ok {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case err != nil || n < -1 || n > 1<<40:
			return fmt.Errorf("byte skip %.20q must be a number from 0, or −1: the data at the end", s)
		case n == -1 && (b.after > 0 || b.follow > 0):
			return errors.New("byte skip −1 with several volumes is not read: give the number of bytes")
		case n == -1 && b.encoding == "text":
			return errors.New("byte skip −1 with text")
		default:
			if b.after += n; n == -1 {
				b.after = -1
			}
		}
		if b.encoding == "text" {
			b.before, b.after = b.before+b.after, 0
		}
	}
	return nil
}

// nrrdVectors reads "(1,0,0) (0,1,0) none", nil for none.
func nrrdVectors(s string, axes int) ([][]float64, error) {
	if s == "" {
		return nil, nil
	}
	vectors := make([][]float64, 0, axes)
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if rest, ok := strings.CutPrefix(s, "none"); ok {
			vectors, s = append(vectors, nil), rest
			continue
		}
		v, rest, err := nrrdVector(s)
		if err != nil {
			return nil, err
		}
		vectors, s = append(vectors, v), rest
	}
	if len(vectors) != axes {
		return nil, fmt.Errorf("%d space directions for %d axes", len(vectors), axes)
	}
	return vectors, nil
}

// nrrdVector reads "(x,y,z)" and returns what follows.
func nrrdVector(s string) ([]float64, string, error) {
	in, rest, ok := strings.Cut(s, ")")
	in, open := strings.CutPrefix(strings.TrimSpace(in), "(")
	if !ok || !open {
		return nil, "", fmt.Errorf("%.40q is no vector such as (1,0,0)", s)
	}
	var v []float64
	for f := range strings.SplitSeq(in, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || !finite(x) {
			return nil, "", fmt.Errorf("%.20q in a vector is no number", f)
		}
		v = append(v, x)
	}
	return v, rest, nil
}

// nrrdAffine places the axes of space in RAS. A space that is not named is taken for
// LPS, as ITK does.
func nrrdAffine(field map[string]string, space []int, vectors [][]float64, spacings []string) ([4][4]float64, error) {
	a := Identity()
	if len(space) == 2 && vectors == nil {
		for k, i := range space {
			if len(spacings) > 0 {
				if x, err := strconv.ParseFloat(spacings[i], 64); err == nil && finite(x) && x != 0 {
					a[k][k] = x
				}
			}
		}
		return a, nil
	}
	flip := [3]float64{-1, -1, 1}
	switch s := strings.ToLower(field["space"]); s {
	case "left-posterior-superior", "lps", "left-posterior-superior-time", "lpst", "":
	case "right-anterior-superior", "ras", "right-anterior-superior-time", "rast":
		flip = [3]float64{1, 1, 1}
	case "left-anterior-superior", "las", "left-anterior-superior-time", "last":
		flip = [3]float64{-1, 1, 1}
	default: // scanner and abstract spaces do not say where the patient's right is
	}
	for k, i := range space {
		var column [3]float64
		switch {
		case vectors != nil:
			copy(column[:], vectors[i]) // a fourth number is of time
		case len(spacings) > 0:
			x, err := strconv.ParseFloat(spacings[i], 64)
			if err != nil || !finite(x) || x == 0 {
				x = 1
			}
			column[k] = x
		default:
			column[k] = 1
		}
		for row := range 3 {
			a[row][k] = flip[row] * column[row]
		}
	}
	for k := len(space); k < 3; k++ {
		for row := range 3 {
			a[row][k] = 0
		}
		a[k][k] = 1
	}
	if s := field["spaceorigin"]; s != "" {
		v, _, err := nrrdVector(s)
		if err != nil {
			return a, fmt.Errorf("space origin: %w", err)
		}
		for row, x := range v[:min(len(v), 3)] {
			a[row][3] = flip[row] * x
		}
	}
	for i := range 3 { // no negative zeros
		for j := range 4 {
			a[i][j] += 0
		}
	}
	return a, sound(a)
}
