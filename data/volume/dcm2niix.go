//go:build !js

package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// converter is the program that decodes compressed DICOM.
const converter = "dcm2niix"

// converted is a series of slices that are compressed in a way that is not decoded here.
// Its geometry is read from its elements; its voxels come from dcm2niix each time they are
// read, through a temporary folder, and are refused where that program places them
// elsewhere.
type converted struct {
	*dicom
	files []*dicomFile
}

func openConverted(fsys fs.FS, d *dicom, files []*dicomFile) (Image, error) {
	f := files[0]
	if _, err := exec.LookPath(converter); err != nil || fsys != OS {
		return nil, fmt.Errorf("compressed (%s): install dcm2niix so that it is on the PATH (apt install dcm2niix; also in conda, pip and Homebrew), or export the series uncompressed", syntaxName(f.syntax))
	}
	if d.header.Channels > 1 || d.header.Frames > 1 {
		return nil, fmt.Errorf("compressed (%s) with several volumes: convert it with dcm2niix to NIfTI", syntaxName(f.syntax))
	}
	if f.photometric == "MONOCHROME1" {
		return nil, fmt.Errorf("compressed (%s) and MONOCHROME1: export it uncompressed", syntaxName(f.syntax))
	}
	return &converted{d, files}, nil
}

func (c *converted) Read(dst []float32) ([]float32, error) {
	dir, err := os.MkdirTemp("", "wgjepa-dicom-*")
	if err != nil {
		return dst, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := errors.Join(os.Mkdir(in, 0o700), os.Mkdir(out, 0o700)); err != nil {
		return dst, err
	}
	used := map[*dicomFile]bool{}
	for _, s := range c.slices { // not the copies of slices
		if used[s.file] {
			continue
		}
		used[s.file] = true
		if err := copyFile(filepath.Join(in, strconv.Itoa(len(used))+".dcm"), s.file.name); err != nil {
			return dst, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	// Not compressed, no side file (which would hold patient data), one name.
	said, err := exec.CommandContext(ctx, converter, "-z", "n", "-b", "n", "-m", "y", "-f", "image", "-o", out, in).CombinedOutput()
	made, _ := filepath.Glob(filepath.Join(out, "*.nii"))
	if len(made) != 1 {
		if err == nil {
			err = fmt.Errorf("%d images came out", len(made))
		}
		return dst, fmt.Errorf("dcm2niix could not convert it (%d bytes of messages): %w: try it by hand", len(said), err)
	}
	m, err := Open(OS, made[0], Options{MaxBytes: 4 * int64(c.header.Len())})
	if err != nil {
		return dst, fmt.Errorf("what dcm2niix made: %w", err)
	}
	v, err := m.Read(nil)
	if err != nil {
		return dst, fmt.Errorf("what dcm2niix made: %w", err)
	}
	at, n := len(dst), c.header.Len()
	dst = slices.Grow(dst, n)[:at+n]
	if err := Regrid(dst[at:], v, c.header, m.Header()); err != nil {
		return dst[:at], fmt.Errorf("what dcm2niix made: %w", err)
	}
	return dst, nil
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
