//go:build js && wasm

package browser

import (
	"fmt"
	"strings"
	"syscall/js"
	"unsafe"

	"wgjepa/gpu/internal/driver"
)

// The functions of driver.js. Those without a result wait: see call.

//go:wasmimport wgjepa_gpu text_length
func glueTextLength() int32

//go:wasmimport wgjepa_gpu text_copy
func glueTextCopy(dst unsafe.Pointer)

//go:wasmimport wgjepa_gpu result
func glueResult(token uint32) int32

//go:wasmimport wgjepa_gpu list
func glueList(token uint32)

//go:wasmimport wgjepa_gpu open
func glueOpen(token, request uint32)

//go:wasmimport wgjepa_gpu infos
func glueInfos()

//go:wasmimport wgjepa_gpu failure
func glueFailure(token uint32) int32

//go:wasmimport wgjepa_gpu close
func glueClose(token uint32)

//go:wasmimport wgjepa_gpu buffer
func glueBuffer(token, id uint32, label string, size float64)

//go:wasmimport wgjepa_gpu buffer_now
func glueBufferNow(token, id uint32, label string, size float64) int32

//go:wasmimport wgjepa_gpu release
func glueRelease(token, id uint32)

//go:wasmimport wgjepa_gpu write
func glueWrite(token, id uint32, offset float64, src unsafe.Pointer, size uint32) int32

//go:wasmimport wgjepa_gpu read
func glueRead(token uint32, reads unsafe.Pointer, n uint32)

//go:wasmimport wgjepa_gpu wait
func glueWait(token uint32)

//go:wasmimport wgjepa_gpu room
func glueRoom(token uint32)

//go:wasmimport wgjepa_gpu full
func glueFull(token uint32) int32

//go:wasmimport wgjepa_gpu program
func glueProgram(token, id uint32, label, source, kinds string, uniformSize uint32)

//go:wasmimport wgjepa_gpu compile
func glueCompile(token uint32, ids unsafe.Pointer, n uint32)

//go:wasmimport wgjepa_gpu compiling
func glueCompiling(token uint32) int32

//go:wasmimport wgjepa_gpu uniform
func glueUniform(token, size uint32)

//go:wasmimport wgjepa_gpu group
func glueGroup(token, id, program uint32, words unsafe.Pointer, n uint32) int32

//go:wasmimport wgjepa_gpu drop
func glueDrop(token, id uint32)

//go:wasmimport wgjepa_gpu submit
func glueSubmit(token uint32, plan unsafe.Pointer, ops uint32, params unsafe.Pointer, size uint32) int32

//go:wasmimport wgjepa_gpu profile
func glueProfile(token uint32, plan unsafe.Pointer, ops uint32, params unsafe.Pointer, size uint32, seconds unsafe.Pointer)

//go:wasmimport wgjepa_gpu profile_stamped
func glueProfileStamped() int32

//go:wasmimport wgjepa_gpu replay_seconds
func glueReplaySeconds(token uint32) float64

//go:wasmimport wgjepa_gpu replayed
func glueReplayed(token uint32) float64

// waiting holds the channel of each token that calls may wait on. Go's
// goroutines share one thread here, so a map needs no lock.
var (
	waiting   = map[uint32]chan struct{}{}
	lastToken uint32
)

// newToken registers a token; its holder makes one call at a time.
func newToken() uint32 {
	if lastToken == 0 {
		js.Global().Set("wgjepaWake", js.FuncOf(func(_ js.Value, args []js.Value) any {
			if ch := waiting[uint32(args[0].Int())]; ch != nil {
				ch <- struct{}{}
			}
			return nil
		}))
	}
	lastToken++
	waiting[lastToken] = make(chan struct{}, 1)
	return lastToken
}

// call makes a call that waits: the goroutine sleeps until JavaScript wakes it.
func call(token uint32, start func()) error {
	start()
	<-waiting[token]
	return failed(glueResult(token))
}

// text is what the last call left to say.
func text() string {
	n := glueTextLength()
	if n == 0 {
		return ""
	}
	b := make([]byte, n)
	glueTextCopy(unsafe.Pointer(&b[0]))
	return string(b)
}

// compileError is what driver.js says of a kernel that does not compile, in JSON.
type compileError string

func (e compileError) Error() string { return string(e) }

// failed turns the code of a call into an error.
func failed(code int32) error {
	if code == 0 {
		return nil
	}
	kind, message, _ := strings.Cut(text(), ":")
	switch kind {
	case "lost":
		return fmt.Errorf("%w: %s", driver.ErrLost, message)
	case "memory":
		return fmt.Errorf("%w: %s", driver.ErrMemory, message)
	case "compile":
		return compileError(message)
	}
	return fmt.Errorf("WebGPU: %s", message)
}
