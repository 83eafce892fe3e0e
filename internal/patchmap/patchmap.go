// Package patchmap writes a value for each patch as a volume that lies where the scan lies.
//
// Patches form a grid over a sample after it was reoriented, resampled, cropped, padded or
// resized. A volume of one voxel a patch with the right affine shows them at their places in
// any viewer, without interpolation ([Grid.Affine]). For programs that want the voxels of the
// scan itself, [Grid.OnScan] gives each of them the values of the patch that holds its centre.
package patchmap

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"wgjepa/data/volume"
)

// Grid is the patches of one prepared sample; axes as the sample's, two or three.
type Grid struct {
	Size  []int // patches
	Patch []int // voxels of a patch
	Start []int // voxel at which the first patch begins; below 0 where it lies in padding
}

// Whole is the grid of a sample that patches divide.
func Whole(size, patch []int) Grid {
	g := Grid{Patch: patch, Start: make([]int, len(size))}
	for a, n := range size {
		g.Size = append(g.Size, n/patch[a])
	}
	return g
}

// Len is the number of patches.
func (g Grid) Len() int {
	n := 1
	for _, s := range g.Size {
		n *= s
	}
	return n
}

// Affine maps patch indices to mm: to the centres of the patches of a sample with this affine.
func (g Grid) Affine(sample [4][4]float64) [4][4]float64 {
	out := sample
	for a, p := range g.Patch {
		centre := float64(g.Start[a]) + float64(p-1)/2
		for r := range 3 {
			out[r][a] = sample[r][a] * float64(p)
			out[r][3] += sample[r][a] * centre
		}
	}
	return out
}

// three is a size with a third axis; a picture is one slice.
func three(size []int) [3]int {
	out := [3]int{1, 1, 1}
	copy(out[:], size)
	return out
}

// OnScan gives each voxel of a scan the values of its patch: values (C, patches…) become
// (C, scan…). Voxels outside the grid, which the encoder did not see, are NaN.
func (g Grid) OnScan(values []float32, channels int, sample [4][4]float64, scan []int, scanAffine [4][4]float64) ([]float32, error) {
	n, size, to := g.Len(), three(g.Size), three(scan)
	if len(values) != channels*n {
		panic(fmt.Sprintf("patchmap: OnScan: %d values for %d channels of %v patches", len(values), channels, g.Size))
	}
	back, ok := volume.Invert(g.Affine(sample))
	if !ok {
		return nil, fmt.Errorf("the scan's affine cannot be inverted: %v", sample)
	}
	m := volume.Multiply(back, scanAffine)
	voxels := to[0] * to[1] * to[2]
	out := make([]float32, channels*voxels)
	at := 0
	for i := range to[0] {
		for j := range to[1] {
			for k := range to[2] {
				patch := 0
				for a := range 3 {
					x := m[a][0]*float64(i) + m[a][1]*float64(j) + m[a][2]*float64(k) + m[a][3]
					// Where a voxel's centre lies between two patches rounding must not decide.
					p := int(math.Floor(x + 0.5 + 1e-6))
					if p < 0 || p >= size[a] {
						patch = -1
						break
					}
					patch = patch*size[a] + p
				}
				for c := range channels {
					if patch < 0 {
						out[c*voxels+at] = float32(math.NaN())
					} else {
						out[c*voxels+at] = values[c*n+patch]
					}
				}
				at++
			}
		}
	}
	return out, nil
}

// Write writes values (C, patches…) as a NIfTI file of one voxel a patch, compressed where the
// name ends in .gz, whole or not at all.
func (g Grid) Write(path string, values []float32, channels int, sample [4][4]float64) error {
	return write(path, channels, three(g.Size), g.Affine(sample), values)
}

// WriteOnScan writes values (C, patches…) as a NIfTI file of the scan's own voxels.
func (g Grid) WriteOnScan(path string, values []float32, channels int, sample [4][4]float64, scan []int, scanAffine [4][4]float64) error {
	v, err := g.OnScan(values, channels, sample, scan, scanAffine)
	if err != nil {
		return err
	}
	return write(path, channels, three(scan), scanAffine, v)
}

func write(path string, channels int, size [3]int, affine [4][4]float64, values []float32) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return volume.WriteChannelsFile(path, channels, size, affine, values)
}

// FileName is a file's name for a sample: its own without the image's extension, as a path
// that stays below the folder it is joined to, and suffix.
func FileName(sample, suffix string) string {
	for _, ext := range []string{".gz", ".nii", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy"} {
		if at := len(sample) - len(ext); at >= 0 && strings.EqualFold(sample[at:], ext) {
			sample = sample[:at]
		}
	}
	name := filepath.FromSlash(filepath.Clean("/" + filepath.ToSlash(sample)))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"|?*`, r) {
			return '_'
		}
		return r
	}, name)
	return strings.TrimPrefix(name, string(filepath.Separator)) + suffix
}
