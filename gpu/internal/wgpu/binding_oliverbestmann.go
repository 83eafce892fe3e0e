//go:build cgo && !js && !cogentcore && !rajveermalviya

package wgpu

import (
	"fmt"

	lib "github.com/oliverbestmann/webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

const binding = "github.com/oliverbestmann/webgpu v1.36.0 (wgpu-native v29)"

type (
	libAdapter  = lib.Adapter
	libInfo     = lib.AdapterInfo
	libLimits   = lib.Limits
	libFeature  = lib.FeatureName
	libDevice   = lib.Device
	libQueue    = lib.Queue
	libBuffer   = lib.Buffer
	libUsage    = lib.BufferUsage
	libModule   = lib.ShaderModule
	libPipeline = lib.ComputePipeline
	libLayout   = lib.BindGroupLayout
	libGroup    = lib.BindGroup
	libEncoder  = lib.CommandEncoder
	libPass     = lib.ComputePassEncoder
	libCommands = lib.CommandBuffer

	libBufferDescriptor         = lib.BufferDescriptor
	libLayoutDescriptor         = lib.BindGroupLayoutDescriptor
	libLayoutEntry              = lib.BindGroupLayoutEntry
	libBufferLayout             = lib.BufferBindingLayout
	libPipelineLayoutDescriptor = lib.PipelineLayoutDescriptor
	libPipelineDescriptor       = lib.ComputePipelineDescriptor
	libStage                    = lib.ProgrammableStageDescriptor
	libGroupDescriptor          = lib.BindGroupDescriptor
	libGroupEntry               = lib.BindGroupEntry
)

const (
	usageStorage = lib.BufferUsageStorage | lib.BufferUsageCopySrc | lib.BufferUsageCopyDst
	usageUniform = lib.BufferUsageUniform | lib.BufferUsageCopyDst
	usageStaging = lib.BufferUsageMapRead | lib.BufferUsageCopyDst

	stageCompute = lib.ShaderStageCompute
	boundUniform = lib.BufferBindingTypeUniform
	boundRead    = lib.BufferBindingTypeReadOnlyStorage
	boundWrite   = lib.BufferBindingTypeStorage
)

var backendNames = map[lib.BackendType]string{
	lib.BackendTypeVulkan:   "Vulkan",
	lib.BackendTypeMetal:    "Metal",
	lib.BackendTypeD3D12:    "D3D12",
	lib.BackendTypeOpenGL:   "GL",
	lib.BackendTypeOpenGLES: "GL",
}

var kinds = map[lib.AdapterType]driver.Kind{
	lib.AdapterTypeDiscreteGPU:   driver.Discrete,
	lib.AdapterTypeIntegratedGPU: driver.Integrated,
	lib.AdapterTypeCPU:           driver.Software,
}

// backends are asked in this order until one has an adapter: Vulkan, Metal and
// D3D12 together, then GL. The numbers are the library's; the binding names
// only "all".
var backends = []lib.InstanceBackend{1<<0 | 1<<2 | 1<<3, 1 << 1}

// features that kernels may ask for, by the names of the WebGPU specification.
var features = map[libFeature]string{
	lib.FeatureNameShaderF16:      "shader-f16",
	lib.FeatureNameSubgroups:      "subgroups",
	lib.NativeFeatureSubgroup:     "subgroups",
	lib.FeatureNameTimestampQuery: "timestamp-query",
}

func enumerate(b lib.InstanceBackend) []*libAdapter {
	lib.SetLogLevel(lib.LogLevelOff)
	return lib.CreateInstance(&lib.InstanceDescriptor{Backends: b}).EnumerateAdapters(nil)
}

func named(i libInfo) driver.Info {
	return driver.Info{Name: i.Device, Vendor: vendor(i.VendorId, i.Vendor), Driver: i.Description}
}

// What may fail without an end of the process is called Try….
var (
	tell          = (*libAdapter).GetInfo
	limitsOf      = (*libAdapter).GetLimits
	featuresOf    = (*libAdapter).GetFeatures
	defaultLimits = lib.DefaultLimits

	createBuffer         = (*libDevice).TryCreateBuffer
	createLayout         = (*libDevice).TryCreateBindGroupLayout
	createPipelineLayout = (*libDevice).TryCreatePipelineLayout
	createPipeline       = (*libDevice).TryCreateComputePipeline
	createGroup          = (*libDevice).TryCreateBindGroup
	createEncoder        = (*libDevice).TryCreateCommandEncoder
	finishEncoder        = (*libEncoder).TryFinish
	endPass              = (*libPass).TryEnd
	writeBuffer          = (*libQueue).TryWriteBuffer
	copyBuffer           = (*libEncoder).TryCopyBufferToBuffer
	unmap                = (*libBuffer).TryUnmap
)

// request opens a device with the adapter's own limits and the features that
// kernels may ask for. lost is called once, from any thread.
func request(a *libAdapter, lost func(string)) (*libDevice, error) {
	return a.RequestDevice(&lib.DeviceDescriptor{
		RequiredFeatures: usable(a),
		RequiredLimits:   wanted(a),
		DeviceLostCallback: func(reason lib.DeviceLostReason, message string) {
			if reason != lib.DeviceLostReasonDestroyed && reason != lib.DeviceLostReasonCallbackCancelled {
				lost(message)
			}
		},
	})
}

func newModule(d *libDevice, p *driver.Program) (*libModule, error) {
	return d.TryCreateShaderModule(&lib.ShaderModuleDescriptor{Label: p.Name, WGSLSource: &lib.ShaderSourceWGSL{Code: p.Source}})
}

func waitFor(d *libDevice, _ *libQueue, submission *uint64) { d.Poll(true, submission) }

// wait returns when the queue is empty.
func wait(d *libDevice) { d.Poll(true, nil) }

// mapRead waits for all submitted work and maps the first size bytes of a
// staging buffer.
func mapRead(d *libDevice, b *libBuffer, size uint64) ([]byte, error) {
	var status lib.MapAsyncStatus
	if err := b.TryMapAsync(lib.MapModeRead, 0, size, func(s lib.MapAsyncStatus) { status = s }); err != nil {
		return nil, err
	}
	d.Poll(true, nil)
	if status != lib.MapAsyncStatusSuccess {
		return nil, fmt.Errorf("mapping a buffer to read it failed: %v", status)
	}
	return b.GetMappedRange(0, uint(size)), nil
}
