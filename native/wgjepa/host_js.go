package main

import (
	"os"
	"syscall/js"
)

// What wasm/edge.js gives: arguments as values, for which Go's runtime has little room.
func init() {
	args := js.Global().Get("wgjepa").Get("args")
	for i := range args.Length() {
		os.Args = append(os.Args, args.Index(i).String())
	}
}

// onInterrupt is as in host.go; the process is that of the runtime.
func onInterrupt(c chan<- os.Signal) (stop func()) {
	process := js.Global().Get("process")
	hear := js.FuncOf(func(js.Value, []js.Value) any {
		select {
		case c <- os.Interrupt:
		default: // nobody listens any more
		}
		return nil
	})
	names := []string{"SIGINT", "SIGTERM"}
	for _, name := range names {
		process.Call("on", name, hear)
	}
	return func() {
		for _, name := range names {
			process.Call("off", name, hear)
		}
	}
}
