//go:build cgo && !js

package wgpu

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"wgjepa/gpu/internal/driver"
)

type adapter struct {
	raw  *libAdapter
	info driver.Info
}

// adapters asks the machine once: a listing takes tens of milliseconds. GL is
// asked only where there is nothing else.
var adapters = sync.OnceValue(func() []adapter {
	// Mesa's layer that reorders devices complains on standard error where
	// there is no desktop session. The order here is our own.
	const layer = "NODEVICE_SELECT"
	if _, set := os.LookupEnv(layer); !set && os.Getenv("XDG_RUNTIME_DIR") == "" {
		os.Setenv(layer, "1")
		defer os.Unsetenv(layer)
	}
	var raw []*libAdapter
	for _, b := range backends {
		if len(raw) == 0 {
			raw = enumerate(b)
		}
	}
	var list []adapter
	for _, a := range raw {
		info := describe(a)
		info.Binding = binding
		if software(info.Name) {
			info.Kind = driver.Software
		}
		if info.Kind == driver.Software {
			info.Memory, _ = hostMemory()
		}
		list = append(list, adapter{a, info})
	}
	slices.SortStableFunc(list, func(a, b adapter) int { return cmp.Compare(rank(a.info), rank(b.info)) })
	for i := range list {
		list[i].info.Index = i
	}
	return list
})

// rank orders adapters: hardware before software.
func rank(i driver.Info) int {
	return slices.Index([]driver.Kind{driver.Discrete, driver.Integrated, driver.Virtual, driver.Unknown, driver.Software}, i.Kind)
}

// software tells processors that pose as GPUs by their names: some report
// another kind.
func software(name string) bool {
	name = strings.ToLower(name)
	for _, s := range []string{"llvmpipe", "lavapipe", "swiftshader", "softpipe", "basic render"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// vendor names the maker by its PCI or Khronos number; the library's own text
// is often the driver's name.
func vendor(id uint32, name string) string {
	switch id {
	case 0x1002:
		return "AMD"
	case 0x106b:
		return "Apple"
	case 0x10de:
		return "NVIDIA"
	case 0x13b5:
		return "Arm"
	case 0x1414:
		return "Microsoft"
	case 0x1ae0:
		return "Google"
	case 0x5143:
		return "Qualcomm"
	case 0x8086:
		return "Intel"
	case 0x10005:
		return "Mesa"
	}
	if name != "" {
		return name
	}
	return fmt.Sprintf("%#x", id)
}

// Adapters lists the machine's GPU interfaces, best first; empty where there
// is none.
func Adapters() []driver.Info {
	var infos []driver.Info
	for _, a := range adapters() {
		infos = append(infos, a.info)
	}
	return infos
}

// Open opens the adapter that Adapters listed as info, with its own limits and
// the features that kernels may ask for.
func Open(info driver.Info) (*Device, error) {
	list := adapters()
	if info.Index < 0 || info.Index >= len(list) || list[info.Index].info.Name != info.Name {
		return nil, errors.New("the adapter is not in the list of this machine's adapters")
	}
	d := &Device{info: list[info.Index].info, groups: driver.NewGroups((*libGroup).Release), live: map[*buffer]struct{}{}}
	device, err := request(list[info.Index].raw, d.lose)
	if err != nil {
		return nil, fmt.Errorf("%s does not open: %w", info.Name, err)
	}
	d.device, d.queue = device, device.GetQueue()
	return d, nil
}
