package data

import (
	"fmt"
	"slices"

	"wgjepa/data/transform"
)

// Space says where a sample lies, as its file has it and as it is prepared. Affines map
// voxel indices to mm, RAS+; of pictures, whose axes are (rows, columns), the identity
// stands for the file's.
type Space struct {
	Stored       []int // size in the file
	StoredAffine [4][4]float64
	Whole        []int // size after reorientation and resampling
	WholeAffine  [4][4]float64
	Size         []int // size that Read gives: cropped, padded or resized
	Affine       [4][4]float64
}

// Spaced is a Dataset whose samples have a place in space. Those of [Open] and [Phantoms] have.
type Spaced interface {
	Dataset
	// Space says where sample i lies.
	Space(i int) Space
	// ReadWhole appends sample i as Read gives it, but neither cropped, padded nor resized:
	// (C, Whole…) of its Space, its intensities normalised over all of it.
	ReadWhole(i int, dst []float32) ([]float32, error)
}

func (d *dataset) Space(i int) Space {
	h := d.items[i].header
	p := d.place(h)
	s := Space{Stored: h.Size, StoredAffine: h.Affine, Whole: p.resampled, WholeAffine: h.Affine, Size: d.size}
	if p.reorient {
		s.WholeAffine = p.axes.Affine(s.WholeAffine, h.Size)
	}
	if d.resamples(p) {
		s.WholeAffine = transform.ResampledAffine(s.WholeAffine, p.spacing, d.Spacing)
	}
	if d.Fit == FitResize {
		s.Affine = transform.ResizedAffine(s.WholeAffine, s.Whole, s.Size)
	} else {
		s.Affine = transform.CroppedAffine(s.WholeAffine, s.Whole, s.Size)
	}
	return s
}

func (d *dataset) ReadWhole(i int, dst []float32) ([]float32, error) {
	size := d.place(d.items[i].header).resampled
	one := dataset{items: d.items[i : i+1], preprocess: preprocess{d.channels, size, d.Options}}
	one.cache.full.Store(true)
	at, n := len(dst), d.channels*volumeOf(size)
	dst = slices.Grow(dst, n)[:at+n]
	if err := one.load(0, dst[at:]); err != nil {
		return dst[:at], fmt.Errorf("data: %s: %w", d.items[i].name, err)
	}
	one.normalize(dst[at:])
	return dst, nil
}
