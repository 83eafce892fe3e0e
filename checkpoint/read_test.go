package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/internal/testdata"
)

// raw builds a file from a header text and data bytes.
func raw(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func open(b []byte) (*File, error) { return NewReader(bytes.NewReader(b), int64(len(b))) }

func TestGoldenFilesOpen(t *testing.T) {
	for _, path := range testdata.Golden.Glob(t, "*.safetensors", "weights/*.safetensors") {
		f, err := Open(path)
		require.NoError(t, err)
		require.NotEmpty(t, f.Names(), path)
		require.NotEmpty(t, f.Metadata(), path)
		for _, name := range f.Names() {
			info, ok := f.Info(name)
			require.True(t, ok)
			n, _ := count(info.Shape)
			switch info.DType {
			case F32, F64:
				v, shape, err := f.Float64s(name)
				require.NoError(t, err)
				require.Equal(t, info.Shape, shape)
				require.Len(t, v, int(n))
				for _, x := range v {
					require.False(t, math.IsNaN(x) || math.IsInf(x, 0), "%s: %s", path, name)
				}
			case I32:
				v, shape, err := f.Ints(name)
				require.NoError(t, err)
				require.Equal(t, info.Shape, shape)
				require.Len(t, v, int(n))
			default:
				t.Fatalf("%s: %s is %s", path, name, info.DType)
			}
		}
		require.NoError(t, f.Verify())
		require.NoError(t, f.Close())
	}
}

func TestGoldenNamesShapesValues(t *testing.T) {
	f, err := Open(testdata.Golden.Find(t, "step3d.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	require.True(t, json.Valid([]byte(f.Metadata()["config"])))
	x, ok := f.Info("x")
	require.True(t, ok)
	require.Equal(t, F32, x.DType)
	require.Len(t, x.Shape, 5) // (B, C, H, W, D)
	context, shape, err := f.Ints("context")
	require.NoError(t, err)
	require.Len(t, shape, 2)
	require.Equal(t, x.Shape[0], shape[0])
	require.Len(t, context, shape[0]*shape[1])
	for _, name := range []string{"weights/context_encoder.patch_embed.proj.weight", "weights/predictor.predictor_norm.weight", "z_pred", "loss", "transform"} {
		require.Contains(t, f.Names(), name)
	}

	// The loss as the reference printed it beside the file.
	text, err := os.ReadFile(testdata.Golden.Find(t, "step3d.json"))
	require.NoError(t, err)
	var printed struct{ Loss float64 }
	require.NoError(t, json.Unmarshal(text, &printed))
	loss, _, err := f.Float64s("loss")
	require.NoError(t, err)
	require.Equal(t, []float64{printed.Loss}, loss)

	p, err := Open(testdata.Golden.Find(t, "probes.safetensors"))
	require.NoError(t, err)
	defer p.Close()
	proba, shape, err := p.Float64s("logistic.proba")
	require.NoError(t, err)
	require.Equal(t, []int{80, 3}, shape)
	for i := 0; i < len(proba); i += 3 {
		require.InDelta(t, 1, proba[i]+proba[i+1]+proba[i+2], 1e-12)
	}
}

func TestHostile(t *testing.T) {
	entry := func(dtype, shape, offsets string) string {
		return `{"a":{"dtype":"` + dtype + `","shape":` + shape + `,"data_offsets":` + offsets + `}}`
	}
	four := make([]byte, 4)
	huge := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	overCap := binary.LittleEndian.AppendUint64(nil, headerCap+1)
	for name, c := range map[string]struct {
		file []byte
		say  string
	}{
		"empty":                  {nil, "too few"},
		"seven bytes":            {make([]byte, 7), "too few"},
		"zeros":                  {make([]byte, 64), "header"},
		"huge header":            {append(huge, "{}"...), "over the limit"},
		"header over the cap":    {append(overCap, "{}"...), "over the limit"},
		"header past the end":    {raw("{}", nil)[:9], "file has 1"},
		"not JSON":               {raw("hello", nil), "invalid character"},
		"array":                  {raw("[]", nil), "belongs"},
		"unclosed":               {raw(`{"a":{"dtype":"F32"`, nil), "unexpected EOF"},
		"trailing comma":         {raw(`{"__metadata__":{},}`, nil), "invalid character"},
		"second value":           {raw(`{}{}`, nil), "after the closing brace"},
		"deep nesting":           {raw(`{"a":`+strings.Repeat("[", 1<<20), nil), "belongs"},
		"tensor is null":         {raw(`{"a":null}`, nil), "belongs"},
		"metadata is a number":   {raw(`{"__metadata__":{"k":1}}`, nil), "string"},
		"duplicate tensor":       {raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, four), "twice"},
		"duplicate by escape":    {raw(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, nil), "twice"},
		"duplicate key":          {raw(`{"a":{"dtype":"F32","dtype":"F64","shape":[],"data_offsets":[0,4]}}`, four), "twice"},
		"duplicate metadata":     {raw(`{"__metadata__":{"k":"1","k":"2"}}`, nil), "twice"},
		"key in another case":    {raw(`{"a":{"DType":"F32","shape":[],"data_offsets":[0,4]}}`, four), "unknown key"},
		"missing shape":          {raw(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, four), "missing"},
		"unknown dtype":          {raw(entry("Q4", "[1]", "[0,4]"), four), "unknown dtype"},
		"negative shape":         {raw(entry("F32", "[-1]", "[0,4]"), four), "-1"},
		"two negative axes":      {raw(entry("F32", "[-1,-1]", "[0,4]"), four), "-1"},
		"fractional shape":       {raw(entry("F32", "[1.5]", "[0,4]"), four), "1.5"},
		"exponent":               {raw(entry("F32", "[1e0]", "[0,4]"), four), "1e0"},
		"string shape":           {raw(entry("F32", `["1"]`, "[0,4]"), four), "integer"},
		"shape wraps to one":     {raw(entry("U8", "[4294967296,4294967296,1]", "[0,0]"), nil), "does not fit"},
		"shape wraps times size": {raw(entry("F64", "[2305843009213693952]", "[0,0]"), nil), "does not fit"},
		"shape over int64":       {raw(entry("F32", "[99999999999999999999]", "[0,4]"), four), "999"},
		"too many axes":          {raw(entry("F32", "["+strings.Repeat("1,", 100)+"1]", "[0,4]"), four), "more than"},
		"size against shape":     {raw(entry("F32", "[2]", "[0,4]"), four), "does not fit"},
		"negative offset":        {raw(entry("F32", "[1]", "[-4,0]"), four), "-4"},
		"offsets reversed":       {raw(entry("F32", "[1]", "[4,0]"), four), "range"},
		"three offsets":          {raw(entry("F32", "[1]", "[0,4,8]"), four), "more than 2"},
		"one offset":             {raw(entry("F32", "[1]", "[4]"), four), "range"},
		"truncated data":         {raw(entry("F32", "[2]", "[0,8]"), four), "ends at byte 8"},
		"bytes left over":        {raw(entry("F32", "[1]", "[0,4]"), make([]byte, 5)), "1 bytes after"},
		"hole at the start":      {raw(entry("F32", "[1]", "[4,8]"), make([]byte, 8)), "no tensor fills"},
		"overlap":                {raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, make([]byte, 12)), "overlaps"},
		"same bytes twice":       {raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, four), "overlaps"},
		"offsets at the end":     {raw(entry("U8", "[9223372036854775807]", "[0,9223372036854775807]"), four), "ends at byte"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open(c.file)
			require.Nil(t, f)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, c.say)
		})
	}
}

// A header that only claims to be large costs nothing.
func TestHeaderMemoryIsBounded(t *testing.T) {
	b := raw(`{"a":{"dtype":"F32","shape":[`+strings.Repeat("0,", 5_000_000)+`0],"data_offsets":[0,0]}}`, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := open(b)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrDamaged)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestTruncationsOfAGoodFile(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, sample(), map[string]string{"k": "v"}))
	for n := range b.Len() {
		_, err := open(b.Bytes()[:n])
		require.ErrorIs(t, err, ErrDamaged, "first %d bytes", n)
	}
	_, err := open(append(b.Bytes(), 0))
	require.ErrorIs(t, err, ErrDamaged)
}

// shrunk claims more bytes than it can give, as a file cut after Open does.
type shrunk struct {
	io.ReaderAt
	n int64
}

func (s shrunk) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.n {
		return 0, io.ErrUnexpectedEOF
	}
	return s.ReaderAt.ReadAt(p, off)
}

func TestFileShrinksAfterOpen(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, []Entry{{"a", []int{1000}, make([]float32, 1000)}}, nil))
	f, err := NewReader(shrunk{bytes.NewReader(b.Bytes()), int64(b.Len()) - 1}, int64(b.Len()))
	if err == nil {
		_, _, err = f.Float32s("a")
	}
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestWrongTensorAndType(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, sample(), nil))
	f, err := open(b.Bytes())
	require.NoError(t, err)
	_, _, err = f.Float32s("nothing")
	require.ErrorContains(t, err, `no tensor "nothing"`)
	_, _, err = f.Ints("f64")
	require.ErrorContains(t, err, "F64, want integers")
	_, _, err = f.Float64s("i64")
	require.ErrorContains(t, err, "I64, want floating point")
	_, ok := f.Info("nothing")
	require.False(t, ok)
	f, err = open(raw(`{"mask":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}`, []byte{0, 1}))
	require.NoError(t, err, "types that cannot be read do not spoil the file")
	_, _, err = f.Ints("mask")
	require.ErrorContains(t, err, "BOOL")
}

// Every binary16 value, against the definition of the format.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		got := float64(float16(uint16(h)))
		sign, exp, frac := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		switch {
		case exp == 31 && frac != 0:
			require.True(t, math.IsNaN(got), "%04x", h)
			continue
		case exp == 31:
			require.Equal(t, math.Inf(int(sign)), got, "%04x", h)
		case exp == 0:
			require.Equal(t, sign*math.Ldexp(frac, -24), got, "%04x", h)
		default:
			require.Equal(t, sign*math.Ldexp(1024+frac, exp-25), got, "%04x", h)
		}
		require.Equal(t, h>>15 == 1, math.Signbit(got), "%04x", h)
	}
}

func TestHalfTensors(t *testing.T) {
	data := []byte{0x00, 0x3c, 0x01, 0x00, 0x80, 0x3f, 0x49, 0xc0} // F16 1, 2⁻²⁴; BF16 1, −3.140625
	f, err := open(raw(`{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}}`, data))
	require.NoError(t, err)
	h, _, err := f.Float64s("h")
	require.NoError(t, err)
	require.Equal(t, []float64{1, 0x1p-24}, h)
	b, _, err := f.Float32s("b")
	require.NoError(t, err)
	require.Equal(t, []float32{1, -3.140625}, b)
}

func TestOpenRefusesWhatIsNotAFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "nothing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
}

func FuzzOpen(f *testing.F) {
	var good bytes.Buffer
	require.NoError(f, Encode(&good, sample(), map[string]string{"step": "7"}))
	f.Add(good.Bytes())
	f.Add(raw(`{"a":{"dtype":"BF16","shape":[2,0],"data_offsets":[0,0]}}`, nil))
	f.Add(raw(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}`, []byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := open(b)
		if err != nil {
			assert.ErrorIs(t, err, ErrDamaged)
			return
		}
		total := int64(0)
		for _, name := range file.Names() {
			info, ok := file.Info(name)
			require.True(t, ok)
			n, ok := count(info.Shape)
			require.True(t, ok)
			total += n * sizes[info.DType]
			if v, shape, err := file.Float64s(name); err == nil {
				require.Len(t, v, int(n))
				require.Equal(t, info.Shape, shape)
			}
			if v, _, err := file.Ints(name); err == nil {
				require.Len(t, v, int(n))
			}
		}
		require.LessOrEqual(t, total, int64(len(b)), "values without bytes behind them")
		_ = file.Verify() // any answer, but no panic
	})
}
