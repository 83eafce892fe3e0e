package volume

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
)

// The NIfTI-1 header: 348 bytes, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
// Offsets of the fields that are used.
const (
	niftiHeaderSize = 348
	offDim          = 40  // int16[8]: number of axes, then their lengths
	offDatatype     = 70  // int16
	offBitpix       = 72  // int16
	offPixdim       = 76  // float32[8]: qfac, then spacings
	offVoxOffset    = 108 // float32
	offSclSlope     = 112 // float32
	offSclInter     = 116 // float32
	offXYZTUnits    = 123 // byte
	offQformCode    = 252 // int16
	offSformCode    = 254 // int16
	offQuatern      = 256 // float32[3]: b, c, d
	offQoffset      = 268 // float32[3]
	offSrow         = 280 // float32[3][4]
	offMagic        = 344 // "n+1\0" one file, "ni1\0" a pair
)

// niftiType is a scalar type by its NIfTI code.
type niftiType struct {
	name string
	size int
}

var niftiTypes = map[int16]niftiType{
	2: {"uint8", 1}, 4: {"int16", 2}, 8: {"int32", 4}, 16: {"float32", 4}, 64: {"float64", 8},
	256: {"int8", 1}, 512: {"uint16", 2}, 768: {"uint32", 4}, 1024: {"int64", 8}, 1280: {"uint64", 8},
}

var niftiRefused = map[int16]string{
	1: "1-bit", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2048: "complex256", 2304: "RGBA",
}

type nifti struct {
	fsys   fs.FS
	data   string // the file that holds the pixels
	header Header
	code   int16
	order  binary.ByteOrder
	offset int64   // of the first voxel in the inflated data file
	slope  float64 // value = slope · stored + inter; slope 0: stored values are meant
	inter  float64
}

func (n *nifti) Header() Header { return n.header }

// headerOf returns the .hdr (or .hdr.gz) beside an .img file, other names as they are.
func headerOf(fsys fs.FS, name string) (string, error) {
	base, ok := strings.CutSuffix(strings.TrimSuffix(name, ".gz"), ".img")
	if !ok {
		return name, nil
	}
	for _, e := range []string{".hdr", ".hdr.gz"} {
		if _, err := fs.Stat(fsys, base+e); err == nil {
			return base + e, nil
		}
	}
	return "", errors.New("pixels without their header: no .hdr or .hdr.gz of the same name beside it")
}

// imageOf returns the .img (or .img.gz) beside an .hdr file.
func imageOf(fsys fs.FS, name string) (string, error) {
	base, ok := strings.CutSuffix(strings.TrimSuffix(name, ".gz"), ".hdr")
	if !ok {
		return "", errors.New("a NIfTI header whose pixels lie in another file, but its name does not end in .hdr")
	}
	for _, e := range []string{".img", ".img.gz"} {
		if _, err := fs.Stat(fsys, base+e); err == nil {
			return base + e, nil
		}
	}
	return "", errors.New("a NIfTI header without its pixels: no .img or .img.gz of the same name beside it")
}

func openNIfTI(fsys fs.FS, name string, r *bufio.Reader, size int64, opt Options) (Image, error) {
	in, err := inflated(r)
	if err != nil {
		return nil, err
	}
	var h [niftiHeaderSize]byte
	if got, err := io.ReadFull(in, h[:]); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("no image format that is known (NIfTI-1, NPY, PNG, JPEG): it ends after %d bytes, a NIfTI-1 header has 348", got)
		}
		return nil, fmt.Errorf("damaged gzip data: %w", err)
	}
	n := &nifti{fsys: fsys, data: name}
	switch le, be := binary.LittleEndian.Uint32(h[:]), binary.BigEndian.Uint32(h[:]); {
	case le == niftiHeaderSize:
		n.order = binary.LittleEndian
	case be == niftiHeaderSize:
		n.order = binary.BigEndian
	case le == 540 || be == 540:
		return nil, errors.New("NIfTI-2 is not read; convert it to NIfTI-1")
	case bytes.HasPrefix(h[offMagic:], []byte("n+1")) || bytes.HasPrefix(h[offMagic:], []byte("ni1")):
		return nil, fmt.Errorf("damaged NIfTI header: its first field must be 348, it is %d", le)
	default:
		return nil, errors.New("no image format that is known (NIfTI-1, NPY, PNG, JPEG)")
	}
	least := int64(0)
	switch magic := string(h[offMagic:]); magic {
	case "n+1\x00":
		least = niftiHeaderSize + 4
	case "ni1\x00":
		if n.data, err = imageOf(fsys, name); err != nil {
			return nil, err
		}
		size = -1
	case "\x00\x00\x00\x00":
		return nil, errors.New("an Analyze 7.5 file (no NIfTI magic) is not read; convert it to NIfTI-1")
	default:
		return nil, fmt.Errorf("NIfTI magic is %q, not \"n+1\" or \"ni1\"", magic)
	}
	if err := n.parse(h[:], least, opt); err != nil {
		return nil, err
	}
	if err := n.fits(size, opt); err != nil {
		return nil, err
	}
	return n, nil
}

// inflated returns r, through gzip where its content is gzip.
func inflated(r *bufio.Reader) (io.Reader, error) {
	if head, _ := r.Peek(2); len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return r, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("damaged gzip data: %w", err)
	}
	return z, nil
}

func (n *nifti) int16(h []byte, at int) int16 { return int16(n.order.Uint16(h[at:])) }

func (n *nifti) float(h []byte, at int) float64 {
	return float64(math.Float32frombits(n.order.Uint32(h[at:])))
}

func (n *nifti) parse(h []byte, least int64, opt Options) error {
	axes := int(n.int16(h, offDim))
	if axes < 1 || axes > 7 {
		return fmt.Errorf("NIfTI header: %d axes, must be 1 to 7", axes)
	}
	dim := make([]int, axes)
	for i := range dim {
		dim[i] = int(n.int16(h, offDim+2+2*i))
		if dim[i] < 1 {
			return fmt.Errorf("NIfTI header: axis %d has length %d", i+1, dim[i])
		}
	}
	for len(dim) > 3 && dim[len(dim)-1] == 1 {
		dim = dim[:len(dim)-1]
	}
	frames := 1
	switch {
	case len(dim) == 1:
		return fmt.Errorf("NIfTI header: one axis of length %d is no image", dim[0])
	case len(dim) > 4:
		return fmt.Errorf("NIfTI header: %d axes %v; only 2, 3 or 4 are read", len(dim), dim)
	case len(dim) == 4:
		frames, dim = dim[3], dim[:3]
		if !opt.FirstFrame {
			return fmt.Errorf("a 4-D file of %d volumes %v: split it, or say that the first volume is meant", frames, dim)
		}
	}
	n.code = n.int16(h, offDatatype)
	t, ok := niftiTypes[n.code]
	if !ok {
		if s := niftiRefused[n.code]; s != "" {
			return fmt.Errorf("NIfTI type %s is not read; save it as a scalar type", s)
		}
		return fmt.Errorf("NIfTI header: type code %d is not defined", n.code)
	}
	if bits := n.int16(h, offBitpix); bits != 0 && int(bits) != 8*t.size {
		return fmt.Errorf("NIfTI header contradicts itself: type %s, but %d bits a voxel", t.name, bits)
	}
	off := n.float(h, offVoxOffset)
	if off == 0 {
		off = float64(least)
	}
	if off != math.Trunc(off) || off < float64(least) || off > 1<<40 {
		return fmt.Errorf("NIfTI header: voxels begin at byte %g; must be a whole number from %d", off, least)
	}
	n.offset = int64(off)
	n.slope, n.inter = n.float(h, offSclSlope), n.float(h, offSclInter)
	if finite(n.slope) && n.slope != 0 {
		if !finite(n.inter) {
			return fmt.Errorf("NIfTI header: slope %g, but intercept %g", n.slope, n.inter)
		}
	} else {
		n.slope, n.inter = 0, 0
	}
	if n.slope == 1 && n.inter == 0 {
		n.slope = 0
	}
	affine, err := n.affine(h, dim)
	if err != nil {
		return err
	}
	n.header = Header{Format: "NIfTI-1", Type: t.name, Channels: 1, Size: dim, Affine: affine, Spacing: spacing(affine, len(dim)), Frames: frames}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// affine returns the sform where its code is set, else the qform where its code
// is set, else what nibabel falls back to: the spacings, x pointing left, the
// origin in the centre.
func (n *nifti) affine(h []byte, dim []int) ([4][4]float64, error) {
	a := Identity()
	pix := [3]float64{1, 1, 1}
	for i := range pix {
		if p := n.float(h, offPixdim+4+4*i); finite(p) && p != 0 {
			pix[i] = p
		}
	}
	switch {
	case n.int16(h, offSformCode) > 0:
		for i := range 3 {
			for j := range 4 {
				a[i][j] = n.float(h, offSrow+16*i+4*j)
			}
		}
	case n.int16(h, offQformCode) > 0:
		// Unit quaternion (a, b, c, d), a ≥ 0 implied; rounding may leave b²+c²+d² just above 1.
		b, c, d := n.float(h, offQuatern), n.float(h, offQuatern+4), n.float(h, offQuatern+8)
		s := b*b + c*c + d*d
		if !(s <= 1+1e-5) {
			return a, fmt.Errorf("NIfTI header: qform quaternion (%g, %g, %g) is longer than 1", b, c, d)
		}
		q := math.Sqrt(max(0, 1-s))
		R := [3][3]float64{
			{q*q + b*b - c*c - d*d, 2*b*c - 2*q*d, 2*b*d + 2*q*c},
			{2*b*c + 2*q*d, q*q + c*c - b*b - d*d, 2*c*d - 2*q*b},
			{2*b*d - 2*q*c, 2*c*d + 2*q*b, q*q + d*d - c*c - b*b},
		}
		if n.float(h, offPixdim) < 0 { // qfac: the third axis is flipped
			pix[2] = -pix[2]
		}
		for i := range 3 {
			for j := range 3 {
				a[i][j] = R[i][j] * pix[j]
			}
			a[i][3] = n.float(h, offQoffset+4*i)
		}
	default:
		for i := range pix {
			p := pix[i]
			if i == 0 {
				p = -p
			}
			a[i][i] = p
			if i < len(dim) {
				a[i][3] = -p * float64(dim[i]-1) / 2
			}
		}
	}
	for i := range 3 {
		for j := range 4 {
			if !finite(a[i][j]) {
				return a, fmt.Errorf("NIfTI header: the affine has %g in row %d", a[i][j], i+1)
			}
		}
	}
	return a, nil
}

// bytes returns the length of the first volume in the file.
func (n *nifti) bytes() int64 { return int64(n.header.Len()) * int64(niftiTypes[n.code].size) }

// fits refuses a header that claims more than its file can hold or than is allowed.
// size is the data file's length, −1 to look it up.
func (n *nifti) fits(size int64, opt Options) error {
	if need, most := 4*int64(n.header.Len()), opt.maxBytes(); need > most {
		return fmt.Errorf("%v voxels take %d bytes as float32, above the limit of %d", n.header.Size, need, most)
	}
	f, actual, err := open(n.fsys, n.data)
	if err != nil {
		return err
	}
	defer f.Close()
	if size < 0 {
		size = actual
	}
	var magic [2]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return fmt.Errorf("the pixels' file is empty: %w", err)
	}
	need, most := n.offset+n.bytes()*int64(n.header.Frames), size
	if magic == [2]byte{0x1f, 0x8b} {
		most = size*maxInflation + maxInflation
	}
	if need > most {
		return fmt.Errorf("header declares %v voxels of %s from byte %d: %d bytes, but the file holds at most %d: cut short or damaged", n.header.Size, n.header.Type, n.offset, need, most)
	}
	return nil
}

// rawPool keeps the stored form of volumes between reads.
var rawPool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (n *nifti) Read(dst []float32) ([]float32, error) {
	f, _, err := open(n.fsys, n.data)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	r, err := inflated(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return dst, err
	}
	if _, err := io.CopyN(io.Discard, r, n.offset); err != nil {
		return dst, fmt.Errorf("the file ends before its voxels: %w", noEOF(err))
	}
	b := rawPool.Get().(*bytes.Buffer)
	defer rawPool.Put(b)
	if err := collect(b, r, n.bytes()); err != nil {
		return dst, err
	}
	if z, ok := r.(*gzip.Reader); ok && n.header.Frames == 1 {
		// Reading on to the end compares the checksum. Padding after the voxels is
		// allowed, an endless tail is not followed.
		if _, err := io.CopyN(io.Discard, z, 1<<20); err != nil && err != io.EOF {
			return dst, fmt.Errorf("damaged gzip data: %w", err)
		}
	}
	at := len(dst)
	dst = slices.Grow(dst, n.header.Len())[:at+n.header.Len()]
	n.decode(dst[at:], b.Bytes())
	return dst, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode writes stored voxels (x fastest) as values (z fastest).
func (n *nifti) decode(dst []float32, raw []byte) {
	o := n.order
	switch n.code {
	case 2:
		transpose(n, dst, raw, 1, func(p []byte) float64 { return float64(p[0]) })
	case 256:
		transpose(n, dst, raw, 1, func(p []byte) float64 { return float64(int8(p[0])) })
	case 4:
		transpose(n, dst, raw, 2, func(p []byte) float64 { return float64(int16(o.Uint16(p))) })
	case 512:
		transpose(n, dst, raw, 2, func(p []byte) float64 { return float64(o.Uint16(p)) })
	case 8:
		transpose(n, dst, raw, 4, func(p []byte) float64 { return float64(int32(o.Uint32(p))) })
	case 768:
		transpose(n, dst, raw, 4, func(p []byte) float64 { return float64(o.Uint32(p)) })
	case 16:
		transpose(n, dst, raw, 4, func(p []byte) float64 { return float64(math.Float32frombits(o.Uint32(p))) })
	case 64:
		transpose(n, dst, raw, 8, func(p []byte) float64 { return math.Float64frombits(o.Uint64(p)) })
	case 1024:
		transpose(n, dst, raw, 8, func(p []byte) float64 { return float64(int64(o.Uint64(p))) })
	case 1280:
		transpose(n, dst, raw, 8, func(p []byte) float64 { return float64(o.Uint64(p)) })
	}
}

// transpose turns (x fastest) into (z fastest) in runs of 16 voxels along x,
// so that a cache line that was fetched is used whole.
func transpose(n *nifti, dst []float32, raw []byte, size int, value func([]byte) float64) {
	nx, ny, nz := n.header.Size[0], n.header.Size[1], 1
	if len(n.header.Size) == 3 {
		nz = n.header.Size[2]
	}
	slope, inter := n.slope, n.inter
	if slope == 0 {
		slope = 1
	}
	for y := range ny {
		for x0 := 0; x0 < nx; x0 += 16 {
			x1 := min(x0+16, nx)
			for z := range nz {
				p := raw[size*(x0+nx*(y+ny*z)):]
				for x := x0; x < x1; x++ {
					dst[(x*ny+y)*nz+z] = float32(value(p)*slope + inter)
					p = p[size:]
				}
			}
		}
	}
}
