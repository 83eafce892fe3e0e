package embed

import "wgjepa/data"

// Subset is some samples of a data set, in that order.
func Subset(ds data.Dataset, ids []int) data.Dataset {
	if d, ok := ds.(data.Spaced); ok {
		return spacedSubset{d, ids}
	}
	return subset{ds, ids}
}

type subset struct {
	data.Dataset
	ids []int
}

func (s subset) Len() int                        { return len(s.ids) }
func (s subset) Name(i int) string               { return s.Dataset.Name(s.ids[i]) }
func (s subset) Read(i int, dst []float32) error { return s.Dataset.Read(s.ids[i], dst) }

type spacedSubset struct {
	data.Spaced
	ids []int
}

func (s spacedSubset) Len() int                        { return len(s.ids) }
func (s spacedSubset) Name(i int) string               { return s.Spaced.Name(s.ids[i]) }
func (s spacedSubset) Read(i int, dst []float32) error { return s.Spaced.Read(s.ids[i], dst) }
func (s spacedSubset) Space(i int) data.Space          { return s.Spaced.Space(s.ids[i]) }
func (s spacedSubset) ReadWhole(i int, dst []float32) ([]float32, error) {
	return s.Spaced.ReadWhole(s.ids[i], dst)
}
