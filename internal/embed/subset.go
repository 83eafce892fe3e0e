package embed

import (
	"slices"

	"wgjepa/data"
	"wgjepa/data/volume"
)

// Subset is some samples of a data set, in that order.
func Subset(ds data.Dataset, ids []int) data.Dataset {
	s := subset{ds, ids}
	if d, ok := ds.(data.Spaced); ok {
		return spacedSubset{s, d}
	}
	return s
}

type subset struct {
	data.Dataset
	ids []int
}

func (s subset) Len() int                        { return len(s.ids) }
func (s subset) Read(i int, dst []float32) error { return s.Dataset.Read(s.ids[i], dst) }
func (s subset) ReadRaw(i int, dst []float32) ([]float32, error) {
	return s.Dataset.ReadRaw(s.ids[i], dst)
}
func (s subset) Name(i int) string            { return s.Dataset.Name(s.ids[i]) }
func (s subset) Header(i int) volume.Header   { return s.Dataset.Header(s.ids[i]) }
func (s subset) Label(i int) (int, bool)      { return s.Dataset.Label(s.ids[i]) }
func (s subset) Target(i int) (float64, bool) { return s.Dataset.Target(s.ids[i]) }
func (s subset) Subject(i int) string         { return s.Dataset.Subject(s.ids[i]) }
func (s subset) VoxelLabels(i int, dst []uint8) (bool, error) {
	return s.Dataset.VoxelLabels(s.ids[i], dst)
}

// Split returns the places of the part's samples in the subset.
func (s subset) Split(name string) []int {
	list := []int{}
	part := s.Dataset.Split(name)
	for i, id := range s.ids {
		if _, ok := slices.BinarySearch(part, id); ok {
			list = append(list, i)
		}
	}
	return list
}

type spacedSubset struct {
	subset
	spaced data.Spaced
}

func (s spacedSubset) Space(i int) data.Space { return s.spaced.Space(s.ids[i]) }
func (s spacedSubset) ReadWhole(i int, dst []float32) ([]float32, error) {
	return s.spaced.ReadWhole(s.ids[i], dst)
}
