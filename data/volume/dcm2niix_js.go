package volume

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
)

// converted is a series of slices that are compressed in a way that is not decoded here.
// Its geometry is read from its elements, its voxels from the file that dcm2niix made;
// they are refused where that program places them elsewhere.
type converted struct {
	*dicom
	image string
}

func openConverted(d *dicom, f *dicomFile) (Image, error) {
	if err := d.convertible(f); err != nil {
		return nil, err
	}
	// Beside the series, so that it stays and goes with it; the name tells the files.
	e := &CompressedError{syntax: f.syntax}
	files, hash := d.files(), sha256.New()
	for _, f := range files {
		e.Files = append(e.Files, f.name)
		fmt.Fprintf(hash, "%q %q\n", path.Base(f.name), f.instanceUID)
	}
	e.Image = path.Join(folder(files), fmt.Sprintf(".dcm2niix-%x.nii", hash.Sum(nil)[:8]))
	if _, err := fs.Stat(d.fsys, e.Image); err != nil {
		return nil, e
	}
	return &converted{d, e.Image}, nil
}

func (c *converted) Read(dst []float32) ([]float32, error) { return c.regrid(dst, c.image) }
