package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows how far a task is: a bar on a terminal, else a log line now and
// then, nothing with --quiet or --json.
type bar struct {
	c        *console
	name     string
	total    int
	first    int // done before the bar began
	count    atomic.Int64
	noted    []any
	text     atomic.Pointer[string]
	progress *mpb.Progress
	bar      *mpb.Bar
	err      io.Writer // the console's own, while lines go above the bar
	start    time.Time
	logged   time.Time
	told     int64 // count of the last log line
}

// logEvery is the time between two log lines of a task.
const logEvery = 10 * time.Second

// bar begins to show a task of total parts, first of which are done.
func (c *console) bar(name string, total, first int) *bar {
	b := &bar{c: c, name: name, total: total, first: first, start: time.Now(), logged: time.Now(), err: c.err}
	b.count.Store(int64(first))
	b.note()
	if c.quiet || !terminal(c.err) {
		return b
	}
	b.progress = mpb.New(mpb.WithOutput(c.err), mpb.WithWidth(32), mpb.WithRefreshRate(150*time.Millisecond))
	b.bar = b.progress.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(name+" "), decor.CountersNoUnit("%d/%d", decor.WCSyncSpace)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			return fmt.Sprintf(" %s, %s left%s", b.rate(), b.left(), *b.text.Load())
		})))
	b.bar.SetCurrent(int64(first))
	c.err = b.progress // lines go above the bar
	return b
}

// note sets what is shown beside the count: names and values in turn.
func (b *bar) note(pairs ...any) {
	var s strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&s, "  %v %v", pairs[i], pairs[i+1])
	}
	text := s.String()
	b.noted = pairs
	b.text.Store(&text)
}

// set says that n parts are done.
func (b *bar) set(n int) {
	b.count.Store(int64(n))
	if b.bar != nil {
		b.bar.SetCurrent(int64(n))
		return
	}
	if !b.c.quiet && time.Since(b.logged) >= logEvery && n < b.total {
		b.log()
	}
}

// log writes a line where there is no bar.
func (b *bar) log() {
	done := b.count.Load()
	if b.bar != nil || b.c.quiet || b.told == done {
		return
	}
	b.logged, b.told = time.Now(), done
	args := append([]any{"done", done, "of", b.total}, b.noted...)
	b.c.logger().Info(b.name, append(args, "rate", b.rate(), "left", b.left())...)
}

// end leaves the bar as it is and gives the terminal back. A bar that never
// began (nil) or has ended is left alone.
func (b *bar) end() {
	if b == nil || b.bar == nil {
		return
	}
	if b.count.Load() < int64(b.total) {
		b.bar.Abort(false)
	}
	b.progress.Wait()
	b.c.err, b.bar = b.err, nil
}

// speed is parts a second since the bar began.
func (b *bar) speed() float64 {
	return float64(b.count.Load()-int64(b.first)) / max(time.Since(b.start).Seconds(), 1e-9)
}

func (b *bar) rate() string {
	v := b.speed()
	switch {
	case v == 0:
		return "-/s"
	case v < 1:
		return fmt.Sprintf("%.1f s each", 1/v)
	}
	return fmt.Sprintf("%.3g/s", v)
}

// left is the time that remains at the mean speed so far.
func (b *bar) left() string {
	v := b.speed()
	if v == 0 {
		return "-"
	}
	s := float64(int64(b.total)-b.count.Load()) / v
	return duration(time.Duration(math.Round(s)) * time.Second)
}

// duration in two units at most, such as 3m20s.
func duration(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
