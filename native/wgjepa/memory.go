package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"wgjepa/gpu"
	"wgjepa/jepa"
)

// freeMemory is what the machine can still give, in bytes; 0 where the system
// does not tell.
func freeMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// checkMemory answers "will it fit?" before anything is allocated: it prints
// what training needs, or refuses and says what to change.
func checkMemory(c *console, info gpu.Info, config jepa.Config) error {
	if info.Kind == gpu.Twins || info.Kind == gpu.Software {
		// Memory that others use is not there to be had.
		if free := freeMemory(); info.Memory == 0 || free > 0 && free < info.Memory {
			info.Memory = free
		}
	}
	m, err := jepa.EstimateMemory(info, config)
	if err != nil && !errors.Is(err, gpu.ErrMemory) {
		return err
	}
	parts := fmt.Sprintf("weights %s, gradients %s, optimizer %s, activations %s, scratch %s",
		bytesText(m.Weights), bytesText(m.Gradients), bytesText(m.Optimizer), bytesText(m.Activations), bytesText(m.Scratch))
	if err == nil && info.Memory > 0 && m.Total() > info.Memory {
		err = fmt.Errorf("it needs %s (%s) and %s has %s", bytesText(m.Total()), parts, info.Name, bytesText(info.Memory))
	}
	if err == nil {
		c.say("memory: %s (%s)", bytesText(m.Total()), parts)
		return nil
	}
	var change string
	switch fits := jepa.LargestBatch(info, config); {
	case fits > 0:
		change = fmt.Sprintf("batch_size %d would fit, with accumulate_grad_batches %d for the same batch an update", fits, (config.BatchSize+fits-1)/fits)
	case info.Memory > 0 && m.Fixed() > info.Memory:
		change = fmt.Sprintf("use a smaller encoder: its weights, gradients and moments alone need %s", bytesText(m.Fixed()))
	default:
		change = "one sample alone does not fit: use larger patches, a smaller data.size or a smaller encoder"
	}
	return fmt.Errorf("training does not fit: %w: %s", err, change)
}
