package data

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/phantom"
)

// TestHalf: every zero and normal float16 comes back, and nothing else is taken for one.
func TestHalf(t *testing.T) {
	n := 0
	for h := range 1 << 16 {
		if exponent := h >> 10 & 31; exponent == 31 || exponent == 0 && h&0x3ff != 0 {
			continue
		}
		v := fromHalf(uint16(h))
		require.True(t, isHalf(v), "%#04x", h)
		require.Equal(t, uint16(h), half(v))
		for _, beside := range []uint32{1, 1 << 12} {
			require.False(t, isHalf(math.Float32frombits(math.Float32bits(v)|beside)), "%#04x", h)
		}
		n++
	}
	require.Equal(t, 2*(30<<10+1), n)
	for h, v := range map[uint16]float32{0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 0x1p-14, 0x3555: 0.333251953125} {
		require.Equal(t, v, fromHalf(h))
	}
	for _, v := range []float32{0x1p-15, -0x1p-24, 65536, float32(math.Inf(1)), float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32} {
		require.False(t, isHalf(v), v)
	}
}

// TestPack: the smallest type that holds every value, the sign of zeros included, and what
// is unpacked is what was packed, bit for bit.
func TestPack(t *testing.T) {
	negative := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		x    []float32
		want Element
	}{
		{[]float32{0, 255, 3}, Uint8},
		{[]float32{0, 256, 3}, Int16},
		{[]float32{-1, 0, 255}, Int16},
		{[]float32{-32768, 32767, 2049}, Int16},
		{[]float32{32768, 1}, Float16},
		{[]float32{-32769}, Float32},
		{[]float32{0.5, 2048, -1.25, 0}, Float16},
		{[]float32{0.5, 2049}, Float32},
		{[]float32{2049, 0.5}, Float32},
		{[]float32{negative, 1}, Float16},
		{[]float32{0.1}, Float32},
		{[]float32{0x1p-20}, Float32},
		{[]float32{1e20, 1, 2}, Float32},
		{nil, Uint8},
	} {
		p := pack(c.x)
		require.Equal(t, c.want, p.element, "%v", c.x)
		x := make([]float32, len(c.x))
		p.unpack(x)
		for i := range x {
			require.Equal(t, math.Float32bits(c.x[i]), math.Float32bits(x[i]), "%v", c.x)
		}
	}
}

// element is number k of packed words.
func element(p Packed, k int) float32 {
	switch p.Element {
	case Uint8:
		return float32(p.Words[k/4] >> (8 * (k % 4)) & 0xff)
	case Int16:
		return float32(int16(p.Words[k/2] >> (16 * (k % 2))))
	case Float16:
		return fromHalf(uint16(p.Words[k/2] >> (16 * (k % 2))))
	}
	return math.Float32frombits(p.Words[k])
}

// TestPacked: a packed sample, rescaled, is what is read, whether the cache holds it or
// not, of every normalisation, in several channels and odd lengths.
func TestPacked(t *testing.T) {
	dir := t.TempDir()
	values := rand.New(rand.NewPCG(1, 1))
	write := func(name string, f func() float32) string {
		var b []byte
		for range 2 * 3 * 3 * 5 * 7 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f()))
		}
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, npy("<f4", "(2, 3, 3, 5, 7)", b), 0o600))
		return path
	}
	for want, path := range map[Element]string{
		Uint8:   write("bytes.npy", func() float32 { return float32(values.IntN(256)) }),
		Int16:   write("shorts.npy", func() float32 { return float32(values.IntN(4000) - 1000) }),
		Float16: write("halves.npy", func() float32 { return float32(values.IntN(400))/16 - 3 }),
		Float32: write("floats.npy", func() float32 { return values.Float32() }),
	} {
		for _, normalize := range []Normalization{NormalizeZ, NormalizeForeground, NormalizeRobust, NormalizeNone} {
			for _, cache := range []int64{0, -1} {
				ds, _, err := Open([]string{path}, Options{Normalize: normalize, CacheBytes: cache})
				require.NoError(t, err)
				channels, size := ds.Shape()
				require.Equal(t, 3, channels)
				require.Equal(t, normalize, ds.(Packable).Normalization())
				x := make([]float32, 3*size[0]*size[1]*size[2])
				for i := range ds.Len() {
					require.NoError(t, ds.Read(i, x))
					p, err := ds.(Packable).Packed(i)
					require.NoError(t, err)
					require.Equal(t, want, p.Element, path)
					require.Len(t, p.Rescale, 3)
					one := []float32{0}
					for k := range x {
						one[0] = element(p, k)
						p.Rescale[k/(len(x)/3)].Apply(one)
						require.Equal(t, x[k], one[0])
					}
				}
			}
		}
	}
	ds, _, err := Phantoms(phantom.Config{Size: 8}, 1, 1, Options{})
	require.NoError(t, err)
	assert.Equal(t, NormalizeZ, ds.(Packable).Normalization(), "the default")
}
