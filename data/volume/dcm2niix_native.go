//go:build !js

package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// converted is a series of slices that are compressed in a way that is not decoded here.
// Its geometry is read from its elements; its voxels come from dcm2niix each time they are
// read, through a temporary folder, and are refused where that program places them
// elsewhere.
type converted struct{ *dicom }

func openConverted(d *dicom, f *dicomFile) (Image, error) {
	if _, err := exec.LookPath(converter); err != nil || d.fsys != OS {
		return nil, fmt.Errorf("compressed (%s): install dcm2niix so that it is on the PATH (apt install dcm2niix; also in conda, pip and Homebrew), or export the series uncompressed", syntaxName(f.syntax))
	}
	if err := d.convertible(f); err != nil {
		return nil, err
	}
	return &converted{d}, nil
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
	for i, f := range c.files() {
		if err := copyFile(filepath.Join(in, strconv.Itoa(i)+".dcm"), f.name); err != nil {
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
	return c.regrid(dst, made[0])
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
