//go:build js && wasm

// Command block computes a transformer block forward and backward for a page
// that compares programs (tools/peers). It gives the page
//
//	globalThis.wgjepaBlock = { adapter, kind, parameters: [{ name, shape }], set(name, Float32Array), run(), get(name) }
//
// run returns a promise that is kept when output and gradients are there, get
// one of a Float32Array. The names are those of the parameters, of which get
// gives the gradient; x and dy, the block's input and the gradient of its
// output; y, its output; and dx.
package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"syscall/js"

	"wgjepa/gpu"
	"wgjepa/model"
)

const (
	batch, tokens, width, heads, hidden = 4, 64, 128, 4, 512
	eps                                 = 1e-5
)

func main() {
	d, err := gpu.Open("")
	if err != nil {
		fail(err)
		return
	}
	b := model.NewBlock(d, batch, tokens, width, heads, hidden, eps)
	x, dy, dx := d.Tensor("x", batch, tokens, width), d.Tensor("dy", batch, tokens, width), d.Tensor("dx", batch, tokens, width)
	var y gpu.Tensor
	record := func(e *gpu.Encoder) {
		e.Fill(b.Grads, 0)
		e.Copy(dx, dy)
		y = b.Forward(e, x)
		b.Backward(e, dx, x)
	}
	last := make([]float32, width) // of the gradients that the queue computes last
	run := func() error {
		e := d.Begin()
		record(e)
		if err := e.Submit(); err != nil {
			return err
		}
		return d.Read(b.Find("block.norm1.bias").Grad, last)
	}
	tensor := func(name string) gpu.Tensor {
		switch name {
		case "x":
			return x
		case "dy":
			return dy
		case "dx":
			return dx
		case "y":
			return y
		}
		return b.Find(name).Grad
	}

	// What waits for the device may not run within a call from JavaScript.
	work := make(chan func(), 16)
	promise := func(f func() (any, error)) js.Value {
		return js.Global().Get("Promise").New(js.FuncOf(func(_ js.Value, args []js.Value) any {
			resolve, reject := args[0], args[1]
			work <- func() {
				if v, err := f(); err != nil {
					reject.Invoke(err.Error())
				} else {
					resolve.Invoke(v)
				}
			}
			return nil
		}))
	}
	var parameters []any
	for _, p := range b.Params {
		var shape []any
		for _, n := range p.Shape {
			shape = append(shape, n)
		}
		parameters = append(parameters, map[string]any{"name": p.Name, "shape": shape})
	}
	js.Global().Set("wgjepaBlock", map[string]any{
		"adapter": d.Info().Name, "kind": string(d.Info().Kind), "parameters": parameters,
		"set": js.FuncOf(func(_ js.Value, args []js.Value) any {
			t := tensor(args[0].String())
			if p := b.Find(args[0].String()); p != nil {
				t = p.Value
			}
			raw := make([]byte, args[1].Get("byteLength").Int())
			js.CopyBytesToGo(raw, js.Global().Get("Uint8Array").New(args[1].Get("buffer"), args[1].Get("byteOffset"), args[1].Get("byteLength")))
			values := make([]float32, len(raw)/4)
			for i := range values {
				values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			}
			d.Write(t, values)
			return nil
		}),
		"run": js.FuncOf(func(js.Value, []js.Value) any {
			return promise(func() (any, error) { return nil, run() })
		}),
		"profile": js.FuncOf(func(js.Value, []js.Value) any {
			return promise(func() (any, error) {
				e := d.Begin()
				record(e)
				p, err := e.Profile()
				seconds := map[string]any{"clock": p.Clock}
				for k, s := range p.Seconds {
					seconds[k] = s
				}
				return seconds, err
			})
		}),
		"get": js.FuncOf(func(_ js.Value, args []js.Value) any {
			name := args[0].String()
			return promise(func() (any, error) {
				t := tensor(name)
				values := make([]float32, t.Len())
				if err := d.Read(t, values); err != nil {
					return nil, err
				}
				raw := make([]byte, 0, 4*len(values))
				for _, v := range values {
					raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
				}
				out := js.Global().Get("Float32Array").New(len(values))
				js.CopyBytesToJS(js.Global().Get("Uint8Array").New(out.Get("buffer")), raw)
				return out, nil
			})
		}),
	})
	js.Global().Get("wgjepaBlockReady").Invoke()
	for f := range work {
		f()
	}
}

func fail(err error) { js.Global().Get("wgjepaBlockReady").Invoke(fmt.Sprint(err)) }
