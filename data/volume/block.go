package volume

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// scalar is a stored number type.
type scalar struct {
	name string
	size int // bytes
}

var (
	uint8s   = scalar{"uint8", 1}
	int8s    = scalar{"int8", 1}
	uint16s  = scalar{"uint16", 2}
	int16s   = scalar{"int16", 2}
	uint32s  = scalar{"uint32", 4}
	int32s   = scalar{"int32", 4}
	uint64s  = scalar{"uint64", 8}
	int64s   = scalar{"int64", 8}
	float32s = scalar{"float32", 4}
	float64s = scalar{"float64", 8}
)

// grid is how numbers are stored: x fastest, then y and z. The inner channels of a
// voxel lie side by side, outer ones follow each other as whole grids.
type grid struct {
	scalar
	order        binary.ByteOrder
	size         [3]int
	inner, outer int
	slope, inter float64 // value = slope · stored + inter; slope 0: the stored value
}

func (g *grid) voxels() int  { return g.size[0] * g.size[1] * g.size[2] }
func (g *grid) bytes() int64 { return int64(g.voxels()) * int64(g.inner*g.outer*g.scalar.size) }

// axes sets the size from two or three lengths.
func (g *grid) axes(dim []int) {
	g.size = [3]int{1, 1, 1}
	copy(g.size[:], dim)
}

// scale sets slope and intercept, a slope that is 0 or no number meaning none.
func (g *grid) scale(slope, inter float64) {
	if !finite(slope) || slope == 1 && inter == 0 {
		slope = 0
	}
	g.slope, g.inter = slope, inter
	if slope == 0 {
		g.inter = 0
	}
}

// run is how many voxels along x, and along z, are decoded at a time: as many values as a
// cache line holds.
const run = 16

// decode writes stored numbers as values (C, x, y, z), z fastest.
func (g *grid) decode(dst []float32, raw []byte) {
	o := g.order
	if g.scalar == float32s && o == binary.LittleEndian && g.inner == 1 && g.slope == 0 {
		g.decodeFloats(dst, raw)
		return
	}
	stride := g.inner * g.scalar.size
	// Each loop turns the first numbers of raw, stride bytes apart, into values.
	var values func(v []float64, raw []byte)
	switch g.scalar {
	case uint8s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(raw[i*stride])
			}
		}
	case int8s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(int8(raw[i*stride]))
			}
		}
	case int16s:
		if o == binary.LittleEndian {
			values = func(v []float64, raw []byte) {
				for i := range v {
					v[i] = float64(int16(binary.LittleEndian.Uint16(raw[i*stride:])))
				}
			}
			break
		}
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(int16(o.Uint16(raw[i*stride:])))
			}
		}
	case uint16s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(o.Uint16(raw[i*stride:]))
			}
		}
	case int32s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(int32(o.Uint32(raw[i*stride:])))
			}
		}
	case uint32s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(o.Uint32(raw[i*stride:]))
			}
		}
	case float32s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(math.Float32frombits(o.Uint32(raw[i*stride:])))
			}
		}
	case float64s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = math.Float64frombits(o.Uint64(raw[i*stride:]))
			}
		}
	case int64s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(int64(o.Uint64(raw[i*stride:])))
			}
		}
	case uint64s:
		values = func(v []float64, raw []byte) {
			for i := range v {
				v[i] = float64(o.Uint64(raw[i*stride:]))
			}
		}
	}
	g.transpose(dst, raw, values)
}

// transpose turns (x fastest) into (z fastest) in squares of runs, so that a cache line
// that was fetched is read or written whole.
func (g *grid) transpose(dst []float32, raw []byte, values func(v []float64, raw []byte)) {
	nx, ny, nz := g.size[0], g.size[1], g.size[2]
	slope, inter := g.slope, g.inter
	if slope == 0 {
		slope = 1
	}
	stride := g.inner * g.scalar.size
	var line [run]float64
	var square [run][run]float32
	for c := range g.inner * g.outer {
		first := c/g.inner*g.voxels()*stride + c%g.inner*g.scalar.size
		out := dst[c*g.voxels():]
		for y := range ny {
			for x0 := 0; x0 < nx; x0 += run {
				v := line[:min(run, nx-x0)]
				for z0 := 0; z0 < nz; z0 += run {
					deep := min(run, nz-z0)
					for z := range deep {
						values(v, raw[first+stride*(x0+nx*(y+ny*(z0+z))):])
						for x, value := range v {
							square[x][z] = float32(value*slope + inter)
						}
					}
					for x := range v {
						copy(out[((x0+x)*ny+y)*nz+z0:], square[x][:deep])
					}
				}
			}
		}
	}
}

// decodeFloats is decode for the commonest form, which needs no arithmetic: float32,
// little-endian, one channel after the other.
func (g *grid) decodeFloats(dst []float32, raw []byte) {
	nx, ny, nz := g.size[0], g.size[1], g.size[2]
	var square [run][run]float32
	for c := range g.outer {
		in, out := raw[4*c*g.voxels():], dst[c*g.voxels():]
		for y := range ny {
			for x0 := 0; x0 < nx; x0 += run {
				wide := min(run, nx-x0)
				for z0 := 0; z0 < nz; z0 += run {
					deep := min(run, nz-z0)
					for z := range deep {
						from := 4 * (x0 + nx*(y+ny*(z0+z)))
						p := in[from : from+4*wide]
						for x := range wide {
							square[x&(run-1)][z&(run-1)] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*x:]))
						}
					}
					for x := range wide {
						copy(out[((x0+x)*ny+y)*nz+z0:], square[x&(run-1)][:deep])
					}
				}
			}
		}
	}
}

// block is an image whose numbers lie in one file in one piece.
type block struct {
	fsys     fs.FS
	file     string
	header   Header
	grid     grid
	encoding string // raw, gzip, zlib, bzip2, text; "": gzip where the content is
	before   int64  // bytes in the file before the (compressed) data
	lines    int    // and lines after those
	after    int64  // bytes before the numbers once inflated; −1: the numbers are at the end
	follow   int64  // bytes that belong to further frames after the numbers
}

func (b *block) Header() Header { return b.header }

// check refuses a header that claims more than its file can hold or than is allowed.
func (b *block) check(opt Options) error {
	if need, most := 4*int64(b.header.Len()), opt.maxBytes(); need > most {
		return fmt.Errorf("%v voxels with %d channels take %d bytes as float32, above the limit of %d", b.header.Size, b.header.Channels, need, most)
	}
	f, size, err := open(b.fsys, b.file)
	if err != nil {
		return fmt.Errorf("the file of its pixels: %w", withoutPath(err))
	}
	defer f.Close()
	var magic [2]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return fmt.Errorf("the pixels' file is empty: %w", err)
	}
	need, most := max(b.after, 0)+b.grid.bytes()+b.follow, size-b.before
	switch {
	case b.encoding == "text": // a digit and a space for each number
		need = 2*int64(b.grid.voxels()*b.grid.inner*b.grid.outer) - 1
	case b.encoding == "bzip2":
		most = math.MaxInt64 // no ratio to hold it against; memory is reserved as data come
	case b.encoding == "gzip", b.encoding == "zlib", b.encoding == "" && isGzip(magic[:]):
		most = most*maxInflation + maxInflation
	}
	if need > most {
		return fmt.Errorf("header declares %v voxels of %s from byte %d: %d bytes, but the file holds at most %d: cut short or damaged", b.header.Size, b.header.Type, b.before+max(b.after, 0), need, most)
	}
	return nil
}

func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func isGzip(head []byte) bool { return len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b }

// rawPool keeps the stored form of volumes between reads.
var rawPool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (b *block) Read(dst []float32) ([]float32, error) {
	f, _, err := open(b.fsys, b.file)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	file := bufio.NewReaderSize(f, 1<<16)
	if err := b.skip(file); err != nil {
		return dst, fmt.Errorf("the file ends before its voxels: %w", noEOF(err))
	}
	at, n := len(dst), b.header.Len()
	if b.encoding == "text" {
		dst, err = readText(file, dst, n)
		if err == nil {
			b.reorder(dst[at:])
		}
		return dst, err
	}
	numbers, file, done, err := b.whole(file)
	if err != nil {
		return dst, err
	}
	if numbers != nil {
		defer done()
		dst = slices.Grow(dst, n)[:at+n]
		b.grid.decode(dst[at:], numbers)
		return dst, nil
	}
	r, done, compressed, err := b.inflate(file)
	if err != nil {
		return dst, err
	}
	defer done()
	buffer := rawPool.Get().(*bytes.Buffer)
	defer rawPool.Put(buffer)
	if b.after < 0 {
		err = last(buffer, r, b.grid.bytes())
	} else if _, e := io.CopyN(io.Discard, r, b.after); e != nil {
		err = fmt.Errorf("the file ends before its voxels: %w", noEOF(e))
	} else {
		err = collect(buffer, r, b.grid.bytes())
	}
	if err != nil {
		return dst, err
	}
	if compressed && b.follow == 0 {
		// Reading on to the end compares the checksum. Padding after the voxels is
		// allowed, an endless tail is not followed.
		if _, err := io.CopyN(io.Discard, r, afterwards); err != nil && err != io.EOF {
			return dst, fmt.Errorf("damaged compressed data: %w", err)
		}
	}
	dst = slices.Grow(dst, n)[:at+n]
	b.grid.decode(dst[at:], buffer.Bytes())
	return dst, nil
}

// skip passes what lies before the data.
func (b *block) skip(r *bufio.Reader) error {
	if _, err := io.CopyN(io.Discard, r, b.before); err != nil {
		return err
	}
	for range b.lines {
		for {
			_, err := r.ReadSlice('\n')
			if err == nil {
				break
			}
			if err != bufio.ErrBufferFull {
				return err
			}
		}
	}
	return nil
}

// inflate returns what r holds uncompressed; done is called when it has been read.
func (b *block) inflate(r *bufio.Reader) (in io.Reader, done func(), compressed bool, err error) {
	nothing := func() {}
	switch b.encoding {
	case "raw":
		return r, nothing, false, nil
	case "zlib":
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, nil, false, fmt.Errorf("damaged zlib data: %w", noEOF(err))
		}
		return z, nothing, true, nil
	case "bzip2":
		return bzip2.NewReader(r), nothing, true, nil
	}
	head, _ := r.Peek(2)
	in, done, err = inflated(r, head)
	if err == nil && b.encoding == "gzip" && in == io.Reader(r) {
		err = errors.New("its data are to be gzip, but are not")
	}
	return in, done, in != io.Reader(r), err
}

// last reads r to its end and keeps the last n bytes in b.
func last(b *bytes.Buffer, r io.Reader, n int64) error {
	b.Reset()
	for {
		_, err := io.CopyN(b, r, max(n, 1<<16))
		if drop := int64(b.Len()) - n; drop > 0 {
			kept := b.Bytes()[drop:]
			copy(b.Bytes(), kept)
			b.Truncate(int(n))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("damaged compressed data: %w", err)
		}
	}
	if int64(b.Len()) < n {
		return fmt.Errorf("pixels end after %d of %d bytes: %w", b.Len(), n, io.ErrUnexpectedEOF)
	}
	return nil
}

// readText appends n numbers written in ASCII, x fastest.
func readText(r io.Reader, dst []float32, n int) ([]float32, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 4096)
	s.Split(scanNumbers)
	at := len(dst)
	for len(dst)-at < n && s.Scan() {
		x, err := strconv.ParseFloat(s.Text(), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return dst[:at], fmt.Errorf("%.20q among its pixels is no number", s.Text())
		}
		dst = append(dst, float32(x))
	}
	if err := s.Err(); err != nil {
		return dst[:at], fmt.Errorf("its pixels are to be text: %w", err)
	}
	if got := len(dst) - at; got < n {
		return dst[:at], fmt.Errorf("pixels end after %d of %d numbers: %w", got, n, io.ErrUnexpectedEOF)
	}
	return dst, nil
}

// scanNumbers splits at white space and commas.
func scanNumbers(data []byte, atEOF bool) (int, []byte, error) {
	from := 0
	space := func(c byte) bool { return c == ' ' || c == ',' || c >= '\t' && c <= '\r' }
	for from < len(data) && space(data[from]) {
		from++
	}
	for to := from; to < len(data); to++ {
		if space(data[to]) {
			return to + 1, data[from:to], nil
		}
	}
	if atEOF && from < len(data) {
		return len(data), data[from:], nil
	}
	return from, nil, nil
}

// reorder brings values in stored order into (C, x, y, z).
func (b *block) reorder(v []float32) {
	t := slices.Clone(v)
	g := b.grid
	i := 0
	for o := range g.outer {
		for z := range g.size[2] {
			for y := range g.size[1] {
				for x := range g.size[0] {
					for c := range g.inner {
						v[(((o*g.inner+c)*g.size[0]+x)*g.size[1]+y)*g.size[2]+z] = t[i]
						i++
					}
				}
			}
		}
	}
}

// frames settles what becomes of n grids in one file: one of them is chosen or all
// become channels. It returns the first grid and how many are read.
func (o Options) frames(n int, size []int) (first, count int, err error) {
	switch {
	case n == 1:
		return 0, 1, nil
	case o.FramesAsChannels:
		if n > 1<<12 {
			return 0, 0, fmt.Errorf("%d volumes are too many channels: choose one", n)
		}
		return 0, n, nil
	case o.Frame < 1:
		return 0, 0, fmt.Errorf("a 4-D file of %d volumes %v: split it, choose one, or say that they are channels", n, size)
	case o.Frame > n:
		return 0, 0, fmt.Errorf("volume %d is wanted of a 4-D file of %d", o.Frame, n)
	}
	return o.Frame - 1, 1, nil
}

// beside returns the path of a data file that a header names. Only files under the
// header's own folder are taken.
func beside(header, name string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(clean, ":\x00") {
		return "", fmt.Errorf("its data file %.60q must lie in the header's folder: move it there and name it without a folder", name)
	}
	return path.Join(path.Dir(header), clean), nil
}

// fromLPS turns an affine whose world is left-posterior-superior, as in DICOM and ITK,
// into RAS.
func fromLPS(a [4][4]float64) [4][4]float64 {
	for j := range 4 {
		a[0][j], a[1][j] = -a[0][j], -a[1][j]
	}
	for i := range 3 { // no negative zeros
		for j := range 4 {
			a[i][j] += 0
		}
	}
	return a
}

// sound reports an affine that is not finite or that flattens space.
func sound(a [4][4]float64) error {
	for i := range 3 {
		for j := range 4 {
			if !finite(a[i][j]) {
				return fmt.Errorf("the affine has %g in row %d", a[i][j], i+1)
			}
		}
	}
	return nil
}
