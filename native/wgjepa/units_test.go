package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
)

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"runs/a": "runs/a", "": "''", "my run": "'my run'", "it's": `'it'\''s'`} {
		require.Equal(t, want, quote(in))
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		1234 * time.Millisecond: "1.2s", 95*time.Second + 400*time.Millisecond: "1m35s", 90 * time.Minute: "1h30m",
	} {
		require.Equal(t, want, duration(in))
	}
}

// TestMetricsAreCut: a resumed run keeps the lines up to its step, even where a
// crash cut the last one.
func TestMetricsAreCut(t *testing.T) {
	folder := runFolder(t.TempDir())
	m, before, err := folder.openMetrics(0)
	require.NoError(t, err)
	require.Empty(t, before)
	for step := range 5 {
		require.NoError(t, m.add(metric{Stats: &jepa.Stats{Step: step + 1, Loss: float64(step)}}))
	}
	require.NoError(t, m.add(metric{Health: &health{Step: 3, RankMe: 2}}))
	require.NoError(t, m.close())
	f, err := os.OpenFile(folder.path(metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"step":6,"lo`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	m, before, err = folder.openMetrics(3)
	require.NoError(t, err)
	require.Len(t, before, 4)
	require.NoError(t, m.add(metric{Stats: &jepa.Stats{Step: 4}}))
	require.NoError(t, m.close())
	list, err := folder.readMetrics()
	require.NoError(t, err)
	var steps []int
	for _, entry := range list {
		steps = append(steps, entry.step())
	}
	require.Equal(t, []int{1, 2, 3, 3, 4}, steps)
	require.Nil(t, list[3].Stats)
	require.Equal(t, number(2), list[3].Health.RankMe)
}

func demo(t *testing.T) config.Config {
	c, err := config.Parse(config.Demo())
	require.NoError(t, err)
	require.NoError(t, c.Complete(1, []int{24, 24, 24}))
	return c
}

func TestMemoryIsCheckedBeforeAnythingIsAllocated(t *testing.T) {
	var said bytes.Buffer
	c := &console{err: &said}
	conf := demo(t)
	info := gpu.Info{Name: "small card", Kind: gpu.Discrete, Memory: 64 << 20}
	info.Limits = gpu.Adapters()[len(gpu.Adapters())-1].Limits
	err := checkMemory(c, info, conf.Config)
	require.ErrorContains(t, err, "training does not fit: it needs ")
	require.ErrorContains(t, err, "activations")
	require.ErrorContains(t, err, "small card has 64.0 MiB")
	require.Regexp(t, `batch_size \d+ would fit, with accumulate_grad_batches \d+`, err.Error())

	info.Memory = 1 << 20
	require.ErrorContains(t, checkMemory(c, info, conf.Config), "use a smaller encoder")
	info.Memory = 8 << 30
	require.NoError(t, checkMemory(c, info, conf.Config))
	require.Contains(t, said.String(), "memory: ")
	info.Limits.BufferSize = 1 << 16
	require.ErrorContains(t, checkMemory(c, info, conf.Config), "holds at most 65536 in one buffer")
}

// TestSuggestedBatchFits: what the refusal says to change is enough.
func TestSuggestedBatchFits(t *testing.T) {
	conf := demo(t)
	info := gpu.Adapters()[len(gpu.Adapters())-1]
	info.Kind, info.Memory = gpu.Discrete, 64<<20
	c := &console{err: &bytes.Buffer{}}
	err := checkMemory(c, info, conf.Config)
	require.Error(t, err)
	suggested, err := strconv.Atoi(regexp.MustCompile(`batch_size (\d+) would fit`).FindStringSubmatch(err.Error())[1])
	require.NoError(t, err)
	conf.BatchSize = suggested
	require.NoError(t, checkMemory(c, info, conf.Config))
	conf.BatchSize++
	require.Error(t, checkMemory(c, info, conf.Config))

	// So it is where a tensor is too large to be bound, whatever the memory.
	conf = demo(t)
	info.Memory, info.Limits.BindingSize = 0, 4<<20
	err = checkMemory(c, info, conf.Config)
	require.ErrorContains(t, err, "binds at most 4194304 at once")
	conf.BatchSize, err = strconv.Atoi(regexp.MustCompile(`batch_size (\d+) would fit`).FindStringSubmatch(err.Error())[1])
	require.NoError(t, err)
	require.NoError(t, checkMemory(c, info, conf.Config))
}

func TestAdapterLine(t *testing.T) {
	require.Equal(t, "Radeon (discrete GPU, Vulkan, radv)", describe(gpu.Info{Name: "Radeon", Kind: gpu.Discrete, Backend: "Vulkan", Driver: "radv"}))
	require.Equal(t, "plain Go (plain Go (CPU), Go)", describe(gpu.Info{Name: "plain Go", Kind: gpu.Twins, Backend: "Go"}))
}
