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
	if errors.Is(err, gpu.ErrMemory) {
		return fmt.Errorf("training does not fit: %w: lower batch_size (now %d) or encoder.embed_dim, or use larger patches", err, config.BatchSize)
	}
	if err != nil {
		return err
	}
	parts := fmt.Sprintf("weights %s, gradients %s, optimizer %s, activations %s, scratch %s",
		bytesText(m.Weights), bytesText(m.Gradients), bytesText(m.Optimizer), bytesText(m.Activations), bytesText(m.Scratch))
	if info.Memory > 0 && m.Total() > info.Memory {
		change := fmt.Sprintf("use a smaller encoder: its weights, gradients and moments alone need %s", bytesText(m.Fixed()))
		if m.Fixed() < info.Memory {
			each := (m.Total() - m.Fixed()) / uint64(config.BatchSize)
			if fits := (info.Memory - m.Fixed()) * 9 / 10 / max(each, 1); fits >= 1 {
				change = fmt.Sprintf("batch_size %d would fit, with accumulate_grad_batches %d for the same batch an update", fits, (uint64(config.BatchSize)+fits-1)/fits)
			} else {
				change = "one sample alone does not fit: use larger patches, a smaller data.size or a smaller encoder"
			}
		}
		return fmt.Errorf("training does not fit: it needs %s (%s) and %s has %s: %s", bytesText(m.Total()), parts, info.Name, bytesText(info.Memory), change)
	}
	c.say("memory: %s (%s)", bytesText(m.Total()), parts)
	return nil
}
