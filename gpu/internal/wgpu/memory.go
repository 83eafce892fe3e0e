//go:build cgo && !js

package wgpu

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"wgjepa/gpu/internal/driver"
)

// hostMemory reads the machine's memory and what of it is free, in bytes; 0
// where the system does not tell.
func hostMemory() (total, free uint64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "MemTotal":
			total = kib << 10
		case "MemAvailable":
			free = kib << 10
		}
	}
	// A container may have less than the machine.
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			total = min(total, limit)
		}
	}
	return total, free
}

// large is the size from which the machine's free memory is looked up.
const large = 64 << 20

// fits refuses what the adapter's memory cannot hold before it is asked for:
// memory of software adapters is the machine's own, given away on first use,
// so that running out would kill the process instead of failing.
func (d *Device) fits(size uint64) error {
	total := d.info.Memory
	if total == 0 {
		return nil
	}
	if d.allocated+size > total {
		return fmt.Errorf("%d bytes on top of %d in use exceed the %d of %s: %w", size, d.allocated, total, d.info.Name, driver.ErrMemory)
	}
	if size >= large {
		if _, free := hostMemory(); free > 0 && size > free {
			return fmt.Errorf("%d bytes exceed the %d that are free: %w", size, free, driver.ErrMemory)
		}
	}
	return nil
}
