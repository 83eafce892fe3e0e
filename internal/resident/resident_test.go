package resident

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/data"
	"wgjepa/data/phantom"
	"wgjepa/data/transform"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/testdata"
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

func TestRoom(t *testing.T) {
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
	require.False(t, Wanted(gpu.Info{Kind: gpu.Software}, 0, ds))
	require.True(t, Wanted(gpu.Info{Kind: gpu.Discrete}, 0, ds))
}

// TestStepsDoNotAllocate: once the source is made, no step takes memory, of the device or
// of Go, nor compiles; what it took is what batchBytes counts.
func TestStepsDoNotAllocate(t *testing.T) {
	all := everything
	all.Blur, all.Noise, all.Erase, all.Chance = [2]float64{0.2, 1}, [2]float64{0, 0.2}, [2]float64{0.02, 0.2}, 0.7
	for name, d := range devices(t) {
		for _, normalize := range []data.Normalization{data.NormalizeZ, data.NormalizeForeground, data.NormalizeRobust} {
			ds := torsos(t, normalize)
			ids := ds.Split("train")
			loader, err := data.NewLoader(ds, data.LoaderOptions{Batch: 4, Indices: ids, Augment: all})
			require.NoError(t, err)
			defer loader.Close()
			fresh := d
			if d.Info().Kind == gpu.Twins { // nobody else's scratch
				fresh, err = gpu.Open("cpu")
				require.NoError(t, err)
				defer fresh.Close()
			}
			s, err := New(fresh, ds, loader, ids, all, 1, 4, 1<<30)
			require.NoError(t, err)
			if fresh != d {
				var c config.Config
				c.BatchSize, c.Data.Blur, c.Data.Noise, c.Data.Erase, c.Data.AugmentChance = 4, all.Blur, all.Noise, all.Erase, all.Chance
				require.Equal(t, fresh.Allocated(), s.Bytes()+batchBytes(d.Info(), &c, ds.(data.Packable)), name)
			}
			x := fresh.Tensor("x", 4, 16*16*16)
			before := fresh.Allocated()
			step := 0
			record := func() {
				require.NoError(t, s.Record(fresh.Begin(), step%(2*loader.StepsPerEpoch()), x))
				step++
			}
			for range 2 * loader.StepsPerEpoch() {
				record()
			}
			if allocations := testing.AllocsPerRun(20, record); !testdata.Race {
				require.Zero(t, allocations, "%s, %s", name, normalize)
			}
			require.NoError(t, fresh.Begin().Submit())
			require.Equal(t, before, fresh.Allocated())
		}
	}
}
