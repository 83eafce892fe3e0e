//go:build cgo && !js

package wgpu

import (
	"cmp"
	"slices"

	"wgjepa/gpu/internal/driver"
)

// What differs between the bindings, the names and a few calls, is in a file for
// each: lib… are the binding's types; old.go has what the older two share.

// describe says what the library tells of an adapter.
func describe(a *libAdapter) driver.Info {
	told, limits := tell(a), limitsOf(a)
	d := named(told)
	d.Backend = cmp.Or(backendNames[told.BackendType], told.BackendType.String())
	d.Kind = cmp.Or(kinds[told.AdapterType], driver.Unknown)
	d.Limits = driver.Limits{
		BufferSize:       limits.MaxBufferSize,
		BindingSize:      limits.MaxStorageBufferBindingSize,
		StorageBuffers:   int(limits.MaxStorageBuffersPerShaderStage),
		WorkgroupMemory:  int(limits.MaxComputeWorkgroupStorageSize),
		Invocations:      int(limits.MaxComputeInvocationsPerWorkgroup),
		Workgroups:       int(limits.MaxComputeWorkgroupsPerDimension),
		StorageAlignment: int(limits.MinStorageBufferOffsetAlignment),
		UniformAlignment: int(limits.MinUniformBufferOffsetAlignment),
	}
	for _, f := range usable(a) {
		if name := features[f]; !slices.Contains(d.Features, name) {
			d.Features = append(d.Features, name)
		}
	}
	return d
}

// usable is what of the adapter's features kernels may ask for.
func usable(a *libAdapter) []libFeature {
	return slices.DeleteFunc(featuresOf(a), func(f libFeature) bool { return features[f] == "" })
}

// wanted is the library's defaults with the adapter's own limits where they
// bound what kernels do.
func wanted(a *libAdapter) *libLimits {
	limits, own := defaultLimits(), limitsOf(a)
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
	return &limits
}

func newBuffer(d *libDevice, label string, size uint64, usage libUsage) (*libBuffer, error) {
	return createBuffer(d, &libBufferDescriptor{Label: label, Size: size, Usage: usage})
}

func newPipeline(d *libDevice, p *driver.Program) (*libPipeline, *libLayout, error) {
	module, err := newModule(d, p)
	if err != nil {
		return nil, nil, err
	}
	defer module.Release()
	entries := []libLayoutEntry{{
		Binding: 0, Visibility: stageCompute,
		Buffer: libBufferLayout{Type: boundUniform, HasDynamicOffset: true, MinBindingSize: uint64(p.UniformSize())},
	}}
	for i, b := range p.Layout.Bindings {
		kind := boundRead
		if b.Write {
			kind = boundWrite
		}
		entries = append(entries, libLayoutEntry{
			Binding: uint32(i + 1), Visibility: stageCompute,
			Buffer: libBufferLayout{Type: kind},
		})
	}
	group, err := createLayout(d, &libLayoutDescriptor{Label: p.Name, Entries: entries})
	if err != nil {
		return nil, nil, err
	}
	layout, err := createPipelineLayout(d, &libPipelineLayoutDescriptor{Label: p.Name, BindGroupLayouts: []*libLayout{group}})
	if err != nil {
		group.Release()
		return nil, nil, err
	}
	defer layout.Release()
	pipeline, err := createPipeline(d, &libPipelineDescriptor{
		Label: p.Name, Layout: layout,
		Compute: libStage{Module: module, EntryPoint: "main"},
	})
	if err != nil {
		group.Release()
		return nil, nil, err
	}
	return pipeline, group, nil
}

func newGroup(d *libDevice, label string, layout *libLayout, slots []slot) (*libGroup, error) {
	entries := make([]libGroupEntry, len(slots))
	for i, s := range slots {
		entries[i] = libGroupEntry{Binding: uint32(i), Buffer: s.buffer, Offset: s.offset, Size: s.size}
	}
	return createGroup(d, &libGroupDescriptor{Label: label, Layout: layout, Entries: entries})
}

func newEncoder(d *libDevice) (*libEncoder, error) { return createEncoder(d, nil) }

func beginPass(e *libEncoder) *libPass { return e.BeginComputePass(nil) }

func finish(e *libEncoder) (*libCommands, error) { return finishEncoder(e, nil) }

// submit returns the number by which waitFor knows the submission.
func submit(q *libQueue, c *libCommands) uint64 { return uint64(q.Submit(c)) }

// flush submits what was written and waits for it.
func flush(d *libDevice, q *libQueue) {
	q.Submit()
	wait(d)
}
