//go:build cgo && !js && cogentcore

package wgpu

import (
	"slices"

	lib "github.com/cogentcore/webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

const binding = "github.com/cogentcore/webgpu v0.23.0 (wgpu-native v22)"

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

// backends are Vulkan, Metal and D3D12. GL is left out: this version aborts the
// process where it finds no EGL.
var backends = []lib.InstanceBackend{lib.InstanceBackendPrimary}

func enumerate(b lib.InstanceBackend) []*libAdapter {
	lib.SetLogLevel(lib.LogLevelOff)
	return lib.CreateInstance(&lib.InstanceDescriptor{Backends: b}).EnumerateAdapters(nil)
}

// features that kernels may ask for, by the names of the WebGPU specification.
// Adapters have f16 and subgroups too, but this version's WGSL does not.
var features = map[lib.FeatureName]string{
	lib.FeatureNameTimestampQuery: "timestamp-query",
}

func describe(a *libAdapter) driver.Info {
	info, limits := a.GetInfo(), a.GetLimits().Limits
	// This version tells numbers for names and the name as the description.
	d := driver.Info{
		Name: info.DriverDescription, Vendor: vendor(info.VendorId, info.VendorName),
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
	for _, f := range a.EnumerateFeatures() {
		if name, ok := features[f]; ok && !slices.Contains(d.Features, name) {
			d.Features = append(d.Features, name)
		}
	}
	return d
}

// request opens a device. The binding's callback for a lost device keeps a
// pointer to memory that the garbage collector may have freed by then, so it
// is not used: a loss shows as an error of the next call.
func request(a *libAdapter, _ func(string)) (*libDevice, error) {
	limits := lib.DefaultLimits()
	own := a.GetLimits().Limits
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
	for _, f := range a.EnumerateFeatures() {
		if _, ok := features[f]; ok {
			want = append(want, f)
		}
	}
	return a.RequestDevice(&lib.DeviceDescriptor{
		RequiredFeatures: want,
		RequiredLimits:   &lib.RequiredLimits{Limits: limits},
	})
}

func newBuffer(d *libDevice, label string, size uint64, usage lib.BufferUsage) (*libBuffer, error) {
	return d.CreateBuffer(&lib.BufferDescriptor{Label: label, Size: size, Usage: usage})
}

func newPipeline(d *libDevice, p *driver.Program) (*libPipeline, *libLayout, error) {
	module, err := d.CreateShaderModule(&lib.ShaderModuleDescriptor{Label: p.Name, WGSLDescriptor: &lib.ShaderModuleWGSLDescriptor{Code: p.Source}})
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
	group, err := d.CreateBindGroupLayout(&lib.BindGroupLayoutDescriptor{Label: p.Name, Entries: entries})
	if err != nil {
		return nil, nil, err
	}
	layout, err := d.CreatePipelineLayout(&lib.PipelineLayoutDescriptor{Label: p.Name, BindGroupLayouts: []*lib.BindGroupLayout{group}})
	if err != nil {
		group.Release()
		return nil, nil, err
	}
	defer layout.Release()
	pipeline, err := d.CreateComputePipeline(&lib.ComputePipelineDescriptor{
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
	return d.CreateBindGroup(&lib.BindGroupDescriptor{Label: label, Layout: layout, Entries: entries})
}

func newEncoder(d *libDevice) (*libEncoder, error) { return d.CreateCommandEncoder(nil) }

func beginPass(e *libEncoder) *libPass { return e.BeginComputePass(nil) }

func endPass(p *libPass) error { return p.End() }

func finish(e *libEncoder) (*libCommands, error) { return e.Finish(nil) }

func copyBuffer(e *libEncoder, src *libBuffer, off uint64, dst *libBuffer, size uint64) error {
	return e.CopyBufferToBuffer(src, off, dst, 0, size)
}

func writeBuffer(q *libQueue, b *libBuffer, off uint64, data []byte) error {
	return q.WriteBuffer(b, off, data)
}

// submit returns the number by which waitFor knows the submission.
func submit(q *libQueue, c *libCommands) uint64 { return uint64(q.Submit(c)) }

// flush submits what was written and waits for it.
func flush(d *libDevice, q *libQueue) {
	q.Submit()
	wait(d)
}

func unmap(b *libBuffer) error { return b.Unmap() }
