//go:build cgo && !js && rajveermalviya && !cogentcore

package wgpu

import (
	lib "github.com/rajveermalviya/go-webgpu/wgpu"

	"wgjepa/gpu/internal/driver"
)

const binding = "github.com/rajveermalviya/go-webgpu v0.17.1 (wgpu-native v0.17)"

type (
	libAdapter  = lib.Adapter
	libInfo     = lib.AdapterProperties
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
	usageStorage = lib.BufferUsage_Storage | lib.BufferUsage_CopySrc | lib.BufferUsage_CopyDst
	usageUniform = lib.BufferUsage_Uniform | lib.BufferUsage_CopyDst
	usageStaging = lib.BufferUsage_MapRead | lib.BufferUsage_CopyDst

	stageCompute = lib.ShaderStage_Compute
	boundUniform = lib.BufferBindingType_Uniform
	boundRead    = lib.BufferBindingType_ReadOnlyStorage
	boundWrite   = lib.BufferBindingType_Storage
)

var backendNames = map[lib.BackendType]string{
	lib.BackendType_Vulkan:   "Vulkan",
	lib.BackendType_Metal:    "Metal",
	lib.BackendType_D3D12:    "D3D12",
	lib.BackendType_OpenGL:   "GL",
	lib.BackendType_OpenGLES: "GL",
}

var kinds = map[lib.AdapterType]driver.Kind{
	lib.AdapterType_DiscreteGPU:   driver.Discrete,
	lib.AdapterType_IntegratedGPU: driver.Integrated,
	lib.AdapterType_CPU:           driver.Software,
}

// backends are Vulkan, Metal and D3D12. GL is left out: this version aborts the
// process where it finds no EGL.
var backends = []lib.InstanceBackend{lib.InstanceBackend_Primary}

// features that kernels may ask for, by the names of the WebGPU specification.
// Adapters have f16 and subgroups too, but this version's WGSL does not.
var features = map[libFeature]string{
	lib.FeatureName_TimestampQuery: "timestamp-query",
}

func enumerate(b lib.InstanceBackend) []*libAdapter {
	lib.SetLogLevel(lib.LogLevel_Off)
	return lib.CreateInstance(&lib.InstanceDescriptor{Backends: b}).EnumerateAdapters(nil)
}

func named(i libInfo) driver.Info {
	return driver.Info{Name: i.Name, Vendor: vendor(i.VendorId, i.VendorName), Driver: i.DriverDescription}
}

var (
	tell          = (*libAdapter).GetProperties
	defaultLimits = lib.DefaultLimits
)
