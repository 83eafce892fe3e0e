package volume

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// texts are contents that use every part of the format: literals, short and long copies,
// near and far, runs, noise that is stored, nothing.
func texts() map[string][]byte {
	r := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	few := make([]byte, 50_000)
	for i := range few {
		few[i] = "ACGT"[r.IntN(4)]
	}
	skewed := make([]byte, 80_000) // codes of very different lengths
	for i := range skewed {
		skewed[i] = byte(min(int(r.ExpFloat64()*8), 255))
	}
	far := append(append(bytes.Clone(noise[:500]), skewed[:31_000]...), noise[:500]...)
	return map[string][]byte{"nothing": nil, "one": {7}, "run": bytes.Repeat([]byte{5}, 70_000), "pair": bytes.Repeat([]byte("ab"), 30_000), "seven": bytes.Repeat([]byte("abcdefg"), 9000), "eight": bytes.Repeat([]byte("abcdefgh"), 9000),
		"noise": noise, "few": few, "skewed": skewed, "far": far}
}

func packed(t testing.TB, level int, text []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	require.NoError(t, err)
	w.Write(text)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// TestInflate: what the standard library packs, in each of its ways, comes out again, also
// of several members, and into memory that was used before.
func TestInflate(t *testing.T) {
	var z inflater
	for name, text := range texts() {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression, gzip.HuffmanOnly} {
			more, err := z.gzip(packed(t, level, text), 1<<20)
			require.NoError(t, err, "%s, level %d", name, level)
			assert.False(t, more)
			assert.True(t, bytes.Equal(text, z.out[:z.o]), "%s, level %d", name, level)
		}
	}
	all := texts()
	two := append(packed(t, 6, all["far"]), packed(t, 1, all["few"])...)
	_, err := z.gzip(two, 1<<20)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(append(bytes.Clone(all["far"]), all["few"]...), z.out[:z.o]))
	z = inflater{}
	more, err := z.gzip(packed(t, 6, bytes.Repeat([]byte("scan"), 1<<20)), 1000)
	require.NoError(t, err)
	assert.True(t, more)
	assert.Greater(t, z.o, 1000)
	assert.Less(t, len(z.out), 1<<20, "memory follows what is wanted, not what there is")

	var b bytes.Buffer // every part of a header
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "a.nii", "a scan", []byte{1, 2, 3}
	w.Write([]byte("voxels"))
	w.Close()
	_, err = z.gzip(b.Bytes(), 100)
	require.NoError(t, err)
	assert.Equal(t, "voxels", string(z.out[:z.o]))
}

// TestInflateDamaged: cut anywhere or with any bit turned round, the outcome is that of the
// standard library.
func TestInflateDamaged(t *testing.T) {
	for name, text := range map[string][]byte{"text": []byte("the quick brown fox the quick brown dog, the quick brown fox"), "skewed": texts()["skewed"][:600], "run": make([]byte, 500)} {
		b := packed(t, 6, text)
		for cut := range b {
			alike(t, name, b[:cut])
		}
		for i := range 8 * len(b) {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			alike(t, name, bad)
		}
	}
}

// alike holds the inflater to the standard library: the same bytes, or both refuse.
func alike(t *testing.T, what string, b []byte) {
	t.Helper()
	const most = 1 << 22
	var want []byte
	r, wrong := gzip.NewReader(bytes.NewReader(b))
	if wrong == nil {
		want, wrong = io.ReadAll(io.LimitReader(r, most+1))
	}
	if len(want) > most {
		return
	}
	var z inflater
	_, err := z.gzip(bytes.Clone(b), most)
	if (err == nil) != (wrong == nil) {
		t.Fatalf("%s: %x: error %v, the standard library's %v", what, b, err, wrong)
	}
	if err == nil && !bytes.Equal(want, z.out[:z.o]) {
		t.Fatalf("%s: %x: %d bytes differ from the standard library's %d", what, b, z.o, len(want))
	}
}

func FuzzInflate(f *testing.F) {
	for _, text := range texts() {
		f.Add(packed(f, 6, text[:min(len(text), 300)]), false)
	}
	dir := testdata.Data.Find(f, "hippocampus")
	files, _ := filepath.Glob(filepath.Join(dir, "labels", "*"))
	for _, name := range files[:3] {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b, false)
		f.Add(b[10:min(len(b)-8, 2000)], true)
	}
	f.Fuzz(func(t *testing.T, b []byte, bare bool) {
		if bare { // DEFLATE alone, with the frame that its content needs
			text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20))
			whole := packed(t, flate.NoCompression, text)
			b = append(append(bytes.Clone(whole[:10]), b...), whole[len(whole)-8:]...)
			if err != nil {
				text = nil
			}
		}
		alike(t, "fuzz", b)
	})
}
