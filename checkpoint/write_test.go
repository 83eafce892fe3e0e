package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample has every type, a scalar, an empty tensor and values that survive only bit for bit.
func sample() []Entry {
	return []Entry{
		{"z/first", []int{2, 3}, []float32{1, -2, float32(math.Inf(1)), math.Float32frombits(0x7fa00001), math.SmallestNonzeroFloat32, 0.1}},
		{"f64", []int{3}, []float64{math.Pi, math.Float64frombits(0x7ff4000000000001), math.Copysign(0, -1)}},
		{"u8", []int{3}, []uint8{0, 128, 255}},
		{"i64", []int{2}, []int64{math.MinInt64, math.MaxInt64}},
		{"i32", []int{2, 1}, []int32{math.MinInt32, math.MaxInt32}},
		{"u32", nil, []uint32{math.MaxUint32}},
		{"empty", []int{0, 4}, []float32{}},
		{`"quoted" <é>`, []int{1}, []float32{2}},
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	metadata := map[string]string{"step": "7", "config": "a = \"b\"\n", "é": "<&>"}
	require.NoError(t, Write(path, sample(), metadata, true))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, path, f.Path())
	require.Equal(t, metadata, f.Metadata())
	require.NoError(t, f.Verify())
	require.Zero(t, f.data%8, "the data section is aligned")
	require.Len(t, f.Names(), len(sample()))
	for i, e := range sample() {
		require.Equal(t, e.Name, f.Names()[i], "the order is kept")
		var shape []int
		switch want := e.Data.(type) {
		case []float32:
			got, s, err := f.Float32s(e.Name)
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for j := range want {
				require.Equal(t, math.Float32bits(want[j]), math.Float32bits(got[j]), "%s %d", e.Name, j)
			}
			shape = s
		case []float64:
			got, s, err := f.Float64s(e.Name)
			require.NoError(t, err)
			for j := range want {
				require.Equal(t, math.Float64bits(want[j]), math.Float64bits(got[j]), "%s %d", e.Name, j)
			}
			shape = s
		default:
			got, s, err := f.Ints(e.Name)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
			shape = s
		}
		require.Equal(t, append([]int{}, e.Shape...), append([]int{}, shape...))
	}
}

// A tensor larger than the conversion buffer, of a length that does not divide it.
func TestRoundTripManyChunks(t *testing.T) {
	v := make([]float64, 3*chunkBytes/8+5)
	for i := range v {
		v[i] = float64(i) + 0.5
	}
	w := make([]float32, len(v))
	for i := range w {
		w[i] = float32(v[i])
	}
	var b bytes.Buffer
	require.NoError(t, Encode(&b, []Entry{{"v", []int{len(v)}, v}, {"w", []int{len(w)}, w}}, nil))
	f, err := open(b.Bytes())
	require.NoError(t, err)
	require.NoError(t, f.Verify())
	got, _, err := f.Float64s("v")
	require.NoError(t, err)
	require.Equal(t, v, got)
	narrow, _, err := f.Float32s("v")
	require.NoError(t, err)
	require.Equal(t, w, narrow)
	narrow, _, err = f.Float32s("w")
	require.NoError(t, err)
	require.Equal(t, w, narrow)
}

// The exact bytes, so that files stay the same from version to version.
func TestBytes(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, []Entry{{"b", []int{1}, []float32{1}}, {"a", nil, []uint8{7}}}, map[string]string{"y": "2", "x": "1"}))
	header := `{"__metadata__":{"crc32c":"bda87de3","x":"1","y":"2"},` +
		`"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	require.Equal(t, string(raw(header, []byte{0, 0, 0x80, 0x3f, 7})), b.String())
}

func TestVerifyFindsEveryFlippedByte(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, sample(), nil))
	start := 8 + int(binary.LittleEndian.Uint64(b.Bytes()))
	for i := start; i < b.Len(); i++ {
		bad := bytes.Clone(b.Bytes())
		bad[i] ^= 1
		f, err := open(bad)
		require.NoError(t, err)
		require.ErrorIs(t, f.Verify(), ErrDamaged)
	}
}

func TestEncodeRefuses(t *testing.T) {
	one := []float32{1}
	for say, c := range map[string]struct {
		tensors  []Entry
		metadata map[string]string
	}{
		`"a" is given twice`:            {[]Entry{{"a", nil, one}, {"a", nil, one}}, nil},
		`"__metadata__" is given twice`: {[]Entry{{"__metadata__", nil, one}}, nil},
		"is not UTF-8":                  {[]Entry{{"\xff", nil, one}}, nil},
		`metadata "k" is not UTF-8`:     {nil, map[string]string{"k": "\xff"}},
		`"crc32c" is reserved`:          {nil, map[string]string{"crc32c": "0"}},
		"33 axes":                       {[]Entry{{"a", bytesOfOnes(33), one}}, nil},
		"store less metadata":           {nil, map[string]string{"k": strings.Repeat("x", headerCap)}},
	} {
		require.ErrorContains(t, Encode(&bytes.Buffer{}, c.tensors, c.metadata), say)
	}
	require.PanicsWithValue(t, "checkpoint: Write: a is [2], its data has 1 values", func() { _ = Encode(&bytes.Buffer{}, []Entry{{"a", []int{2}, one}}, nil) })
	require.PanicsWithValue(t, "checkpoint: Write: a is [-1 -1]", func() { _ = Encode(&bytes.Buffer{}, []Entry{{"a", []int{-1, -1}, one}}, nil) })
	require.PanicsWithValue(t, "checkpoint: Write: a: cannot store []string", func() { _ = Encode(&bytes.Buffer{}, []Entry{{"a", nil, []string{"x"}}}, nil) })
}

func bytesOfOnes(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

func number(n int) []Entry { return []Entry{{"n", []int{1}, []int64{int64(n)}}} }

// read returns the number in the verified file at path.
func read(t *testing.T, path string) int {
	f, err := OpenVerified(path)
	require.NoError(t, err)
	defer f.Close()
	v, _, err := f.Ints("n")
	require.NoError(t, err)
	return int(v[0])
}

// folder returns the names in path's folder.
func folder(t *testing.T, path string) []string {
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	require.NoError(t, Write(path, number(1), nil, true))
	require.Equal(t, []string{"c"}, folder(t, path))
	require.NoError(t, Write(path, number(2), nil, true))
	require.NoError(t, Write(path, number(3), nil, true))
	require.Equal(t, []string{"c", "c.previous"}, folder(t, path))
	require.Equal(t, 3, read(t, path))
	require.Equal(t, 2, read(t, path+PreviousSuffix))
	require.NoError(t, Write(path, number(4), nil, false))
	require.Equal(t, 4, read(t, path))
	require.Equal(t, 2, read(t, path+PreviousSuffix), "without keep the one before stays as it is")
	require.NoError(t, os.Truncate(path, 40))
	require.NoError(t, Write(path, number(5), nil, true))
	require.Equal(t, 5, read(t, path))
	require.Equal(t, 2, read(t, path+PreviousSuffix), "a damaged file does not replace a good one")
}

func TestLatest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	latest := func() (n int, note string) {
		f, note, err := Latest(path)
		require.NoError(t, err)
		defer f.Close()
		v, _, err := f.Ints("n")
		require.NoError(t, err)
		if note != "" {
			require.Equal(t, path+PreviousSuffix, f.Path())
		}
		return int(v[0]), note
	}
	_, _, err := Latest(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, Write(path, number(1), nil, true))
	require.NoError(t, Write(path, number(2), nil, true))
	n, note := latest()
	require.Equal(t, 2, n)
	require.Empty(t, note)

	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len(b)-1] ^= 1
	require.NoError(t, os.WriteFile(path, b, 0o644))
	n, note = latest()
	require.Equal(t, 1, n)
	require.Contains(t, note, "checksum")
	require.Contains(t, note, "using the one before it, "+path+".previous")

	require.NoError(t, os.Truncate(path, 12))
	n, note = latest()
	require.Equal(t, 1, n)
	require.Contains(t, note, "not a whole safetensors file")

	require.NoError(t, os.Remove(path))
	n, note = latest()
	require.Equal(t, 1, n)
	require.NotEmpty(t, note)

	require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
	require.NoError(t, os.WriteFile(path+PreviousSuffix, []byte("y"), 0o644))
	_, _, err = Latest(path)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, ".previous")
}

var errInjected = fmt.Errorf("injected: %w", syscall.ENOSPC)

// failing is a disk that fails at the nth call, and from then on if dead. After every
// call it holds the disk to the promise that a complete file stands under one of the names.
type failing struct {
	osFiles
	t       *testing.T
	path    string
	calls   *int
	at      int
	dead    bool // as when power is lost: nothing works any more
	noLinks bool
	log     *[]string
}

func (d failing) step(what string, do func() error) error {
	*d.calls++
	*d.log = append(*d.log, what)
	if *d.calls == d.at || d.dead && *d.calls > d.at {
		return errInjected
	}
	err := do()
	d.check()
	return err
}

func (d failing) check() {
	_, err := OpenVerified(d.path)
	_, errPrevious := OpenVerified(d.path + PreviousSuffix)
	require.True(d.t, err == nil || errPrevious == nil, "after %v: %v; %v", *d.log, err, errPrevious)
}

func (d failing) create(path string) (f file, err error) {
	err = d.step("create", func() (err error) { f, err = d.osFiles.create(path); return err })
	return failingFile{f, d}, err
}
func (d failing) link(a, b string) error {
	if d.noLinks {
		return errors.ErrUnsupported
	}
	return d.step("link", func() error { return d.osFiles.link(a, b) })
}
func (d failing) rename(a, b string) error {
	return d.step("rename "+filepath.Base(a), func() error { return d.osFiles.rename(a, b) })
}
func (d failing) remove(path string) error {
	if d.dead && *d.calls >= d.at {
		return errInjected
	}
	return d.osFiles.remove(path)
}
func (d failing) syncFolder(path string) error {
	return d.step("sync folder", func() error { return d.osFiles.syncFolder(path) })
}

type failingFile struct {
	file
	d failing
}

func (f failingFile) Write(p []byte) (n int, err error) {
	err = f.d.step("write", func() (err error) { n, err = f.file.Write(p); return err })
	return n, err
}
func (f failingFile) Sync() error { return f.d.step("sync", f.file.Sync) }
func (f failingFile) Close() error {
	if err := f.file.Close(); err != nil {
		return err
	}
	return f.d.step("close", func() error { return nil })
}

// Every call that writing makes fails once: as an error, and as the loss of power.
func TestFailureAtEachStage(t *testing.T) {
	for _, keep := range []bool{false, true} {
		for _, noLinks := range []bool{false, true} {
			for _, dead := range []bool{false, true} {
				for at := 1; ; at++ {
					path := filepath.Join(t.TempDir(), "c")
					require.NoError(t, Write(path, number(1), nil, true))
					require.NoError(t, Write(path, number(2), nil, true))
					calls, log := 0, []string{}
					d := failing{t: t, path: path, calls: &calls, at: at, dead: dead, noLinks: noLinks, log: &log}
					err := write(d, path, number(3), nil, keep)
					if calls < at { // no call left to fail
						require.NoError(t, err)
						require.Equal(t, 3, read(t, path))
						require.GreaterOrEqual(t, at, 8, "stages: %v", log)
						break
					}
					what := fmt.Sprintf("keep %v, links %v, dead %v, failing at %v", keep, !noLinks, dead, log)
					d.check()
					linkFailed := !dead && log[at-1] == "link"
					if linkFailed { // the other way of keeping takes over
						require.NoError(t, err, what)
					} else {
						require.ErrorIs(t, err, errInjected, what)
					}
					if !dead {
						renamed := strings.Contains(strings.Join(log[:at-1], ","), "rename c.tmp")
						want := 2
						if renamed || linkFailed {
							want = 3
						}
						require.Equal(t, want, read(t, path), what)
						for _, name := range folder(t, path) {
							require.Contains(t, []string{"c", "c.previous"}, name, what)
						}
					}
					require.NoError(t, Write(path, number(4), nil, keep), "the next one works: %s", what)
					require.Equal(t, 4, read(t, path))
					if keep {
						require.Subset(t, []string{"c", "c.previous"}, folder(t, path), what)
					}
				}
			}
		}
	}
}

func TestAdvice(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "no", "such", "c"), number(1), nil, true)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "create the folder first")
	require.Contains(t, advice(errInjected), "free space")
}

func TestWriteDoesNotCopyTheTensors(t *testing.T) {
	v := make([]float32, 4<<20)
	path := filepath.Join(t.TempDir(), "c")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, Write(path, []Entry{{"v", []int{len(v)}, v}}, nil, true))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestMetadataIsACopy(t *testing.T) {
	var b bytes.Buffer
	given := map[string]string{"a": "1"}
	require.NoError(t, Encode(&b, nil, given))
	require.Equal(t, map[string]string{"a": "1"}, given)
	f, err := open(b.Bytes())
	require.NoError(t, err)
	maps.Copy(f.Metadata(), map[string]string{"b": "2"})
	require.Equal(t, given, f.Metadata())
}

func BenchmarkEncode(b *testing.B) {
	v := make([]float32, 4<<20)
	b.SetBytes(int64(4 * len(v)))
	for b.Loop() {
		_ = Encode(io.Discard, []Entry{{"v", []int{len(v)}, v}}, nil)
	}
}

func BenchmarkRead(b *testing.B) {
	v := make([]float32, 4<<20)
	var buf bytes.Buffer
	_ = Encode(&buf, []Entry{{"v", []int{len(v)}, v}}, nil)
	f, err := open(buf.Bytes())
	require.NoError(b, err)
	b.SetBytes(int64(4 * len(v)))
	for b.Loop() {
		_, _, _ = f.Float32s("v")
	}
}
