//go:build !js

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onInterrupt sends each Ctrl-C, or request to end, to c until stop, after which one
// ends the process.
func onInterrupt(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return func() { signal.Stop(c) }
}
