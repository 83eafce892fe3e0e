package resident

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

// devices are the twins and, where there is one, an adapter.
func devices(t *testing.T) map[string]*gpu.Device {
	list := map[string]*gpu.Device{}
	for _, name := range []string{"cpu", ""} {
		d, err := gpu.Open(name)
		if err != nil && name == "" {
			t.Logf("no adapter: %v", err)
			continue
		}
		require.NoError(t, err)
		t.Cleanup(d.Close)
		list[d.Info().Name] = d
	}
	return list
}

func torsos(t *testing.T, normalize data.Normalization) data.Dataset {
	ds, _, err := data.Phantoms(phantom.Config{Size: 16, Noise: 0.05}, 14, 3, data.Options{Normalize: normalize})
	require.NoError(t, err)
	return ds
}

var everything = transform.Augment{Scale: [2]float64{0.4, 1}, Flip: []float64{0.5, 0.5, 0.5}, Rotate: 0.5}

// TestBatchesAreTheLoaders holds batches made on the device to those of the
// processor.
func TestBatchesAreTheLoaders(t *testing.T) {
	for name, d := range devices(t) {
		for _, a := range []transform.Augment{{}, everything} {
			for _, normalize := range []data.Normalization{data.NormalizeZ, data.NormalizeNone} {
				ds := torsos(t, normalize)
				ids := []int{0, 1, 2, 3, 5, 7, 8, 9, 11, 13}
				loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: 4, Seed: 9, Indices: ids, Augment: a})
				require.NoError(t, err)
				defer loader.Close()
				s, err := New(d, ds, loader, ids, a, 9, 4, 1<<30)
				require.NoError(t, err)
				x := d.Tensor("x", 4, 16*16*16)
				want, got := make([]float32, x.Len()), make([]float32, x.Len())
				for step := range 6 {
					require.NoError(t, loader.Batch(step, want))
					e := d.Begin()
					require.NoError(t, s.Record(e, step, x))
					require.NoError(t, e.Submit())
					require.NoError(t, d.Read(x, got))
					largest := float32(1)
					for _, v := range want {
						largest = max(largest, v, -v)
					}
					require.InDeltaSlice(t, want, got, 2e-5*float64(largest), "%s, step %d, %s", name, step, normalize)
				}
			}
		}
	}
}

// TestTrainingOnResidentSamples: a run is a function of its seed, and near one
// whose batches come from the processor.
func TestTrainingOnResidentSamples(t *testing.T) {
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	ds := torsos(t, data.NormalizeZ)
	c, err := jepa.Default("default")
	require.NoError(t, err)
	v := &c.Encoder
	v.ImgSize, v.PatchSize, v.EmbedDim, v.Depth, v.NumHeads = []int{16, 16, 16}, []int{4, 4, 4}, 12, 1, 2
	c.PredictorEmbedDim, c.PredictorDepth, c.MinKeep, c.BatchSize, c.MaxSteps, c.AccumulateGradBatches, c.Seed = 12, 1, 1, 4, 3, 2, 4
	require.NoError(t, c.Validate())
	ids := ds.Split("train")
	train := func(resident bool) []float64 {
		loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: 4, Seed: c.Seed, Indices: ids, Augment: everything})
		require.NoError(t, err)
		defer loader.Close()
		tr, err := jepa.New(d, c, 1)
		require.NoError(t, err)
		var src jepa.Source = loader
		if resident {
			src, err = New(d, ds, loader, ids, everything, c.Seed, 4, 1<<30)
			require.NoError(t, err)
		}
		var losses []float64
		require.NoError(t, tr.Run(context.Background(), src, jepa.RunOptions{OnStats: func(s jepa.Stats) { losses = append(losses, s.Loss) }}))
		return losses
	}
	first := train(true)
	require.Len(t, first, 3)
	require.Equal(t, first, train(true))
	require.InDeltaSlice(t, train(false), first, 1e-5)
}

func TestWhy(t *testing.T) {
	require.Empty(t, Why(torsos(t, data.NormalizeZ), everything))
	require.Contains(t, Why(torsos(t, data.NormalizeRobust), everything), "robust")
	noisy := everything
	noisy.Noise, noisy.Chance = [2]float64{0, 0.1}, 0.5
	require.Contains(t, Why(torsos(t, data.NormalizeZ), noisy), "noise")
	ds := torsos(t, data.NormalizeZ)
	loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: 4})
	require.NoError(t, err)
	defer loader.Close()
	d, err := gpu.Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	_, err = New(d, ds, loader, []int{0, 1, 2, 3}, everything, 1, 4, 1000)
	require.ErrorIs(t, err, ErrRoom)
	defer func(n int) { pieceWords = n }(pieceWords)
	pieceWords = 1 << 12
	_, err = New(d, ds, loader, []int{0, 1, 2, 3}, everything, 1, 4, 3<<14)
	require.ErrorIs(t, err, ErrRoom)
	require.Zero(t, d.Allocated(), "what was sent before there was no more room")
	require.Zero(t, Room(gpu.Info{Memory: 1 << 30}, 1<<30))
	require.Equal(t, uint64(7<<27-1<<20), Room(gpu.Info{Memory: 1 << 30}, 1<<20))
	require.False(t, Wanted(gpu.Info{Kind: gpu.Software}, 0, ds, everything))
	require.True(t, Wanted(gpu.Info{Kind: gpu.Discrete}, 0, ds, everything))
}
