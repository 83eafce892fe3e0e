package probe

import (
	"fmt"
	"slices"
)

// PatchLabels returns the label that most voxels of each patch have, the smallest
// among equals. labels (size[0], size[1], …) is in C order and so are the patches,
// as patch tokens are. It fails when patches do not tile the volume or a label is
// not below classes.
func PatchLabels[T ~uint8 | ~uint16 | ~int16 | ~int32 | ~int](labels []T, size, patch []int, classes int) ([]int, error) {
	mustMatch("PatchLabels", len(size), len(patch))
	voxels, patches := 1, 1
	for a := range size {
		if patch[a] < 1 || size[a] < 1 || size[a]%patch[a] != 0 {
			return nil, fmt.Errorf("probe: patches of %v do not tile a volume of %v; crop or pad it to a multiple", patch, size)
		}
		voxels *= size[a]
		patches *= size[a] / patch[a]
	}
	mustMatch("PatchLabels", voxels, len(labels))
	counts := make([]int, patches*classes)
	at := make([]int, len(size)) // index of the voxel along each axis
	for _, l := range labels {
		if l < 0 || int(l) >= classes {
			return nil, fmt.Errorf("probe: voxel %v has label %d; labels go from 0 to %d", at, l, classes-1)
		}
		p := 0
		for a := range size {
			p = p*(size[a]/patch[a]) + at[a]/patch[a]
		}
		counts[p*classes+int(l)]++
		for a := len(size) - 1; a >= 0; a-- {
			if at[a]++; at[a] < size[a] {
				break
			}
			at[a] = 0
		}
	}
	out := make([]int, 0, patches)
	for c := range slices.Chunk(counts, classes) {
		best := 0
		for k, n := range c {
			if n > c[best] {
				best = k
			}
		}
		out = append(out, best)
	}
	return out, nil
}

// ByGroup counts predictions of each group (volume) apart, groups ascending: the
// units that [OnVolumes] resamples.
func ByGroup(y, pred, group []int, classes int) []Confusion {
	mustMatch("ByGroup", len(y), len(pred))
	mustMatch("ByGroup", len(y), len(group))
	ids := slices.Compact(slices.Sorted(slices.Values(group)))
	out := make([]Confusion, len(ids))
	for i := range out {
		out[i] = emptyConfusion(classes)
	}
	for i, g := range group {
		u, _ := slices.BinarySearch(ids, g)
		out[u][y[i]][pred[i]]++
	}
	return out
}
