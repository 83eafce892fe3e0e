//go:build js && wasm

package browser

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"wgjepa/gpu/internal/driver"
)

// description is what driver.js says of an adapter.
type description struct {
	Request                                          uint32 // how it was asked for
	Vendor, Architecture, Device, Description, Agent string
	Fallback                                         bool
	Subgroup                                         int
	Limits                                           map[string]float64
	Features                                         []string
}

type adapter struct {
	request uint32
	info    driver.Info
}

var (
	adapters  []adapter // as last listed
	listToken uint32
)

// Adapters lists what the browser offers, hardware before software; empty
// where it has no WebGPU.
func Adapters() []driver.Info {
	if listToken == 0 {
		listToken = newToken()
	}
	adapters = nil
	if call(listToken, func() { glueList(listToken) }) != nil {
		return nil
	}
	for _, d := range described() {
		adapters = append(adapters, adapter{d.Request, d.info()})
	}
	slices.SortStableFunc(adapters, func(a, b adapter) int { return cmp.Compare(rank(a.info), rank(b.info)) })
	var infos []driver.Info
	for i := range adapters {
		adapters[i].info.Index = i
		infos = append(infos, adapters[i].info)
	}
	return infos
}

func rank(i driver.Info) int {
	if i.Kind == driver.Software {
		return 1
	}
	return 0
}

func described() []description {
	glueInfos()
	var list []description
	if json.Unmarshal([]byte(text()), &list) != nil {
		return nil
	}
	return list
}

// info brings a description to the terms of package driver.
func (a description) info() driver.Info {
	limit := func(name string) float64 { return min(a.Limits[name], math.MaxInt32) }
	i := driver.Info{
		Name: a.Description, Vendor: vendor(a.Vendor), Driver: strings.TrimSpace(a.Vendor + " " + a.Architecture), Backend: "WebGPU", Binding: a.Agent, Kind: driver.Unknown, Features: a.Features, Subgroup: a.Subgroup,
		Limits: driver.Limits{
			BufferSize: uint64(a.Limits["maxBufferSize"]), BindingSize: uint64(a.Limits["maxStorageBufferBindingSize"]),
			StorageBuffers: int(limit("maxStorageBuffersPerShaderStage")), WorkgroupMemory: int(limit("maxComputeWorkgroupStorageSize")),
			Invocations: int(limit("maxComputeInvocationsPerWorkgroup")), Workgroups: int(limit("maxComputeWorkgroupsPerDimension")),
			StorageAlignment: int(limit("minStorageBufferOffsetAlignment")), UniformAlignment: int(limit("minUniformBufferOffsetAlignment")),
		},
	}
	if i.Name == "" { // browsers keep it to themselves
		i.Name = strings.Join(strings.Fields(strings.Join([]string{i.Vendor, a.Architecture, a.Device}, " ")), " ")
	}
	if i.Name == "" {
		i.Name = "WebGPU adapter"
	}
	if a.Fallback || software(i.Name) || software(a.Architecture) {
		i.Kind = driver.Software
	}
	return i
}

// software tells processors that pose as GPUs by their names.
func software(name string) bool {
	name = strings.ToLower(name)
	for _, s := range []string{"llvmpipe", "lavapipe", "swiftshader", "softpipe", "basic render"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// vendor names the maker where there is only its number.
func vendor(name string) string {
	switch name {
	case "4098":
		return "AMD"
	case "4203":
		return "Apple"
	case "4318":
		return "NVIDIA"
	case "5045":
		return "Arm"
	case "5140":
		return "Microsoft"
	case "6880":
		return "Google"
	case "20803":
		return "Qualcomm"
	case "32902":
		return "Intel"
	case "65541":
		return "Mesa"
	}
	return name
}

// needed is what kernels use at most: WebGPU's default limits.
var needed = []struct {
	name  string
	least int
	of    func(driver.Limits) int
}{
	{"storage buffers a kernel", 8, func(l driver.Limits) int { return l.StorageBuffers }},
	{"invocations a workgroup", 256, func(l driver.Limits) int { return l.Invocations }},
	{"bytes of workgroup memory", 16 << 10, func(l driver.Limits) int { return l.WorkgroupMemory }},
}

// Open opens the adapter that Adapters listed as info, with its own limits and
// the features that kernels may ask for.
func Open(info driver.Info) (*Device, error) {
	if info.Index < 0 || info.Index >= len(adapters) || adapters[info.Index].info.Name != info.Name {
		return nil, errors.New("the adapter is not in the list of adapters")
	}
	a := adapters[info.Index]
	for _, n := range needed {
		if got := n.of(a.info.Limits); got < n.least {
			return nil, fmt.Errorf("it offers %d %s and %d are needed: use a newer browser or graphics driver", got, n.name, n.least)
		}
	}
	d := &Device{token: newToken(), info: a.info, live: map[*buffer]struct{}{}}
	d.groups = driver.NewGroups(d.drop)
	if err := call(d.token, func() { glueOpen(d.token, a.request) }); err != nil {
		delete(waiting, d.token)
		return nil, err
	}
	return d, nil
}
