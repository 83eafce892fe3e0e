package volume

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// metaTypes by the names of MetaIO, whose long is 4 bytes.
var metaTypes = map[string]scalar{
	"MET_CHAR": int8s, "MET_UCHAR": uint8s, "MET_SHORT": int16s, "MET_USHORT": uint16s, "MET_INT": int32s, "MET_UINT": uint32s,
	"MET_LONG": int32s, "MET_ULONG": uint32s, "MET_LONG_LONG": int64s, "MET_ULONG_LONG": uint64s, "MET_FLOAT": float32s, "MET_DOUBLE": float64s,
}

// isMetaImage tells the header's first line, "ObjectType = Image" or "NDims = …".
func isMetaImage(head []byte) bool {
	key, _, ok := strings.Cut(string(head), "=")
	key = strings.TrimSpace(key)
	return ok && (key == "ObjectType" || key == "NDims" || key == "Comment" || key == "ObjectSubType")
}

// openMetaImage reads a MetaImage header (.mha, .mhd), https://itk.org/Wiki/ITK/MetaIO/Documentation.
func openMetaImage(fsys fs.FS, name string, r *bufio.Reader, opt Options) (Image, error) {
	field := map[string]string{}
	used, err := textHeader(r, func(s string) (bool, error) {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			if strings.TrimSpace(s) == "" {
				return false, nil
			}
			return false, fmt.Errorf("MetaImage header: %.40q is no field", s)
		}
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		field[k] = v
		return k == "ElementDataFile", nil
	})
	if err != nil {
		return nil, err
	}
	b := &block{fsys: fsys, file: name, before: used, encoding: "raw"}
	if err := meta(b, field, opt); err != nil {
		return nil, fmt.Errorf("MetaImage header: %w", err)
	}
	switch data := field["ElementDataFile"]; {
	case data == "":
		return nil, errors.New("MetaImage header: it does not say where the data are (ElementDataFile)")
	case strings.EqualFold(data, "LOCAL"):
	case strings.HasPrefix(data, "LIST"), strings.Contains(data, "%"):
		return nil, errors.New("MetaImage: its data lie in several files, which is not read: save it as one file")
	default:
		if b.file, err = beside(name, data); err != nil {
			return nil, err
		}
		b.before = 0
	}
	if s, ok := field["HeaderSize"]; ok {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < -1 || n > 1<<40 {
			return nil, fmt.Errorf("MetaImage header: HeaderSize %.20q", s)
		}
		if n == -1 {
			b.after = -1
		} else {
			b.before += n
		}
		if n == -1 && b.follow > 0 {
			return nil, errors.New("MetaImage: HeaderSize −1 with several volumes is not read")
		}
	}
	if err := b.check(opt); err != nil {
		return nil, err
	}
	return b, nil
}

// numbers reads the fields of the first key that is there: n numbers.
func numbers(field map[string]string, n int, keys ...string) ([]float64, error) {
	for _, k := range keys {
		s, ok := field[k]
		if !ok {
			continue
		}
		f := strings.Fields(s)
		if len(f) != n {
			return nil, fmt.Errorf("%s has %d numbers, must be %d", k, len(f), n)
		}
		v := make([]float64, n)
		for i := range v {
			x, err := strconv.ParseFloat(f[i], 64)
			if err != nil || !finite(x) {
				return nil, fmt.Errorf("%s: %.20q is no number", k, f[i])
			}
			v[i] = x
		}
		return v, nil
	}
	return nil, nil
}

// truth of a flag such as "True".
func truth(s string) bool { return len(s) > 0 && strings.ContainsAny(s[:1], "TtYy1") }

// meta fills in what the fields say.
func meta(b *block, field map[string]string, opt Options) error {
	if t := field["ObjectType"]; t != "" && t != "Image" {
		return fmt.Errorf("it holds a %.30q, no Image", t)
	}
	axes, err := strconv.Atoi(field["NDims"])
	if err != nil || axes < 2 || axes > 4 {
		return fmt.Errorf("NDims %.20q; 2, 3 or 4 are read", field["NDims"])
	}
	length, err := numbers(field, axes, "DimSize")
	if err != nil || length == nil {
		return fmt.Errorf("DimSize %.40q is not %d numbers", field["DimSize"], axes)
	}
	size, frames, total := make([]int, min(axes, 3)), 1, 1.0
	for i, x := range length {
		if x < 1 || x > 1<<31-1 || x != float64(int(x)) {
			return fmt.Errorf("axis %d has length %g", i+1, x)
		}
		if total *= x; i < 3 {
			size[i] = int(x)
		} else {
			frames = int(x)
		}
	}
	g := &b.grid
	g.inner = 1
	if s, ok := field["ElementNumberOfChannels"]; ok {
		if g.inner, err = strconv.Atoi(s); err != nil || g.inner < 1 || g.inner > 1<<12 {
			return fmt.Errorf("ElementNumberOfChannels %.20q", s)
		}
	}
	if total > 1<<40 {
		return fmt.Errorf("%v numbers are above the limit", length)
	}
	kind, array := strings.CutSuffix(field["ElementType"], "_ARRAY")
	var ok bool
	if g.scalar, ok = metaTypes[kind]; !ok || array && g.inner == 1 {
		return fmt.Errorf("ElementType %.30q is not read", field["ElementType"])
	}
	first, count, err := opt.frames(frames, size)
	if err != nil {
		return err
	}
	g.outer = count
	g.axes(size)
	g.order = binary.LittleEndian
	if truth(field["BinaryDataByteOrderMSB"]) || truth(field["ElementByteOrderMSB"]) {
		g.order = binary.BigEndian
	}
	if s, ok := field["BinaryData"]; ok && !truth(s) {
		if b.encoding = "text"; first > 0 {
			return errors.New("only the first volume of a 4-D file in text is read")
		}
	}
	if truth(field["CompressedData"]) {
		b.encoding = "zlib"
	}
	one := g.bytes() / int64(count)
	b.after, b.follow = int64(first)*one, int64(frames-first-count)*one
	affine, err := metaAffine(field, axes)
	if err != nil {
		return err
	}
	b.header = Header{Format: "MetaImage", Type: g.name, Channels: g.inner * count, Size: size, Spacing: spacing(affine, len(size)), Affine: affine, Frames: frames}
	return nil
}

// metaAffine places the axes in RAS: TransformMatrix lists the direction of each axis in
// LPS, one after the other.
func metaAffine(field map[string]string, axes int) ([4][4]float64, error) {
	a := Identity()
	space, err := numbers(field, axes, "ElementSpacing", "ElementSize")
	if err != nil {
		return a, err
	}
	direction, err := numbers(field, axes*axes, "TransformMatrix", "Rotation", "Orientation")
	if err != nil {
		return a, err
	}
	origin, err := numbers(field, axes, "Offset", "Position", "Origin")
	if err != nil {
		return a, err
	}
	for j := range min(axes, 3) {
		for i := range min(axes, 3) {
			if direction != nil {
				a[i][j] = direction[j*axes+i]
			}
			if space != nil {
				a[i][j] *= space[j]
			}
		}
		if origin != nil {
			a[j][3] = origin[j]
		}
	}
	if axes > 2 {
		a = fromLPS(a)
	}
	return a, sound(a)
}
