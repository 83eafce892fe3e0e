// Package volume reads one image file, of any format known, into float32 with its place in space.
//
// Every format is used the same way: [Open] looks at the content (the extension
// only helps to find the second half of an .hdr/.img pair) and reads the header
// without pixels; [Image.Read] reads the pixels. Formats:
//
//   - NIfTI-1 and NIfTI-2 (.nii, .nii.gz, .hdr/.img): both byte orders, all scalar types,
//     RGB and RGBA as channels; Analyze 7.5 pairs as SPM and nibabel read them;
//   - NRRD (.nrrd, .nhdr with data beside): raw, gzip, bzip2, text; line and byte skip;
//   - MetaImage (.mha, .mhd with data beside): raw, zlib, text;
//   - DICOM: uncompressed, deflated, run-length encoded, enhanced, Siemens mosaics; others
//     through the program dcm2niix where it is installed, or where a browser's page runs
//     it ([CompressedError]). A folder's files are sorted into series by [OpenSeries]; a
//     single file is its own;
//   - NumPy .npy, PNG, JPEG, TIFF (several grey pages make a volume).
//
// Of a 4-D file [Options.Frame] chooses a volume, or [Options.FramesAsChannels] makes all
// of them channels. Complex numbers are refused.
//
// Order. Values are row-major with channels first: (C, H, W, D) or (C, H, W),
// last axis fastest. For volumes H, W, D are the file's x, y, z as nibabel's
// array has them. The affine maps voxel indices (i, j, k) to millimetres in
// RAS+ (x to the right, y to the front, z up). Nothing is reoriented or
// resampled here.
//
// Trust. Files come from anywhere: a header's claims are held against the bytes
// that are there and against [Options.MaxBytes] before memory is reserved.
package volume

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"wgjepa/data/transform"
)

// Header describes an image before its pixels are read.
type Header struct {
	Format   string        // NIfTI-1, NIfTI-2, Analyze 7.5, DICOM, NRRD, MetaImage, NPY, PNG, JPEG or TIFF
	Type     string        // stored type of an element: uint8, float32, …
	Channels int           // C
	Size     []int         // (H, W) or (H, W, D)
	Spacing  []float64     // distance between voxels along each axis, in the file's unit (mm unless it says otherwise); 1 where unknown
	Affine   [4][4]float64 // voxel index → mm, RAS+; for 2-D images the identity
	Frames   int           // volumes in a 4-D file, else 1
	Patient  uint64        // equal for DICOM images of one patient, 0 where that is not known; differs from run to run
	Study    uint64        // the same of DICOM images of one study, which are of one patient
	Notes    []string      // what a person should know about this file
}

// Len returns the number of values: C·H·W·D.
func (h Header) Len() int {
	n := h.Channels
	for _, s := range h.Size {
		n *= s
	}
	return n
}

// Image is a file whose header has been read. It holds no open file and is safe
// for concurrent use.
type Image interface {
	Header() Header
	// Read appends the values (C, H, W[, D]), row-major, to dst.
	Read(dst []float32) ([]float32, error)
}

// Options say what is accepted. The zero value is strict.
type Options struct {
	// Frame is the volume of a 4-D file that is read, from 1; 0 refuses such files.
	Frame int
	// FramesAsChannels reads all volumes of a 4-D file as channels of one.
	FramesAsChannels bool
	// MaxBytes bounds one image as float32 in memory; 0 means 2 GiB.
	MaxBytes int64
}

func (o Options) maxBytes() int64 {
	if o.MaxBytes == 0 {
		return 2 << 30
	}
	return o.MaxBytes
}

// OS is the machine's file system with its own paths, for [Open].
var OS fs.FS = osFS{}

type osFS struct{}

func (osFS) Open(name string) (fs.File, error) { return os.Open(name) }

// maxInflation is deflate's best ratio, 1032:1: no compressed stream holds more.
// Images need at least as many bytes (JPEG spends a bit a block of 64 pixels).
const maxInflation = 1032

// known are the formats by name, for messages.
const known = "NIfTI, Analyze, DICOM, NRRD, MetaImage, NPY, PNG, JPEG, TIFF"

// Open reads the header of a file.
func Open(fsys fs.FS, name string, opt Options) (Image, error) {
	name, err := headerOf(fsys, name)
	if err != nil {
		return nil, err
	}
	f, size, err := open(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 4096)
	head, err := r.Peek(132)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(head) == 0:
		return nil, errors.New("the file is empty")
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")), bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return openPicture(fsys, name, r, size, opt)
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		return openNPY(fsys, name, r, size, opt)
	case isDICOM(head):
		one := OpenSeries(fsys, []string{name}, opt)[0]
		return one.Image, one.Err
	case isTIFF(head):
		return openTIFF(fsys, name, opt)
	case bytes.HasPrefix(head, []byte("NRRD000")):
		return openNRRD(fsys, name, r, opt)
	case isMetaImage(head):
		return openMetaImage(fsys, name, r, opt)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil, errors.New("an archive of arrays (.npz or .zip) is a data set, not one image: give it as DATA by itself")
	}
	return openNIfTI(fsys, name, r, opt)
}

// IsDICOM looks whether a file is DICOM, for [OpenSeries].
func IsDICOM(fsys fs.FS, name string) bool {
	f, _, err := open(fsys, name)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [132]byte
	n, _ := io.ReadFull(f, head[:])
	return isDICOM(head[:n])
}

// open opens a regular file and returns its length.
func open(fsys fs.FS, name string) (fs.File, int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	s, err := f.Stat()
	if err == nil && !s.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, s.Size(), nil
}

// collect reads n bytes into b, reserving memory as they come.
func collect(b *bytes.Buffer, r io.Reader, n int64) error {
	b.Reset()
	b.Grow(int(min(n, 4<<20)))
	got, err := io.CopyN(b, r, n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("pixels end after %d of %d bytes: %w", got, n, err)
	}
	return nil
}

// spacing returns the length of each column of an affine: the distance between voxels.
func spacing(a [4][4]float64, axes int) []float64 {
	s := make([]float64, axes)
	for j := range s {
		s[j] = math.Sqrt(a[0][j]*a[0][j] + a[1][j]*a[1][j] + a[2][j]*a[2][j])
		if !(s[j] > 0) || math.IsInf(s[j], 0) {
			s[j] = 1
		}
	}
	return s
}

// Identity is the affine of images without a place in space.
func Identity() [4][4]float64 {
	return [4][4]float64{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}
}

func ones(n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

// Orientation names the direction in which each axis of a volume grows, as nibabel's
// aff2axcodes: RAS, LPS, …; R right, L left, A anterior, P posterior, S superior,
// I inferior. It is empty for pictures.
func (h Header) Orientation() string {
	if len(h.Size) != 3 {
		return ""
	}
	return transform.ToRAS(h.Affine).String()
}
