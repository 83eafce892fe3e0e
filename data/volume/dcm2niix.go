package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
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
	if err := regrid(dst[at:], v, c.header, m.Header()); err != nil {
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

// regrid copies src onto the voxels of dst, which must be the same places in another
// order.
func regrid(dst, src []float32, to, from Header) error {
	inverse, ok := invert(from.Affine)
	if !ok || from.Channels != 1 || len(from.Size) > 3 {
		return fmt.Errorf("an affine that cannot be inverted or several channels: %v", from.Affine)
	}
	m := multiply(inverse, to.Affine)
	size := [3]int{1, 1, 1}
	copy(size[:], from.Size)
	var step [3][4]int
	for i := range 3 {
		for j := range 4 {
			step[i][j] = int(math.Round(m[i][j]))
			if j < 3 && to.Size[j] == 1 {
				step[i][j] = 0 // a single slice has no direction to compare
				continue
			}
			if !(math.Abs(m[i][j]-float64(step[i][j])) < 0.05) {
				return fmt.Errorf("its voxels lie elsewhere than the elements of the files say: %.4g of a voxel apart", m[i][j])
			}
		}
	}
	if len(src) != len(dst) {
		return fmt.Errorf("%v voxels, the files have %v", from.Size, to.Size)
	}
	o := 0
	for i := range to.Size[0] {
		for j := range to.Size[1] {
			for k := range to.Size[2] {
				at := [3]int{}
				for a := range 3 {
					at[a] = step[a][0]*i + step[a][1]*j + step[a][2]*k + step[a][3]
					if at[a] < 0 || at[a] >= size[a] {
						return fmt.Errorf("its voxels lie elsewhere than the elements of the files say: voxel %v is %v of %v", [3]int{i, j, k}, at, size)
					}
				}
				dst[o] = src[(at[0]*size[1]+at[1])*size[2]+at[2]]
				o++
			}
		}
	}
	return nil
}

func multiply(a, b [4][4]float64) (c [4][4]float64) {
	for i := range 4 {
		for j := range 4 {
			for k := range 4 {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

// invert returns the inverse of an affine.
func invert(a [4][4]float64) ([4][4]float64, bool) {
	column := func(j int) [3]float64 { return [3]float64{a[0][j], a[1][j], a[2][j]} }
	x, y, z := column(0), column(1), column(2)
	rows := [3][3]float64{cross(y, z), cross(z, x), cross(x, y)}
	det := dot(x, rows[0])
	if !(math.Abs(det) > 1e-12) {
		return a, false
	}
	inverse := Identity()
	for i, r := range rows {
		for j := range 3 {
			inverse[i][j] = r[j] / det
		}
		inverse[i][3] = -dot(r, column(3)) / det
	}
	return inverse, true
}
