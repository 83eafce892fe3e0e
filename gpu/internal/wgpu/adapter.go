//go:build !js

package wgpu

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"wgjepa/gpu/internal/driver"
)

type adapter struct {
	raw  *libAdapter
	info driver.Info
}

// adapters asks the machine once: a listing takes tens of milliseconds.
var adapters = sync.OnceValue(func() []adapter {
	var list []adapter
	for _, a := range enumerate() {
		info := describe(a)
		if software(info.Name) {
			info.Kind = driver.Software
		}
		list = append(list, adapter{a, info})
	}
	slices.SortStableFunc(list, func(a, b adapter) int { return cmp.Compare(rank(a.info), rank(b.info)) })
	for i := range list {
		list[i].info.Index = i
	}
	return list
})

// rank orders adapters: hardware first, then software, GL behind all others.
func rank(i driver.Info) int {
	r := slices.Index([]driver.Kind{driver.Discrete, driver.Integrated, driver.Virtual, driver.Unknown, driver.Software}, i.Kind)
	if i.Backend == "GL" {
		r += 10
	}
	return r
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

func vendor(id uint32, name string) string {
	if name != "" {
		return name
	}
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

// Open opens the adapter that Adapters listed as info.
func Open(info driver.Info) (*Device, error) {
	list := adapters()
	if info.Index < 0 || info.Index >= len(list) || list[info.Index].info.Name != info.Name {
		return nil, errors.New("the adapter is not in the list of this machine's adapters")
	}
	d := &Device{info: list[info.Index].info, groups: map[string]*group{}}
	device, err := request(list[info.Index].raw, d.lose)
	if err != nil {
		return nil, fmt.Errorf("%s does not open: %w", info.Name, err)
	}
	d.device, d.queue = device, device.GetQueue()
	return d, nil
}
