package config

import "slices"

// Note is what weights say of how data were read for them: everything but
// where they lie, since names of folders can be names of patients.
func (c Config) Note() string {
	c.Data.Paths, c.Data.Labels, c.Data.Splits = nil, "", ""
	return string(c.TOML())
}

// Check validates a configuration as far as it goes without data, and fills in
// what does not depend on them. Sizes that are not known yet stay 0.
func (c Config) Check() (Config, error) {
	size := c.Data.Size
	if len(size) == 0 {
		size = c.Encoder.ImgSize
	}
	whole := c
	if len(size) > 0 {
		err := whole.Complete(max(1, c.Encoder.InChans), size)
		whole.Encoder.InChans = c.Encoder.InChans
		return whole, err
	}
	// Any size stands in that patches divide and masks find room on.
	patch := c.Encoder.PatchSize
	if len(patch) < 2 {
		p := 8
		if len(patch) == 1 {
			p = patch[0]
		}
		patch = []int{p, p, p}
	}
	for _, p := range patch {
		size = append(size, 16*max(1, p))
	}
	err := whole.Complete(max(1, c.Encoder.InChans), size)
	whole.Encoder.InChans, whole.Encoder.ImgSize, whole.Encoder.PatchSize, whole.Data.Size = c.Encoder.InChans, c.Encoder.ImgSize, c.Encoder.PatchSize, c.Data.Size
	return whole, err
}

// SuggestSize proposes one size for samples of several: the median of each
// axis, brought to one that patches divide.
func SuggestSize(sizes [][]int) []int {
	median := slices.Clone(sizes[0])
	for a := range median {
		axis := make([]int, 0, len(sizes))
		for _, s := range sizes {
			axis = append(axis, s[a])
		}
		slices.Sort(axis)
		median[a] = axis[len(axis)/2]
	}
	for p := min(16, slices.Min(median)/6); p > 1; p-- {
		if size := nearMultiple(median, p); slices.Min(size) >= 6*p && evenPatch(size) >= p {
			return size
		}
	}
	for a, n := range median {
		if axisPatch(n) == 0 {
			p := min(16, max(2, n/6))
			median[a] = max(2*p, nearMultiple([]int{n}, p)[0])
		}
	}
	return median
}
