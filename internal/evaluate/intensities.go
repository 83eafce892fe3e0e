package evaluate

import (
	"fmt"

	"wgjepa/jepa/probe"
)

// mostParts bounds the parts of a sample whose mean intensities stand for it.
const mostParts = 512

// intensities are features without an encoder: pooled, the mean intensity of
// each part of a sample in each channel, a part being one patch or, where they
// are many, several; dense, the voxels of a patch.
func (e *evaluation) intensities() (*features, error) {
	channels, size := e.ds.Shape()
	voxels := SampleLen(e.ds) / channels
	part := make([]int, len(size)) // voxels of a part along each axis
	copy(part, e.patch)
	count := func() int {
		n := channels
		for i, s := range size {
			n *= (s + part[i] - 1) / part[i]
		}
		return n
	}
	for count() > mostParts && count() > channels {
		for i := range part {
			part[i] = min(2*part[i], size[i])
		}
	}
	for s := range splitNames {
		if most := denseBytes / 4 / (channels * voxels); len(e.labels.volumes[s]) > most {
			return nil, fmt.Errorf("the intensities of %d volumes need more than %d MiB: lower probe.dense_volumes to %d, or leave them out with probe.intensities = false", len(e.labels.volumes[s]), denseBytes>>20, most)
		}
	}
	f := &features{}
	patchLen := channels
	for _, p := range e.patch {
		patchLen *= p
	}
	x := make([]float32, channels*voxels)
	for s := range splitNames {
		ids, volumes := e.labels.ids[s], e.labels.volumes[s]
		f.pooled[s] = probe.Matrix{Rows: len(ids), Cols: count(), Data: make([]float32, len(ids)*count())}
		f.dense[s] = probe.Matrix{Rows: len(volumes) * (voxels * channels / patchLen), Cols: patchLen, Data: make([]float32, 0, len(volumes)*voxels*channels)}
		next := 0
		for i, id := range ids {
			if err := e.ds.Read(id, x); err != nil {
				return nil, err
			}
			means(f.pooled[s].Row(i), x, channels, size, part)
			if next < len(volumes) && volumes[next] == i {
				f.dense[s].Data = append(f.dense[s].Data, patchesOf(x, channels, size, e.patch)...)
				next++
			}
		}
	}
	return f, nil
}

// means writes the mean of each part of x (C, size…), channels first.
func means(dst, x []float32, channels int, size, part []int) {
	parts := make([]int, len(size))
	for i := range size {
		parts[i] = (size[i] + part[i] - 1) / part[i]
	}
	sums, counts := make([]float64, len(dst)), make([]int, len(dst))
	eachVoxel(channels, size, func(at, c int, place []int) {
		to := c
		for i, p := range place {
			to = to*parts[i] + p/part[i]
		}
		sums[to] += float64(x[at])
		counts[to]++
	})
	for i := range dst {
		dst[i] = float32(sums[i] / float64(counts[i]))
	}
}

// patchesOf returns the voxels of each patch of x (C, size…): (P, C·∏patch).
func patchesOf(x []float32, channels int, size, patch []int) []float32 {
	patchLen := channels
	for _, p := range patch {
		patchLen *= p
	}
	out := make([]float32, len(x))
	eachVoxel(channels, size, func(at, c int, place []int) {
		row, within := 0, c
		for i, p := range place {
			row = row*(size[i]/patch[i]) + p/patch[i]
			within = within*patch[i] + p%patch[i]
		}
		out[row*patchLen+within] = x[at]
	})
	return out
}

// eachVoxel calls f for every value of a (C, size…) array in row-major order.
func eachVoxel(channels int, size []int, f func(at, c int, place []int)) {
	place := make([]int, len(size))
	voxels := 1
	for _, s := range size {
		voxels *= s
	}
	for c := range channels {
		for v := range voxels {
			f(c*voxels+v, c, place)
			for i := len(size) - 1; i >= 0; i-- {
				if place[i]++; place[i] < size[i] {
					break
				}
				place[i] = 0
			}
		}
	}
}
