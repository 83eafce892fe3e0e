//go:build cgo && !js && !cogentcore && !rajveermalviya

package wgpu

import (
	"fmt"
	"slices"

	lib "github.com/oliverbestmann/webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

const binding = "github.com/oliverbestmann/webgpu v1.36.0 (wgpu-native v29)"

type (
	libAdapter  = lib.Adapter
	libDevice   = lib.Device
	libQueue    = lib.Queue
	libBuffer   = lib.Buffer
	libPipeline = lib.ComputePipeline
	libLayout   = lib.BindGroupLayout
	libGroup    = lib.BindGroup
	libEncoder  = lib.CommandEncoder
	libPass     = lib.ComputePassEncoder
	libCommands = lib.CommandBuffer
)

const (
	usageStorage = lib.BufferUsageStorage | lib.BufferUsageCopySrc | lib.BufferUsageCopyDst
	usageUniform = lib.BufferUsageUniform | lib.BufferUsageCopyDst
	usageStaging = lib.BufferUsageMapRead | lib.BufferUsageCopyDst
)

// backends are asked in this order until one has an adapter: Vulkan, Metal and
// D3D12 together, then GL. The numbers are the library's; the binding names
// only "all".
var backends = []lib.InstanceBackend{1<<0 | 1<<2 | 1<<3, 1 << 1}

func enumerate(b lib.InstanceBackend) []*libAdapter {
	lib.SetLogLevel(lib.LogLevelOff)
	return lib.CreateInstance(&lib.InstanceDescriptor{Backends: b}).EnumerateAdapters(nil)
}

// features that kernels may ask for, by the names of the WebGPU specification.
var features = map[lib.FeatureName]string{
	lib.FeatureNameShaderF16:      "shader-f16",
	lib.FeatureNameSubgroups:      "subgroups",
	lib.NativeFeatureSubgroup:     "subgroups",
	lib.FeatureNameTimestampQuery: "timestamp-query",
}

func describe(a *libAdapter) driver.Info {
	info, limits := a.GetInfo(), a.GetLimits()
	d := driver.Info{
		Name: info.Device, Vendor: vendor(info.VendorId, info.Vendor), Driver: info.Description,
		Limits: driver.Limits{
			BufferSize:       limits.MaxBufferSize,
			BindingSize:      limits.MaxStorageBufferBindingSize,
			StorageBuffers:   int(limits.MaxStorageBuffersPerShaderStage),
			WorkgroupMemory:  int(limits.MaxComputeWorkgroupStorageSize),
			Invocations:      int(limits.MaxComputeInvocationsPerWorkgroup),
			Workgroups:       int(limits.MaxComputeWorkgroupsPerDimension),
			StorageAlignment: int(limits.MinStorageBufferOffsetAlignment),
			UniformAlignment: int(limits.MinUniformBufferOffsetAlignment),
		},
	}
	switch info.BackendType {
	case lib.BackendTypeVulkan:
		d.Backend = "Vulkan"
	case lib.BackendTypeMetal:
		d.Backend = "Metal"
	case lib.BackendTypeD3D12:
		d.Backend = "D3D12"
	case lib.BackendTypeOpenGL, lib.BackendTypeOpenGLES:
		d.Backend = "GL"
	default:
		d.Backend = info.BackendType.String()
	}
	switch info.AdapterType {
	case lib.AdapterTypeDiscreteGPU:
		d.Kind = driver.Discrete
	case lib.AdapterTypeIntegratedGPU:
		d.Kind = driver.Integrated
	case lib.AdapterTypeCPU:
		d.Kind = driver.Software
	default:
		d.Kind = driver.Unknown
	}
	for _, f := range a.GetFeatures() {
		if name, ok := features[f]; ok && !slices.Contains(d.Features, name) {
			d.Features = append(d.Features, name)
		}
	}
	return d
}

// request opens a device with the adapter's own limits and the features that
// kernels may ask for. lost is called once, from any thread.
func request(a *libAdapter, lost func(string)) (*libDevice, error) {
	limits := lib.DefaultLimits()
	own := a.GetLimits()
	limits.MaxBufferSize = own.MaxBufferSize
	limits.MaxStorageBufferBindingSize = own.MaxStorageBufferBindingSize
	limits.MaxStorageBuffersPerShaderStage = own.MaxStorageBuffersPerShaderStage
	limits.MaxComputeWorkgroupStorageSize = own.MaxComputeWorkgroupStorageSize
	limits.MaxComputeInvocationsPerWorkgroup = own.MaxComputeInvocationsPerWorkgroup
	limits.MaxComputeWorkgroupSizeX = own.MaxComputeWorkgroupSizeX
	limits.MaxComputeWorkgroupSizeY = own.MaxComputeWorkgroupSizeY
	limits.MaxComputeWorkgroupSizeZ = own.MaxComputeWorkgroupSizeZ
	limits.MaxComputeWorkgroupsPerDimension = own.MaxComputeWorkgroupsPerDimension
	limits.MinStorageBufferOffsetAlignment = own.MinStorageBufferOffsetAlignment
	limits.MinUniformBufferOffsetAlignment = own.MinUniformBufferOffsetAlignment
	var want []lib.FeatureName
	for _, f := range a.GetFeatures() {
		if _, ok := features[f]; ok {
			want = append(want, f)
		}
	}
	return a.RequestDevice(&lib.DeviceDescriptor{
		RequiredFeatures: want,
		RequiredLimits:   &limits,
		DeviceLostCallback: func(reason lib.DeviceLostReason, message string) {
			if reason != lib.DeviceLostReasonDestroyed && reason != lib.DeviceLostReasonCallbackCancelled {
				lost(message)
			}
		},
	})
}

func newBuffer(d *libDevice, label string, size uint64, usage lib.BufferUsage) (*libBuffer, error) {
	return d.TryCreateBuffer(&lib.BufferDescriptor{Label: label, Size: size, Usage: usage})
}

func newPipeline(d *libDevice, p *driver.Program) (*libPipeline, *libLayout, error) {
	module, err := d.TryCreateShaderModule(&lib.ShaderModuleDescriptor{Label: p.Name, WGSLSource: &lib.ShaderSourceWGSL{Code: p.Source}})
	if err != nil {
		return nil, nil, err
	}
	defer module.Release()
	entries := []lib.BindGroupLayoutEntry{{
		Binding: 0, Visibility: lib.ShaderStageCompute,
		Buffer: lib.BufferBindingLayout{Type: lib.BufferBindingTypeUniform, HasDynamicOffset: true, MinBindingSize: uint64(p.UniformSize())},
	}}
	for i, b := range p.Layout.Bindings {
		kind := lib.BufferBindingTypeReadOnlyStorage
		if b.Write {
			kind = lib.BufferBindingTypeStorage
		}
		entries = append(entries, lib.BindGroupLayoutEntry{
			Binding: uint32(i + 1), Visibility: lib.ShaderStageCompute,
			Buffer: lib.BufferBindingLayout{Type: kind},
		})
	}
	group, err := d.TryCreateBindGroupLayout(&lib.BindGroupLayoutDescriptor{Label: p.Name, Entries: entries})
	if err != nil {
		return nil, nil, err
	}
	layout, err := d.TryCreatePipelineLayout(&lib.PipelineLayoutDescriptor{Label: p.Name, BindGroupLayouts: []*lib.BindGroupLayout{group}})
	if err != nil {
		group.Release()
		return nil, nil, err
	}
	defer layout.Release()
	pipeline, err := d.TryCreateComputePipeline(&lib.ComputePipelineDescriptor{
		Label: p.Name, Layout: layout,
		Compute: lib.ProgrammableStageDescriptor{Module: module, EntryPoint: "main"},
	})
	if err != nil {
		group.Release()
		return nil, nil, err
	}
	return pipeline, group, nil
}

func newGroup(d *libDevice, label string, layout *libLayout, slots []slot) (*libGroup, error) {
	entries := make([]lib.BindGroupEntry, len(slots))
	for i, s := range slots {
		entries[i] = lib.BindGroupEntry{Binding: uint32(i), Buffer: s.buffer, Offset: s.offset, Size: s.size}
	}
	return d.TryCreateBindGroup(&lib.BindGroupDescriptor{Label: label, Layout: layout, Entries: entries})
}

func newEncoder(d *libDevice) (*libEncoder, error) { return d.TryCreateCommandEncoder(nil) }

func beginPass(e *libEncoder) *libPass { return e.BeginComputePass(nil) }

func endPass(p *libPass) error { return p.TryEnd() }

func finish(e *libEncoder) (*libCommands, error) { return e.TryFinish(nil) }

func copyBuffer(e *libEncoder, src *libBuffer, off uint64, dst *libBuffer, size uint64) error {
	return e.TryCopyBufferToBuffer(src, off, dst, 0, size)
}

func writeBuffer(q *libQueue, b *libBuffer, off uint64, data []byte) error {
	return q.TryWriteBuffer(b, off, data)
}

// submit returns the number by which waitFor knows the submission.
func submit(q *libQueue, c *libCommands) uint64 { return uint64(q.Submit(c)) }

// flush submits what was written and waits for it.
func flush(d *libDevice, q *libQueue) {
	q.Submit()
	d.Poll(true, nil)
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

func unmap(b *libBuffer) error { return b.TryUnmap() }
