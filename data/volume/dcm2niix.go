package volume

import (
	"fmt"
	"slices"
)

// converter is the program that decodes compressed DICOM.
const converter = "dcm2niix"

// CompressedError says that a series is compressed in a way that is not decoded here, and
// that this program can start no other to do it, as in a browser. What runs it can have
// dcm2niix make one NIfTI file of Files and put that at Image: the series is then read
// from there.
type CompressedError struct {
	Files  []string
	Image  string
	syntax string
}

func (e *CompressedError) Error() string {
	return fmt.Sprintf("compressed (%s): convert it to NIfTI with %s, or export the series uncompressed", syntaxName(e.syntax), converter)
}

// convertible is nil where what dcm2niix makes of a series is the series.
func (d *dicom) convertible(f *dicomFile) error {
	if d.header.Channels > 1 || d.header.Frames > 1 {
		return fmt.Errorf("compressed (%s) with several volumes: convert it with dcm2niix to NIfTI", syntaxName(f.syntax))
	}
	if f.photometric == "MONOCHROME1" {
		return fmt.Errorf("compressed (%s) and MONOCHROME1: export it uncompressed", syntaxName(f.syntax))
	}
	return nil
}

// files are those that the slices lie in, without copies.
func (d *dicom) files() []*dicomFile {
	var files []*dicomFile
	for _, s := range d.slices {
		if !slices.Contains(files, s.file) {
			files = append(files, s.file)
		}
	}
	return files
}

// regrid reads the NIfTI file that dcm2niix made, whose axes may be others.
func (d *dicom) regrid(dst []float32, name string) ([]float32, error) {
	m, err := Open(d.fsys, name, Options{MaxBytes: 4 * int64(d.header.Len())})
	if err != nil {
		return dst, fmt.Errorf("what dcm2niix made: %w", err)
	}
	v, err := m.Read(nil)
	if err != nil {
		return dst, fmt.Errorf("what dcm2niix made: %w", err)
	}
	at, n := len(dst), d.header.Len()
	dst = slices.Grow(dst, n)[:at+n]
	if err := Regrid(dst[at:], v, d.header, m.Header()); err != nil {
		return dst[:at], fmt.Errorf("what dcm2niix made: %w", err)
	}
	return dst, nil
}
