package weights

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Adapt returns the weights of an encoder for inputs of another shape; nil or
// zero leaves what is there. The receiver stays as it is; unchanged tensors are
// shared.
//
//   - inChans: each new channel gets the patch embedding's kernel averaged over
//     the old channels.
//   - imgSize of as many axes: position embeddings are resized as
//     torch.nn.functional.interpolate does it, bicubic, align_corners false,
//     along each axis whose grid changes; they count as learned from then on.
//   - imgSize and patchSize of three axes for a 2-D encoder (inflation): the
//     kernel is repeated along the last axis and divided by its length there;
//     position embeddings are resized in plane and repeated along the last
//     axis. LayerNorm's epsilon stays that of the 2-D encoder.
//
// The patch size in plane cannot change. A predictor keeps its weights; its
// fixed table of positions becomes that of the new grid.
func (w *Weights) Adapt(imgSize, patchSize []int, inChans int) (*Weights, error) {
	c := w.Config
	if imgSize == nil {
		imgSize = c.ImgSize
	}
	if patchSize == nil {
		patchSize = c.PatchSize
	}
	if inChans == 0 {
		inChans = c.InChans
	}
	inflate := len(patchSize) == 3 && c.Dim() == 2
	fail := func(format string, a ...any) (*Weights, error) {
		return nil, fmt.Errorf("weights: %s to img_size %v, patch_size %v, in_chans %d: %w", w.Source, imgSize, patchSize, inChans, fmt.Errorf(format, a...))
	}
	switch {
	case !inflate && len(patchSize) != c.Dim():
		return fail("its patches have %d axes: 2-D weights fit images and volumes, 3-D weights volumes only", c.Dim())
	case !slices.Equal(patchSize[:c.Dim()], c.PatchSize):
		return fail("its patches are %v: keep that patch_size in plane", c.PatchSize)
	case inflate && (patchSize[2] < 1 || patchSize[2] > 1<<10):
		return fail("a patch is 1 to 1024 deep")
	case inChans < 1 || inChans > 1<<12:
		return fail("in_chans must be 1 to 4096")
	case imgSize == nil:
		return fail("the size of the images is unknown: give it")
	case len(imgSize) != len(patchSize):
		return fail("img_size and patch_size need the same number of axes")
	}
	for i, s := range imgSize {
		if s < patchSize[i] || s%patchSize[i] != 0 || s > 1<<16 {
			return fail("img_size is not a multiple of patch_size on axis %d", i)
		}
	}
	old := c.Grid()
	n := *w
	n.Config.ImgSize, n.Config.PatchSize, n.Config.InChans = slices.Clone(imgSize), slices.Clone(patchSize), inChans
	n.Config.Unknown = slices.DeleteFunc(slices.Clone(c.Unknown), func(s string) bool { return s == "img_size" })
	grid := n.Config.Grid()
	if P, ok := product(grid); !ok || P > 1<<20 {
		return fail("that is more than %d patches", 1<<20)
	}
	moved := inflate || old != nil && !slices.Equal(grid, old)
	var err error
	adapt := func(list []Tensor) []Tensor {
		list = slices.Clone(list)
		for i, t := range list {
			switch {
			case t.Name == "patch_embed.proj.weight":
				list[i] = adaptKernel(t, patchSize, inChans)
			case t.Name == "pos_embed" && old == nil:
				if rows, ok := product(grid); !ok || t.Shape[1] != rows && t.Shape[1] != rows+c.Prefix() {
					err = errors.New("the grid of its positions is unknown: give Options.ImgSize, the size that it was trained at")
				}
			case t.Name == "pos_embed" && moved:
				list[i] = resizePositions(t, old, grid)
				n.Config.PosEmbed = "learned"
			}
		}
		return list
	}
	n.Encoder = adapt(w.Encoder)
	if w.Target != nil {
		n.Target = adapt(w.Target)
	}
	if err != nil {
		return fail("%w", err)
	}
	if moved && has(w.Predictor, "predictor_pos_embed") {
		n.Predictor = slices.Clone(w.Predictor)
		*find(n.Predictor, "predictor_pos_embed") = sinCos("predictor_pos_embed", 0, grid, c.Predictor.EmbedDim, c.PosOrder)
	}
	return &n, nil
}

// adaptKernel gives a kernel (D, C, h, w[, d]) other channels and, from 2-D, a
// third axis.
func adaptKernel(t Tensor, patch []int, inChans int) Tensor {
	D, C := t.Shape[0], t.Shape[1]
	in := len(t.Data) / (D * C)
	deep := 1
	if len(patch) == 3 && len(t.Shape) == 4 {
		deep = patch[2]
	}
	shape := append([]int{D, inChans}, patch...)
	out := make([]float32, 0, D*inChans*in*deep)
	for o := range D {
		for ch := range inChans {
			for i := range in {
				v := float64(t.Data[(o*C+ch%C)*in+i])
				if inChans != C {
					v = 0
					for c := range C {
						v += float64(t.Data[(o*C+c)*in+i])
					}
					v /= float64(C)
				}
				for range deep {
					out = append(out, float32(v/float64(deep)))
				}
			}
		}
	}
	return Tensor{t.Name, shape, out}
}

// resizePositions resizes the rows of a position embedding (1, R+P, D) that
// belong to patches from one grid to another; a grid with a third axis more
// repeats them along it.
func resizePositions(t Tensor, from, to []int) Tensor {
	D := t.Shape[2]
	P, _ := product(from)
	R := t.Shape[1] - P
	v := make([]float64, P*D)
	for i := range v {
		v[i] = float64(t.Data[R*D+i])
	}
	for axis, n := range from {
		if to[axis] != n {
			inner := D
			for _, m := range from[axis+1:] {
				inner *= m
			}
			v = resizeAxis(v, n, to[axis], inner)
		}
	}
	repeat := 1
	if len(to) > len(from) {
		repeat = to[2]
	}
	out := slices.Clone(t.Data[:R*D])
	for i := 0; i < len(v); i += D {
		for range repeat {
			for _, x := range v[i : i+D] {
				out = append(out, float32(x))
			}
		}
	}
	return Tensor{t.Name, []int{1, len(out) / D, D}, out}
}

// resizeAxis resizes the middle axis of v (outer, n, inner) to m by cubic
// convolution, as torch's interpolate with mode bicubic and align_corners
// false: no smoothing when it shrinks, borders repeated. Later axes of v keep
// their length while earlier ones have changed, so outer is what remains.
func resizeAxis(v []float64, n, m, inner int) []float64 {
	outer := len(v) / (n * inner)
	out := make([]float64, outer*m*inner)
	for j := range m {
		x := (float64(j)+0.5)*float64(n)/float64(m) - 0.5
		first := math.Floor(x)
		weight := cubic(x - first)
		for k, wk := range weight {
			src := min(max(int(first)-1+k, 0), n-1)
			for o := range outer {
				dst, s := out[(o*m+j)*inner:][:inner], v[(o*n+src)*inner:][:inner]
				for i := range dst {
					dst[i] += wk * s[i]
				}
			}
		}
	}
	return out
}

// cubic gives the weights of the four neighbours at a distance t past the
// second, for the cubic convolution kernel with a = −0.75 (torch
// UpSample.h).
func cubic(t float64) [4]float64 {
	const a = -0.75
	near := func(x float64) float64 { return ((a+2)*x-(a+3))*x*x + 1 }
	far := func(x float64) float64 { return ((a*x-5*a)*x+8*a)*x - 4*a }
	return [4]float64{far(t + 1), near(t), near(1 - t), far(2 - t)}
}
