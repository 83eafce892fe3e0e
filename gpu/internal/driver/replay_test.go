package driver

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"wgjepa/wgsl"
)

func TestPack(t *testing.T) {
	params := func(n int) *Program {
		p := &Program{Layout: wgsl.Layout{Params: make([]wgsl.Field, n)}}
		p.Layout.Params[0].Float = true
		return p
	}
	require.Equal(t, 16, params(4).UniformSize())
	require.Equal(t, 32, params(5).UniformSize())
	require.Equal(t, 32, params(5).Stride(4))
	require.Equal(t, 256, params(5).Stride(256))

	p := Plan{Params: []float64{0.1, 7, 2.5}}
	p.Ops = []Op{{Program: params(2), Params: [2]int{0, 2}}, {Program: params(1), Params: [2]int{2, 3}}}
	data := p.Pack([]byte("kept"), 64)
	require.Len(t, data, 4+2*64)
	require.Equal(t, "kept", string(data[:4]))
	words := make([]uint32, 32)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	want := make([]uint32, 32)
	want[0], want[1], want[16] = math.Float32bits(0.1), 7, math.Float32bits(2.5)
	require.Equal(t, want, words)
}

func TestCheck(t *testing.T) {
	program := &Program{Name: "k", Layout: wgsl.Layout{Params: make([]wgsl.Field, 2), Bindings: make([]wgsl.Binding, 1)}}
	for want, op := range map[string]Op{
		"":                                   {Args: [2]int{3, 4}, Params: [2]int{0, 2}},
		"kernel k takes 1 buffers, not 2":    {Args: [2]int{3, 5}, Params: [2]int{0, 2}},
		"kernel k takes 2 parameters, not 1": {Args: [2]int{3, 4}, Params: [2]int{0, 1}},
	} {
		op.Program = program
		p := Plan{Ops: []Op{op}}
		err := p.Check(func(*Program) bool { return true })
		if want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, want)
		}
		require.EqualError(t, p.Check(func(*Program) bool { return false }), "kernel k was not compiled")
	}
}

// A compiler counts the lines of the whole text; the message names the file
// that a line was written in.
func TestRefused(t *testing.T) {
	p := &Program{Name: "k_vec4", File: "k.wgsl", Source: "one\n  two\n//#file shared/s.wgsl\nthree\n"}
	for line, want := range map[int]string{
		2: "kernel k_vec4: k.wgsl:2:5: no\n\ttwo",
		4: "kernel k_vec4: shared/s.wgsl:1:5: no\n\tthree",
		0: "kernel k_vec4: k.wgsl: no",
		9: "kernel k_vec4: k.wgsl: no",
	} {
		require.EqualError(t, p.Refused(line, 5, "no"), want)
	}
}
