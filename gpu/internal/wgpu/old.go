//go:build cgo && !js && (cogentcore || rajveermalviya)

package wgpu

/*
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// As webgpu.h of these versions declares it. The binding links the library.
extern void wgpuBufferMapAsync(void *buffer, uint32_t mode, size_t offset, size_t size, void (*callback)(int status, void *user), void *user);

static void done(int status, void *user) { *(int *)user = status; }

static void startMap(void *buffer, size_t size, int *status) { wgpuBufferMapAsync(buffer, 1, 0, size, done, status); }
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

var (
	featuresOf = (*libAdapter).EnumerateFeatures

	createBuffer         = (*libDevice).CreateBuffer
	createLayout         = (*libDevice).CreateBindGroupLayout
	createPipelineLayout = (*libDevice).CreatePipelineLayout
	createPipeline       = (*libDevice).CreateComputePipeline
	createGroup          = (*libDevice).CreateBindGroup
	createEncoder        = (*libDevice).CreateCommandEncoder
	finishEncoder        = (*libEncoder).Finish
	endPass              = (*libPass).End
	writeBuffer          = (*libQueue).WriteBuffer
	copyBuffer           = (*libEncoder).CopyBufferToBuffer
	unmap                = (*libBuffer).Unmap
)

func limitsOf(a *libAdapter) libLimits { return a.GetLimits().Limits }

// request opens a device. The bindings' callback for a lost device keeps a
// pointer to memory that the garbage collector may have freed by then, so it
// is not used: a loss shows as an error of the next call.
func request(a *libAdapter, _ func(string)) (*libDevice, error) {
	return a.RequestDevice(&libDeviceDescriptor{
		RequiredFeatures: usable(a),
		RequiredLimits:   &libRequiredLimits{Limits: *wanted(a)},
	})
}

func newModule(d *libDevice, p *driver.Program) (*libModule, error) {
	return d.CreateShaderModule(&libModuleDescriptor{Label: p.Name, WGSLDescriptor: &libModuleText{Code: p.Source}})
}

// wait returns when the queue is empty. It asks again and again, for these
// versions wait at most 5 s and then take unfinished work for done.
func wait(d *libDevice) {
	for pause := 20 * time.Microsecond; !d.Poll(false, nil); pause = min(2*pause, time.Millisecond) {
		time.Sleep(pause)
	}
}

// waitFor waits for all submissions now and then: these versions cannot wait
// for one.
func waitFor(d *libDevice, _ *libQueue, submission *uint64) {
	if *submission%maxInFlight == 0 {
		wait(d)
	}
}

// mapRead waits for all submitted work and maps the first size bytes of a
// staging buffer.
//
// The binding's own MapAsync hands the library the address of a handle that
// nothing keeps alive: under garbage collection its callback finds rubbish
// there and the process dies. Here the callback and what it writes to are C's.
func mapRead(d *libDevice, b *libBuffer, size uint64) ([]byte, error) {
	status := (*C.int)(C.malloc(C.size_t(unsafe.Sizeof(C.int(0)))))
	defer C.free(unsafe.Pointer(status))
	*status = -1
	C.startMap(rawBuffer(b), C.size_t(size), status)
	wait(d)
	if *status != 0 {
		return nil, fmt.Errorf("mapping a buffer to read it failed with status %d", *status)
	}
	return b.GetMappedRange(0, uint(size)), nil
}

// rawBuffer reads the library's handle out of the binding's struct, which is
// the device's handle and then the buffer's in both.
func rawBuffer(b *libBuffer) unsafe.Pointer {
	return (*struct{ device, buffer unsafe.Pointer })(unsafe.Pointer(b)).buffer
}

// stamped would be Profile by timestamps; these bindings pass none on.
func (d *Device) stamped(*driver.Plan, func(*driver.Program, float64)) (bool, error) {
	return false, nil
}
