package embed

import (
	"context"
	"fmt"
	"math"

	"wgjepa/data"
	"wgjepa/internal/patchmap"
)

// axis is where windows lie along one axis of a sample.
type axis struct {
	before  int         // voxels of padding in front
	length  int         // of the sample, in voxels
	patch   int         // voxels
	patches int         // of the sample with its padding
	window  int         // patches of a window
	starts  []int       // first patch of each window
	weights [][]float64 // of each window's patches; those of a patch sum to 1
}

// windows are the axes of one sample.
type windows []axis

// newWindows lays windows over a sample of size whole.
func newWindows(whole, window, patch []int, overlap float64) windows {
	w := make(windows, len(whole))
	for a := range w {
		w[a] = newAxis(whole[a], window[a]/patch[a], patch[a], overlap)
	}
	return w
}

func newAxis(length, window, patch int, overlap float64) axis {
	x := axis{length: length, patch: patch, window: window, patches: max(window, (length+patch-1)/patch)}
	x.before = (x.patches*patch - length) / 2
	last := x.patches - window
	step := max(1, int(math.Round(float64(window)*(1-overlap))))
	for at := 0; at < last; at += step {
		x.starts = append(x.starts, at)
	}
	x.starts = append(x.starts, last)
	gauss, total := make([]float64, window), make([]float64, x.patches)
	for i := range gauss {
		z := (float64(i) - float64(window-1)/2) / (float64(window) / 8)
		gauss[i] = math.Exp(-z * z / 2)
	}
	for _, s := range x.starts {
		for i, g := range gauss {
			total[s+i] += g
		}
	}
	for _, s := range x.starts {
		share := make([]float64, window)
		for i, g := range gauss {
			share[i] = g / total[s+i]
		}
		x.weights = append(x.weights, share)
	}
	return x
}

// keep is the range of patches that hold a voxel of the sample.
func (x axis) keep() (from, to int) {
	return x.before / x.patch, (x.before + x.length + x.patch - 1) / x.patch
}

// kept is the grid of patches that hold a voxel of the sample.
func (w windows) kept() patchmap.Grid {
	var g patchmap.Grid
	for _, x := range w {
		from, to := x.keep()
		g.Size, g.Patch, g.Start = append(g.Size, to-from), append(g.Patch, x.patch), append(g.Start, from*x.patch-x.before)
	}
	return g
}

// each calls f with the window's number along each axis, for all windows.
func (w windows) each(f func(at [3]int) error) error {
	var n [3]int
	for a := range n {
		n[a] = 1
	}
	for a, x := range w {
		n[a] = len(x.starts)
	}
	for i := range n[0] {
		for j := range n[1] {
			for k := range n[2] {
				if err := f([3]int{i, j, k}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cut copies one window of x (C, sample…) to dst (C, window…), the border continued beyond it.
func (w windows) cut(dst, x []float32, channels int, at [3]int) {
	from, to, index := [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3][]int{{0}, {0}, {0}}
	for a, ax := range w {
		from[a], to[a] = ax.length, ax.window*ax.patch
		index[a] = make([]int, to[a])
		for i := range index[a] {
			index[a][i] = min(max(ax.starts[at[a]]*ax.patch-ax.before+i, 0), ax.length-1)
		}
	}
	n, o := from[0]*from[1]*from[2], 0
	for c := range channels {
		for _, i := range index[0] {
			for _, j := range index[1] {
				row := x[c*n+(i*from[1]+j)*from[2]:]
				for _, k := range index[2] {
					dst[o] = row[k]
					o++
				}
			}
		}
	}
}

// add adds the weighted patch features of one window (patches, D) to sum (kept patches, D).
func (w windows) add(sum, tokens []float32, D int, at [3]int) {
	type span struct {
		low, size int // kept patches
		start     int
		weights   []float64
	}
	axes := [3]span{{0, 1, 0, []float64{1}}, {0, 1, 0, []float64{1}}, {0, 1, 0, []float64{1}}}
	for a, x := range w {
		from, to := x.keep()
		axes[a] = span{from, to - from, x.starts[at[a]], x.weights[at[a]]}
	}
	token := 0
	for i, wi := range axes[0].weights {
		p := axes[0].start + i - axes[0].low
		for j, wj := range axes[1].weights {
			q := axes[1].start + j - axes[1].low
			for k, wk := range axes[2].weights {
				r := axes[2].start + k - axes[2].low
				z := tokens[token*D : (token+1)*D]
				token++
				if p < 0 || p >= axes[0].size || q < 0 || q >= axes[1].size || r < 0 || r >= axes[2].size {
					continue // of padding alone
				}
				weight := float32(wi * wj * wk)
				to := sum[((p*axes[1].size+q)*axes[2].size+r)*D:][:D]
				for d, v := range z {
					to[d] += weight * v
				}
			}
		}
	}
}

// maxFeatures bounds the numbers of one sample's patch features.
const maxFeatures = 1 << 30

// slide embeds one whole sample in windows.
func (w *work) slide(ctx context.Context, j *job) error {
	wins := newWindows(w.ds.(data.Spaced).Space(j.first).Whole, w.vit.ImgSize, w.vit.PatchSize, w.Overlap)
	w.grid = wins.kept()
	D, n, P := w.Dim(), w.vit.SampleLen(), w.vit.Patches()
	if n := w.grid.Len(); n > maxFeatures/D {
		j.errs[0] = fmt.Errorf("%s has %d patches: their features take more than %d MiB: crop or resample it first", w.ds.Name(j.first), n, maxFeatures>>18)
		return nil
	}
	if need := w.grid.Len() * D; cap(w.tokens) < need {
		w.tokens = make([]float32, need)
	}
	w.tokens = w.tokens[:w.grid.Len()*D]
	clear(w.tokens)
	var pending [][3]int
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.tokensOf(w.x[:len(pending)*n], len(pending), w.windowTokens); err != nil {
			return err
		}
		for i, at := range pending {
			wins.add(w.tokens, w.windowTokens[i*P*D:(i+1)*P*D], D, at)
		}
		pending = pending[:0]
		return nil
	}
	err := wins.each(func(at [3]int) error {
		i := len(pending)
		wins.cut(w.x[i*n:(i+1)*n], j.x, w.vit.InChans, at)
		if pending = append(pending, at); len(pending) == w.Batch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		w.pool(w.embeddings[:w.Width()], w.tokens)
	}
	return err
}
