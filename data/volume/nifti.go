package volume

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
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

var niftiTypes = map[int16]scalar{
	2: uint8s, 4: int16s, 8: int32s, 16: float32s, 64: float64s,
	256: int8s, 512: uint16s, 768: uint32s, 1024: int64s, 1280: uint64s,
}

// niftiColours are the numbers of uint8 channels that lie side by side.
var niftiColours = map[int16]int{128: 3, 2304: 4}

var niftiRefused = map[int16]string{1: "1-bit", 1536: "float128"}

var niftiComplex = map[int16]string{32: "complex64", 1792: "complex128", 2048: "complex256"}

// niftiFields are the header fields that NIfTI-1, NIfTI-2 and Analyze share.
type niftiFields struct {
	format       string
	order        binary.ByteOrder
	dim          [8]int64
	code, bits   int16
	pixdim       [8]float64
	offset       float64
	least        int64 // first byte where voxels may begin
	slope, inter float64
	qform, sform int
	quatern      [3]float64 // b, c, d
	qoffset      [3]float64
	srow         [3][4]float64
	origin       [3]int16 // of SPM's Analyze
}

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

func openNIfTI(fsys fs.FS, name string, r *bufio.Reader, opt Options) (Image, error) {
	head, _ := r.Peek(2)
	in, done, err := inflated(r, head)
	if err != nil {
		return nil, err
	}
	defer done()
	h := make([]byte, nifti2HeaderSize)
	got, err := io.ReadFull(in, h)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("damaged gzip data: %w", err)
	}
	if got < niftiHeaderSize {
		return nil, fmt.Errorf("no image format that is known (%s): it ends after %d bytes, a NIfTI-1 header has 348", known, got)
	}
	data, err := name, error(nil)
	var n niftiFields
	switch le, be, magic := binary.LittleEndian.Uint32(h), binary.BigEndian.Uint32(h), string(h[offMagic:offMagic+4]); {
	case le == nifti2HeaderSize || be == nifti2HeaderSize:
		if got < nifti2HeaderSize {
			return nil, fmt.Errorf("cut short: it ends after %d bytes, a NIfTI-2 header has 540", got)
		}
		n, err = nifti2(h)
		if err == nil && n.least == 0 {
			data, err = imageOf(fsys, name)
		}
	case le == niftiHeaderSize || be == niftiHeaderSize:
		n.order = binary.ByteOrder(binary.LittleEndian)
		if be == niftiHeaderSize {
			n.order = binary.BigEndian
		}
		n.nifti1(h)
		switch magic {
		case "n+1\x00":
			n.least = niftiHeaderSize + 4
		case "ni1\x00":
			data, err = imageOf(fsys, name)
		case "\x00\x00\x00\x00":
			n.analyze(h)
			data, err = imageOf(fsys, name)
		default:
			err = fmt.Errorf("NIfTI magic is %q, not \"n+1\" or \"ni1\"", magic)
		}
	case magic[:3] == "n+1" || magic[:3] == "ni1":
		err = fmt.Errorf("damaged NIfTI header: its first field must be 348, it is %d", le)
	default:
		err = fmt.Errorf("no image format that is known (%s)", known)
	}
	if err != nil {
		return nil, err
	}
	b := &block{fsys: fsys, file: data}
	if err := n.describe(b, opt); err != nil {
		return nil, err
	}
	if err := b.check(opt); err != nil {
		return nil, err
	}
	return b, nil
}

// nifti1 reads the fields of NIfTI-1, all of which but the transforms are Analyze's too.
func (n *niftiFields) nifti1(h []byte) {
	n.format = "NIfTI-1"
	integer := func(at int) int16 { return int16(n.order.Uint16(h[at:])) }
	float := func(at int) float64 { return float64(math.Float32frombits(n.order.Uint32(h[at:]))) }
	for i := range n.dim {
		n.dim[i], n.pixdim[i] = int64(integer(offDim+2*i)), float(offPixdim+4*i)
	}
	n.code, n.bits, n.offset = integer(offDatatype), integer(offBitpix), float(offVoxOffset)
	n.slope, n.inter = float(offSclSlope), float(offSclInter)
	n.qform, n.sform = int(integer(offQformCode)), int(integer(offSformCode))
	for i := range 3 {
		n.quatern[i], n.qoffset[i] = float(offQuatern+4*i), float(offQoffset+4*i)
		for j := range 4 {
			n.srow[i][j] = float(offSrow + 16*i + 4*j)
		}
	}
}

// describe checks the fields and fills in where the voxels are and what they mean.
func (n *niftiFields) describe(b *block, opt Options) error {
	axes := n.dim[0]
	if axes < 1 || axes > 7 {
		return fmt.Errorf("%s header: %d axes, must be 1 to 7", n.format, axes)
	}
	dim := make([]int, axes)
	for i := range dim {
		if l := n.dim[i+1]; l < 1 || l > math.MaxInt32 {
			return fmt.Errorf("%s header: axis %d has length %d", n.format, i+1, l)
		}
		dim[i] = int(n.dim[i+1])
	}
	for len(dim) > 3 && dim[len(dim)-1] == 1 {
		dim = dim[:len(dim)-1]
	}
	frames := 1
	switch {
	case len(dim) == 1:
		return fmt.Errorf("%s header: one axis of length %d is no image", n.format, dim[0])
	case len(dim) > 4:
		return fmt.Errorf("%s header: %d axes %v; only 2, 3 or 4 are read", n.format, len(dim), dim)
	case len(dim) == 4:
		frames, dim = dim[3], dim[:3]
	}
	first, count, err := opt.frames(frames, dim)
	if err != nil {
		return err
	}
	g := &b.grid
	g.order, g.inner, g.outer = n.order, 1, count
	g.axes(dim)
	var ok bool
	if g.inner, ok = niftiColours[n.code]; ok {
		g.scalar = uint8s
	} else if g.scalar, ok = niftiTypes[n.code]; ok {
		g.inner = 1
	} else if s := niftiComplex[n.code]; s != "" {
		return fmt.Errorf("complex numbers (%s) are no image: save their magnitude", s)
	} else if s := niftiRefused[n.code]; s != "" {
		return fmt.Errorf("%s type %s is not read; save it as a scalar type", n.format, s)
	} else {
		return fmt.Errorf("%s header: type code %d is not defined", n.format, n.code)
	}
	if n.bits != 0 && int(n.bits) != 8*g.scalar.size*g.inner {
		return fmt.Errorf("%s header contradicts itself: type %s, but %d bits a voxel", n.format, g.name, n.bits)
	}
	off := n.offset
	if off == 0 {
		off = float64(n.least)
	}
	if off != math.Trunc(off) || off < float64(n.least) || off > 1<<40 {
		return fmt.Errorf("%s header: voxels begin at byte %g; must be a whole number from %d", n.format, off, n.least)
	}
	if finite(n.slope) && n.slope != 0 && !finite(n.inter) {
		return fmt.Errorf("%s header: slope %g, but intercept %g", n.format, n.slope, n.inter)
	}
	g.scale(n.slope, n.inter)
	affine, err := n.affine(dim)
	if err != nil {
		return fmt.Errorf("%s header: %w", n.format, err)
	}
	b.header = Header{Format: n.format, Type: g.name, Channels: g.inner * count, Size: dim, Affine: affine, Spacing: spacing(affine, len(dim)), Frames: frames}
	if n.format == analyzeFormat {
		b.header.Notes = []string{"Analyze 7.5 does not say which side is left: x is taken to point to the left, as SPM and nibabel do"}
	}
	if voxels := float64(g.size[0]) * float64(g.size[1]) * float64(g.size[2]) * float64(b.header.Channels) * float64(frames); voxels > 1<<56 {
		return fmt.Errorf("%s header: %v voxels of %d frames are above the limit", n.format, dim, frames)
	}
	one := g.bytes() / int64(count)
	b.after, b.follow = int64(off)+int64(first)*one, int64(frames-first-count)*one
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// affine returns the sform where its code is set, else the qform where its code
// is set, else what nibabel falls back to: the spacings, x pointing left, the
// origin in the centre, or where SPM put it in an Analyze header.
func (n *niftiFields) affine(dim []int) ([4][4]float64, error) {
	a := Identity()
	pix := [3]float64{1, 1, 1}
	for i := range pix {
		if p := n.pixdim[i+1]; finite(p) && p != 0 {
			pix[i] = p
		}
	}
	switch {
	case n.sform > 0:
		copy(a[:3], n.srow[:])
	case n.qform > 0:
		// Unit quaternion (a, b, c, d), a ≥ 0 implied; rounding may leave b²+c²+d² just above 1.
		b, c, d := n.quatern[0], n.quatern[1], n.quatern[2]
		s := b*b + c*c + d*d
		if !(s <= 1+1e-5) {
			return a, fmt.Errorf("qform quaternion (%g, %g, %g) is longer than 1", b, c, d)
		}
		q := math.Sqrt(max(0, 1-s))
		R := [3][3]float64{
			{q*q + b*b - c*c - d*d, 2*b*c - 2*q*d, 2*b*d + 2*q*c},
			{2*b*c + 2*q*d, q*q + c*c - b*b - d*d, 2*c*d - 2*q*b},
			{2*b*d - 2*q*c, 2*c*d + 2*q*b, q*q + d*d - c*c - b*b},
		}
		if n.pixdim[0] < 0 { // qfac: the third axis is flipped
			pix[2] = -pix[2]
		}
		for i := range 3 {
			for j := range 3 {
				a[i][j] = R[i][j] * pix[j]
			}
			a[i][3] = n.qoffset[i]
		}
	default:
		pix[0] = -pix[0]
		size := [3]int{1, 1, 1}
		copy(size[:], dim)
		sensible := n.origin != [3]int16{} // counted from 1
		for i, o := range n.origin {
			sensible = sensible && int(o) > -size[i] && int(o) < 2*size[i]
		}
		for i, p := range pix {
			a[i][i] = p
			if sensible {
				a[i][3] = -p * float64(n.origin[i]-1)
			} else if i < len(dim) {
				a[i][3] = -p * float64(size[i]-1) / 2
			}
		}
	}
	return a, sound(a)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
