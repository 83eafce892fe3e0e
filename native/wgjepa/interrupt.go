package main

import (
	"context"
	"os"
)

// interruptible returns a context that the first Ctrl-C ends; the second ends the
// process. So does each after stop.
func interruptible() (ctx context.Context, stop func()) {
	ctx, stop = context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	context.AfterFunc(ctx, onInterrupt(signals))
	go func() {
		select {
		case <-signals:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}
