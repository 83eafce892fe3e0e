package main

import (
	"context"
	"os"
	"time"
)

// again is how soon a second Ctrl-C is the first one still: a terminal sends it to the
// whole group, and a program that runs this one hands it on.
const again = time.Second / 2

// interruptible returns a context that the first Ctrl-C ends, after a call of told where
// that is not nil; a second one ends the process. So does each after stop.
func interruptible(told func()) (ctx context.Context, stop func()) {
	ctx, stop = context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	leave := onInterrupt(signals)
	go func() {
		defer leave()
		select {
		case <-signals:
			if told != nil {
				told()
			}
			stop()
			time.Sleep(again)
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}
