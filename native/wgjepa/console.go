package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"wgjepa/gpu"
)

// console is where a command speaks and the flags that say how. Results go to
// out, all else to err.
type console struct {
	out, err    io.Writer
	adapter     string
	quiet, json bool
}

// output remembers that something could not be written, such as onto a full disk.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// terminal reports whether a person watches w, where lines can be drawn over.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	s, err := f.Stat()
	if err != nil || s.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(s, null)
}

// say prints a line for a person, unless --quiet.
func (c *console) say(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// warn prints a line always.
func (c *console) warn(format string, args ...any) {
	fmt.Fprintf(c.err, "warning: "+format+"\n", args...)
}

// result prints a result for a person, or v as JSON.
func (c *console) result(v any, format string, args ...any) {
	if c.json {
		c.emit(v)
		return
	}
	fmt.Fprintf(c.out, format, args...)
}

// emit prints one line of JSON. Figures that JSON cannot hold must not reach it.
func (c *console) emit(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wgjepa: %T as JSON: %v", v, err)) // our own types
	}
	fmt.Fprintf(c.out, "%s\n", line)
}

// logger writes log lines, where no terminal shows a bar.
func (c *console) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, nil))
}

// describe is an adapter in one line.
func describe(i gpu.Info) string {
	parts := []string{string(i.Kind)}
	for _, p := range []string{i.Backend, i.Driver} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return fmt.Sprintf("%s (%s)", i.Name, strings.Join(parts, ", "))
}

// open opens the chosen adapter and says which it is and what kind.
func (c *console) open() (*gpu.Device, error) {
	d, err := gpu.Open(c.adapter)
	if err != nil {
		return nil, err
	}
	i := d.Info()
	c.say("adapter: %s", describe(i))
	switch {
	case i.Kind == gpu.Software && c.adapter == "":
		c.warn("no GPU was found: %s computes on the processor, slowly", i.Name)
	case i.Kind == gpu.Twins:
		c.say("         computes in float64 on the processor: exact and slow")
	}
	return d, nil
}

// bytes in a unit that reads well.
func bytesText(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
