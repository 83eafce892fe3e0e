//go:build cgo && !js && cogentcore

package wgpu

import (
	lib "github.com/cogentcore/webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

const binding = "github.com/cogentcore/webgpu v0.23.0 (wgpu-native v22)"

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

	libDeviceDescriptor = lib.DeviceDescriptor
	libRequiredLimits   = lib.RequiredLimits
	libModuleDescriptor = lib.ShaderModuleDescriptor
	libModuleText       = lib.ShaderModuleWGSLDescriptor
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

// backends are Vulkan, Metal and D3D12. GL is left out: this version aborts the
// process where it finds no EGL.
var backends = []lib.InstanceBackend{lib.InstanceBackendPrimary}

// features that kernels may ask for, by the names of the WebGPU specification.
// Adapters have f16 and subgroups too, but this version's WGSL does not.
var features = map[libFeature]string{
	lib.FeatureNameTimestampQuery: "timestamp-query",
}

func enumerate(b lib.InstanceBackend) []*libAdapter {
	lib.SetLogLevel(lib.LogLevelOff)
	return lib.CreateInstance(&lib.InstanceDescriptor{Backends: b}).EnumerateAdapters(nil)
}

// named: this version tells numbers for names and the name as the description.
func named(i libInfo) driver.Info {
	return driver.Info{Name: i.DriverDescription, Vendor: vendor(i.VendorId, i.VendorName)}
}

var (
	tell          = (*libAdapter).GetInfo
	defaultLimits = lib.DefaultLimits
)
