package weights

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"wgjepa/checkpoint"
	"wgjepa/internal/testdata"
)

// loadBytes is Load of a file's content.
func loadBytes(b []byte, name string, o Options) (*Weights, error) {
	c, err := readContents(bytes.NewReader(b), int64(len(b)), name)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", name, err)
	}
	return c.weights(o)
}

// loadFolder is Load of a folder whose files open opens.
func loadFolder(open openFile, name string, o Options) (*Weights, error) {
	c, err := readFolder(open, name)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.weights(o)
}

// inspectBytes is Inspect of a file's content.
func inspectBytes(b []byte, name string) (*Report, error) {
	c, err := readContents(bytes.NewReader(b), int64(len(b)), name)
	if err != nil {
		return nil, err
	}
	return c.report(), nil
}

// sample makes random weights of a configuration.
func sample(c Config) *Weights {
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(list []shape, rows int) []Tensor {
		var out []Tensor
		for _, s := range list {
			dims := slices.Clone(s.dims)
			n := 1
			for i, d := range dims {
				if d == -1 {
					switch {
					case strings.HasSuffix(s.name, "pos_embed"):
						dims[i] = rows
					case strings.Contains(s.name, "q_norm"), strings.Contains(s.name, "k_norm"):
						dims[i] = c.EmbedDim / c.NumHeads
					default: // the predictor's hidden width
						dims[i] = 4 * c.Predictor.EmbedDim
					}
				}
				n *= dims[i]
			}
			data := make([]float32, n)
			for i := range data {
				data[i] = float32(r.NormFloat64() * 0.2)
			}
			out = append(out, Tensor{s.name, dims, data})
		}
		return out
	}
	P, _ := product(c.Grid())
	rows := P
	if !c.NoEmbedClass {
		rows += c.Prefix()
	}
	w := &Weights{Source: "test", Config: c}
	w.Encoder, w.Target = fill(encoderShapes(&c), rows), fill(encoderShapes(&c), rows)
	if c.Predictor.EmbedDim > 0 {
		w.Predictor = fill(predictorShapes(&c), P)
	}
	return w
}

var (
	flat = Config{ImgSize: []int{24, 24}, PatchSize: []int{8, 8}, InChans: 3, EmbedDim: 12, Depth: 2, NumHeads: 3, MLPRatio: 2.5, QKVBias: true,
		PosEmbed: "learned", PosOrder: "hwd", NormEps: 1e-6, Predictor: PredictorConfig{12, 2, 3, 1e-6}}
	deep = Config{ImgSize: []int{16, 12, 8}, PatchSize: []int{4, 4, 4}, InChans: 2, EmbedDim: 12, Depth: 1, NumHeads: 2, MLPRatio: 4, QKVBias: true, QKNorm: true,
		ClassToken: true, RegTokens: 2, NoEmbedClass: true, PosEmbed: "learned", PosOrder: "nidl", NormEps: 1e-5, Predictor: PredictorConfig{6, 1, 2, 1e-5}}
)

func TestConfigOfGoldenFiles(t *testing.T) {
	timm := Config{ImgSize: []int{32, 32}, PatchSize: []int{8, 8}, InChans: 3, EmbedDim: 24, Depth: 2, NumHeads: 3, MLPRatio: 4,
		QKVBias: true, ClassToken: true, PosEmbed: "learned", PosOrder: "hwd", NormEps: 1e-6, Assumed: []string{"norm_eps", "img_size"}}
	hub := timm
	hub.ClassToken, hub.NormEps, hub.Assumed = false, 1e-12, nil
	nidl := Config{ImgSize: []int{12, 8, 8}, PatchSize: []int{4, 4, 4}, InChans: 1, EmbedDim: 24, Depth: 2, NumHeads: 3, MLPRatio: 4,
		QKVBias: true, ClassToken: true, PosEmbed: "learned", PosOrder: "nidl", NormEps: 1e-5, Predictor: PredictorConfig{12, 1, 3, 1e-5}, Assumed: []string{"norm_eps"}}
	paper := Config{ImgSize: []int{48, 48}, PatchSize: []int{4, 4}, InChans: 3, EmbedDim: 24, Depth: 2, NumHeads: 3, MLPRatio: 4,
		QKVBias: true, PosEmbed: "sincos", PosOrder: "hwd", NormEps: 1e-6, Predictor: PredictorConfig{16, 2, 0, 1e-6}, Unknown: []string{"predictor_num_heads"}, Assumed: []string{"norm_eps"}}
	for _, c := range []struct {
		file, source string
		want         Config
		options      Options
	}{
		{"weights/timm.safetensors", "timm", timm, Options{NumHeads: 3}},
		{"weights/timm.pth", "timm", timm, Options{NumHeads: 3}},
		{"weights/timm_legacy.pth", "timm", timm, Options{NumHeads: 3}},
		{"weights/hf_ijepa", "Hugging Face", hub, Options{}},
		{"weights/nidl.pt", "nidl", nidl, Options{NumHeads: 3, ImgSize: []int{12, 8, 8}}},
		{"weights/nidl.ckpt", "nidl (Lightning checkpoint)", nidl, Options{NumHeads: 3, ImgSize: []int{12, 8, 8}}},
		{"paper2d_start.pth.tar", "facebookresearch/ijepa", paper, Options{NumHeads: 3}},
	} {
		t.Run(c.file, func(t *testing.T) {
			w, err := Load(testdata.Golden.Find(t, c.file), c.options)
			require.NoError(t, err)
			require.Equal(t, c.want, w.Config)
			require.Equal(t, c.source, w.Source)
		})
	}
}

// The three files hold the same numbers.
func TestFormatsAgree(t *testing.T) {
	want, err := Load(testdata.Golden.Find(t, "weights/timm.safetensors"), Options{})
	require.NoError(t, err)
	require.Contains(t, want.Config.Unknown, "num_heads")
	require.Equal(t, []string{"head.bias", "head.weight"}, want.Ignored)
	for _, name := range []string{"timm.pth", "timm_legacy.pth"} {
		got, err := Load(testdata.Golden.Find(t, "weights/"+name), Options{})
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

// The paper's checkpoint holds the weights that its golden run starts from.
func TestPaperCheckpoint(t *testing.T) {
	w, err := Load(testdata.Golden.Find(t, "paper2d_start.pth.tar"), Options{})
	require.NoError(t, err)
	f, err := checkpoint.Open(testdata.Golden.Find(t, "paper2d.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	for name, list := range map[string][]Tensor{"context_encoder": w.Encoder, "target_encoder": w.Target, "predictor": w.Predictor} {
		require.NotEmpty(t, list)
		for _, tensor := range list {
			want, shape, err := f.Float32s("weights/" + name + "." + tensor.Name)
			require.NoError(t, err)
			require.Equal(t, shape, tensor.Shape)
			require.Equal(t, want, tensor.Data, tensor.Name)
		}
	}
}

func TestNetworkOption(t *testing.T) {
	path := testdata.Golden.Find(t, "weights/nidl.ckpt")
	all, err := Load(path, Options{})
	require.NoError(t, err)
	require.NotEqual(t, all.Encoder, all.Target)
	for _, c := range []struct {
		network string
		want    []Tensor
	}{{ContextEncoder, all.Encoder}, {TargetEncoder, all.Target}} {
		w, err := Load(path, Options{Network: c.network})
		require.NoError(t, err)
		require.Equal(t, c.want, w.Encoder)
		require.Nil(t, w.Target)
		require.Nil(t, w.Predictor)
	}
	_, err = Load(testdata.Golden.Find(t, "weights/timm.pth"), Options{Network: TargetEncoder})
	require.ErrorContains(t, err, "it has no target_encoder")
}

func TestInflation(t *testing.T) {
	w, err := Load(testdata.Golden.Find(t, "weights/timm.safetensors"), Options{})
	require.NoError(t, err)
	got, err := w.Adapt([]int{48, 40, 18}, []int{8, 8, 6}, 1)
	require.NoError(t, err)
	f, err := checkpoint.Open(testdata.Golden.Find(t, "weights/inflation_expected.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	for _, name := range f.Names() {
		want, shape, err := f.Float64s(name)
		require.NoError(t, err)
		tensor := find(got.Encoder, name)
		require.Equal(t, shape, tensor.Shape)
		for i, v := range tensor.Data {
			require.InDelta(t, want[i], v, 1e-6, "%s[%d]", name, i)
		}
	}
	require.Equal(t, []int{48, 40, 18}, got.Config.ImgSize)
	require.Equal(t, []int{1, 17, 24}, find(w.Encoder, "pos_embed").Shape, "the weights themselves stay")

	same, err := w.Adapt(nil, nil, 0)
	require.NoError(t, err)
	require.Equal(t, w.Encoder, same.Encoder)
}

func TestAdaptRefuses(t *testing.T) {
	w := sample(flat)
	for _, c := range []struct {
		img, patch []int
		chans      int
		want       string
	}{
		{[]int{24, 25}, nil, 0, "not a multiple of patch_size on axis 1"},
		{[]int{24, 24}, []int{4, 4}, 0, "keep that patch_size"},
		{[]int{24, 24, 8}, []int{8, 8}, 0, "same number of axes"},
		{nil, nil, -1, "in_chans"},
	} {
		_, err := w.Adapt(c.img, c.patch, c.chans)
		require.ErrorContains(t, err, c.want)
	}
	_, err := sample(deep).Adapt([]int{8, 8}, []int{4, 4}, 1)
	require.ErrorContains(t, err, "3-D weights")
}

// Channels: the average of the old ones, for each new one.
func TestAdaptChannels(t *testing.T) {
	w := sample(flat)
	got, err := w.Adapt(nil, nil, 4)
	require.NoError(t, err)
	was, is := find(w.Encoder, "patch_embed.proj.weight"), find(got.Encoder, "patch_embed.proj.weight")
	require.Equal(t, []int{12, 4, 8, 8}, is.Shape)
	for o := range 12 {
		for i := range 64 {
			mean := 0.0
			for c := range 3 {
				mean += float64(was.Data[(o*3+c)*64+i]) / 3
			}
			for c := range 4 {
				require.InDelta(t, mean, is.Data[(o*4+c)*64+i], 1e-7)
			}
		}
	}
}

// Resizing keeps a constant, and a ramp away from the borders, which cubic
// convolution with linear precision does.
func TestResizeAxis(t *testing.T) {
	constant := resizeAxis([]float64{2, 2, 2, 2, 2}, 5, 9, 1)
	for _, v := range constant {
		require.InDelta(t, 2, v, 1e-12)
	}
	sum := cubic(0.3)
	require.InDelta(t, 1, sum[0]+sum[1]+sum[2]+sum[3], 1e-12)
	require.Equal(t, [4]float64{0, 1, 0, 0}, cubic(0))
}

// Every layout and container gives back what went in.
func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]Config{"flat": flat, "deep": deep} {
		w := sample(c)
		o := Options{NumHeads: c.NumHeads, ImgSize: c.ImgSize, NormEps: c.NormEps}
		for _, l := range []Layout{TimmLayout, NIDLLayout, OriginalLayout} {
			for _, ext := range []string{".pt", ".safetensors", ".ckpt"} {
				if ext == ".ckpt" && l != NIDLLayout {
					continue
				}
				t.Run(fmt.Sprint(name, "/", l, ext), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "w"+ext)
					require.NoError(t, w.Save(path, l))
					got, err := Load(path, o)
					require.NoError(t, err)
					require.Equal(t, w.Encoder, got.Encoder)
					if l != TimmLayout {
						require.Equal(t, w.Target, got.Target)
						require.Equal(t, w.Predictor, got.Predictor)
					}
					want := c
					want.PosOrder = got.Config.PosOrder
					want.Predictor = got.Config.Predictor
					require.Equal(t, want, got.Config)
					entries, err := os.ReadDir(filepath.Dir(path))
					require.NoError(t, err)
					require.Len(t, entries, 1, "no temporary file remains")
					usual := o
					usual.NormEps = 0
					got, err = Load(path, usual)
					require.NoError(t, err)
					require.Equal(t, c.NormEps, got.Config.NormEps, "that of the program that the layout is for")
				})
			}
		}
	}
}

func TestHubFolder(t *testing.T) {
	w := sample(flat)
	dir := filepath.Join(t.TempDir(), "hub")
	require.NoError(t, w.Save(dir, HubLayout))
	got, err := Load(dir, Options{})
	require.NoError(t, err)
	require.Equal(t, w.Encoder, got.Encoder)
	want := flat
	want.Predictor = PredictorConfig{}
	require.Equal(t, want, got.Config)
	require.ErrorContains(t, sample(deep).Save(dir, HubLayout), "takes images")

	// The golden folder comes back tensor for tensor, name for name.
	golden := testdata.Golden.Find(t, "weights/hf_ijepa")
	w, err = Load(golden, Options{})
	require.NoError(t, err)
	require.NoError(t, w.Save(dir, HubLayout))
	a, err := checkpoint.Open(filepath.Join(golden, "model.safetensors"))
	require.NoError(t, err)
	defer a.Close()
	b, err := checkpoint.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer b.Close()
	require.ElementsMatch(t, a.Names(), b.Names())
	for _, name := range a.Names() {
		x, _, err := a.Float32s(name)
		require.NoError(t, err)
		y, _, err := b.Float32s(name)
		require.NoError(t, err)
		require.Equal(t, x, y, name)
	}
}

// memory is a folder of files in memory.
type memory map[string][]byte

func (m memory) open(name string) (io.ReaderAt, int64, error) {
	b, ok := m[name]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

func TestShards(t *testing.T) {
	w := sample(flat)
	m := memory{}
	require.NoError(t, w.WriteHub(func(name string, write func(io.Writer) error) error {
		var b bytes.Buffer
		err := write(&b)
		m[name] = b.Bytes()
		return err
	}))
	// Split the one file in two.
	f, err := checkpoint.NewReader(bytes.NewReader(m["model.safetensors"]), int64(len(m["model.safetensors"])))
	require.NoError(t, err)
	var halves [2][]checkpoint.Entry
	var index []string
	for i, name := range f.Names() {
		data, shape, err := f.Float32s(name)
		require.NoError(t, err)
		halves[i%2] = append(halves[i%2], checkpoint.Entry{Name: name, Shape: shape, Data: data})
		index = append(index, fmt.Sprintf("%q: \"model-%d.safetensors\"", name, i%2))
	}
	delete(m, "model.safetensors")
	for i, h := range halves {
		var b bytes.Buffer
		require.NoError(t, checkpoint.Encode(&b, h, nil))
		m[fmt.Sprintf("model-%d.safetensors", i)] = b.Bytes()
	}
	m["model.safetensors.index.json"] = []byte(`{"weight_map": {` + strings.Join(index, ",") + `}}`)
	got, err := loadFolder(m.open, "folder", Options{})
	require.NoError(t, err)
	require.Equal(t, w.Encoder, got.Encoder)

	delete(m, "model-1.safetensors")
	_, err = loadFolder(m.open, "folder", Options{})
	require.ErrorContains(t, err, "model-1.safetensors")
	m["model.safetensors.index.json"] = []byte(`{"weight_map": {"a": "../secret"}}`)
	_, err = loadFolder(m.open, "folder", Options{})
	require.ErrorContains(t, err, "not a file of the folder")
	_, err = loadFolder(memory{}.open, "folder", Options{})
	require.ErrorContains(t, err, "has none of")
}

// Weights of this program tell everything.
func TestOwnWeights(t *testing.T) {
	w := sample(deep)
	var entries []checkpoint.Entry
	for name, list := range map[string][]Tensor{ContextEncoder: w.Encoder, TargetEncoder: w.Target, Predictor: w.Predictor, "optimizer.m.context_encoder": w.Encoder} {
		for _, x := range list {
			entries = append(entries, checkpoint.Entry{Name: name + "." + x.Name, Shape: x.Shape, Data: x.Data})
		}
	}
	var b bytes.Buffer
	require.NoError(t, checkpoint.Encode(&b, entries, map[string]string{"format": "wgjepa state 1", "config": `
preset = "nidl"
predictor_num_heads = 0
[encoder]
img_size = [16, 12, 8]
num_heads = 2
no_embed_class = true
pos_embed = "learned"
pos_order = "nidl"
norm_eps = 1e-5
`}))
	got, err := loadBytes(b.Bytes(), "own", Options{})
	require.NoError(t, err)
	require.Equal(t, w.Encoder, got.Encoder)
	require.Equal(t, w.Target, got.Target)
	require.Equal(t, w.Predictor, got.Predictor)
	require.Equal(t, deep, got.Config)
}

// A fixed table tells grid and order.
func TestGridFromTable(t *testing.T) {
	for _, order := range []string{"hwd", "nidl"} {
		w := sample(deep)
		table := find(w.Predictor, "predictor_pos_embed")
		for i := range table.Data {
			table.Data[i] = float32(sinCosAt(i/6, i%6, []int{4, 3, 2}, 6, order))
		}
		var b bytes.Buffer
		require.NoError(t, w.WriteTorch(&b, NIDLLayout))
		got, err := loadBytes(b.Bytes(), "w", Options{})
		require.NoError(t, err)
		require.Equal(t, []int{16, 12, 8}, got.Config.ImgSize)
		require.Equal(t, order, got.Config.PosOrder)
		require.True(t, got.Config.NoEmbedClass)
		require.Empty(t, got.Config.Unknown, "qk_norm tells the number of heads")
	}
}

// nidl does not store fixed positions of volumes: they are computed, and left
// out again on the way back.
func TestFixedPositions(t *testing.T) {
	w := withTable(deep, "nidl")
	var b bytes.Buffer
	require.NoError(t, w.WriteSafetensors(&b, NIDLLayout))
	load := func(o Options) *Weights {
		got, err := loadBytes(b.Bytes(), "w", o)
		require.NoError(t, err)
		return got
	}
	got := load(Options{ImgSize: deep.ImgSize, PosEmbed: "sincos"})
	require.InDeltaSlice(t, find(w.Encoder, "pos_embed").Data, find(got.Encoder, "pos_embed").Data[3*12:], 1e-7)
	require.Equal(t, "nidl", got.Config.PosOrder)
	require.Contains(t, load(Options{}).Config.Unknown, "pos_embed")
	require.Empty(t, load(Options{ImgSize: deep.ImgSize, PosEmbed: "none"}).Config.Unknown)

	w = withTable(deep, "hwd")
	b.Reset()
	require.NoError(t, w.WriteSafetensors(&b, NIDLLayout))
	require.Equal(t, find(w.Encoder, "pos_embed").Data, find(load(Options{ImgSize: deep.ImgSize}).Encoder, "pos_embed").Data)
}

// withTable makes weights with fixed positions.
func withTable(c Config, order string) *Weights {
	c.PosEmbed, c.PosOrder = "sincos", order
	w := sample(c)
	rows := c.Prefix()
	if c.NoEmbedClass {
		rows = 0
	}
	for _, list := range [][]Tensor{w.Encoder, w.Target} {
		*find(list, "pos_embed") = sinCos("pos_embed", rows, c.Grid(), c.EmbedDim, order)
	}
	*find(w.Predictor, "predictor_pos_embed") = sinCos("predictor_pos_embed", 0, c.Grid(), c.Predictor.EmbedDim, order)
	return w
}

// γ ⊙ (W x + b) = (γ ⊙ W) x + γ ⊙ b.
func TestLayerScale(t *testing.T) {
	w := sample(flat)
	scaled := *w
	scaled.Encoder = slices.Clone(w.Encoder)
	for i := range flat.Depth {
		for j := range 2 {
			gamma := make([]float32, 12)
			for k := range gamma {
				gamma[k] = float32(k + j)
			}
			scaled.Encoder = append(scaled.Encoder, Tensor{fmt.Sprintf("blocks.%d.ls%d.gamma", i, j+1), []int{12}, gamma})
		}
	}
	var b bytes.Buffer
	require.NoError(t, scaled.WriteSafetensors(&b, TimmLayout))
	got, err := loadBytes(b.Bytes(), "w", Options{})
	require.NoError(t, err)
	was, is := find(w.Encoder, "blocks.1.mlp.fc2.weight"), find(got.Encoder, "blocks.1.mlp.fc2.weight")
	for i := range was.Data {
		require.Equal(t, was.Data[i]*float32(i/30+1), is.Data[i])
	}
	require.Equal(t, w.Encoder[0], got.Encoder[0])
}

func TestRefusesOtherModels(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *Weights)
		want   string
	}{
		"missing": {func(w *Weights) { w.Encoder = without(w.Encoder, "norm.bias") }, "norm.bias is missing"},
		"gap": {func(w *Weights) {
			w.Encoder = slices.DeleteFunc(w.Encoder, func(t Tensor) bool { return strings.HasPrefix(t.Name, "blocks.0.") })
		}, "block 0 is missing"},
		"stranger": {func(w *Weights) { w.Encoder = append(w.Encoder, Tensor{"blocks.1.rope.freqs", []int{1}, []float32{1}}) }, "no place"},
		"name":     {func(w *Weights) { w.Encoder[0].Name = "\x1b[2J" }, "cannot be shown"},
		"shape":    {func(w *Weights) { find(w.Encoder, "blocks.1.norm1.bias").Shape = []int{3, 4} }, "has shape [3 4], want [12]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := sample(flat)
			c.change(w)
			var b bytes.Buffer
			require.NoError(t, w.WriteSafetensors(&b, TimmLayout))
			_, err := loadBytes(b.Bytes(), "w", Options{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestHostileIsRefused(t *testing.T) {
	path := testdata.Golden.Find(t, "weights/hostile.pth")
	_, err := Load(path, Options{})
	require.ErrorContains(t, err, "posix.system")
	require.ErrorContains(t, err, "nothing of it was run")
	_, err = Inspect(path)
	require.ErrorContains(t, err, "posix.system")
}

func unpickleString(s string) (any, error) {
	budget := pickleBudget
	v, _, err := unpickle(bufio.NewReader(strings.NewReader(s)), &budget)
	return v, err
}

func TestPickleRefuses(t *testing.T) {
	deepTuple := "(" + strings.Repeat(")\x85", 1<<20)
	for name, c := range map[string]struct{ pickle, want string }{
		"eval":          {"\x80\x02cbuiltins\neval\n(U\x011tR.", "builtins.eval"},
		"inert prefix":  {"\x80\x02ctorchnn\nsystem\n.", "torchnn.system"},
		"torch.hub":     {"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"},
		"instruction":   {"\x80\x02i", "instruction 0x69"},
		"truncated":     {"\x80\x02X\xff", "ends in the middle"},
		"long text":     {"\x80\x02X\xff\xff\xff\x7f", "more objects"},
		"empty stack":   {"\x80\x02.", "did not make"},
		"no mark":       {"\x80\x02t", "did not open"},
		"memo":          {"\x80\x02h\x05.", "did not keep"},
		"many":          {strings.Repeat("}", 1<<20), "more objects"},
		"nested":        {deepTuple, "more objects"},
		"call a string": {"\x80\x02U\x01a)R.", "no class"},
		"bad storage":   {"\x80\x02U\x01aQ.", "torch.save does not"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpickleString(c.pickle)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A dictionary that holds itself, and one that doubles at each of many levels.
func TestPickleCycle(t *testing.T) {
	root, err := unpickleString("\x80\x02}q\x00U\x01ah\x00s.")
	require.NoError(t, err)
	require.ErrorContains(t, walk(root, func(string, any) error { return nil }), "nested too deeply")
	p := "\x80\x02}q\x00"
	for i := range 11 {
		p += fmt.Sprintf("}(U\x01ah%cU\x01bh%cU\x01ch%cU\x01dh%cuq%c", i, i, i, i, i+1)
	}
	root, err = unpickleString(p + ".")
	require.NoError(t, err)
	require.ErrorIs(t, walk(root, func(string, any) error { return nil }), errBudget)
}

// Bad files give an error that says what is wrong, and cost bounded memory.
func TestBadFiles(t *testing.T) {
	var good bytes.Buffer
	require.NoError(t, sample(flat).WriteTorch(&good, TimmLayout))
	tensorOf := func(shape, stride string, count int) []byte {
		p := newPickler()
		p.dict(func() {
			p.text("patch_embed.proj.weight")
			p.b.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
			p.text("storage")
			p.b.WriteString("ctorch\nFloatStorage\n")
			p.text("0")
			p.text("cpu")
			p.int(count)
			p.b.WriteString("tQ")
			p.int(0)
			p.b.WriteString(shape + stride + "\x89)tR")
			p.text("blocks.0.mlp.fc1.weight")
			p.b.WriteString("h\x00")
		})
		s := strings.Replace(p.b.String(), "\x89)tR", "\x89)tRq\x00", 1) + "."
		var b bytes.Buffer
		z := &archive{zip: zip.NewWriter(&b)}
		z.add("data.pkl", uint64(len(s)), func(w io.Writer) error { _, err := io.WriteString(w, s); return err })
		z.add("data/0", 64, func(w io.Writer) error { _, err := w.Write(make([]byte, 64)); return err })
		require.NoError(t, z.err)
		require.NoError(t, z.zip.Close())
		return b.Bytes()
	}
	big := "(" + strings.Repeat("J\x00\x00\x00\x40", 4) + "t"
	zero := "(" + strings.Repeat("K\x00", 4) + "t"
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	f, err := z.Create("x/data.pkl")
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "it is empty"},
		"web page":       {[]byte("<!DOCTYPE html>"), "web page"},
		"lfs":            {[]byte("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"},
		"truncated zip":  {good.Bytes()[:good.Len()/2], "truncated"},
		"compressed":     {packed.Bytes(), "compressed"},
		"huge shape":     {tensorOf(big, zero, 16), "has shape"},
		"not torch":      {[]byte("\x80\x02}."), "not a file of torch.save"},
		"header too big": {append(binary.LittleEndian.AppendUint64(nil, 1<<31), '{'), "safetensors"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := loadBytes(c.file, "bad", Options{})
			require.ErrorContains(t, err, c.want)
			_, err = inspectBytes(c.file, "bad")
			runtime.ReadMemStats(&after)
			if name != "huge shape" {
				require.Error(t, err)
			}
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
		})
	}
}

// The costliest pickles that the budget lets through stay within 64 MiB.
func TestPickleMemory(t *testing.T) {
	for name, unit := range map[string]string{"numbers": "M\xff\xff", "lists": "]", "text": "U\x08abcdefgh", "tuples": "K\x01\x85", "kept": "M\xff\xffq\x00", "dictionaries": "}"} {
		t.Run(name, func(t *testing.T) {
			p := strings.Repeat(unit, pickleBudget+1)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			budget := pickleBudget
			u := &unpickler{r: bufio.NewReader(strings.NewReader(p)), memo: map[uint32]any{}, budget: &budget, refers: map[string]storage{}}
			var err error
			for err == nil {
				var op byte
				if op, err = u.r.ReadByte(); err == nil {
					err = u.step(op)
				}
			}
			require.ErrorIs(t, err, errBudget)
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))
			t.Logf("%d MiB", (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>20)
			runtime.KeepAlive(u)
		})
	}
}

func TestStrides(t *testing.T) {
	data := []float32{0, 1, 2, 3, 4, 5}
	var raw bytes.Buffer
	require.NoError(t, writeFloats(&raw, data))
	f := &torchFile{r: bytes.NewReader(raw.Bytes()), storages: map[string]extent{"0": {0, 24}}}
	s := storage{"FloatStorage", "0", 6}
	got, err := f.read(&array{s, 0, []int64{3, 2}, []int64{1, 3}})
	require.NoError(t, err)
	require.Equal(t, []float32{0, 3, 1, 4, 2, 5}, got)
	got, err = f.read(&array{s, 4, nil, nil})
	require.NoError(t, err)
	require.Equal(t, []float32{4}, got)
	for _, a := range []array{
		{s, 0, []int64{7}, []int64{1}}, {s, 5, []int64{2}, []int64{1}}, {s, 6, nil, nil}, {s, 0, []int64{7}, []int64{0}},
		{s, math.MaxInt64, []int64{2}, []int64{1}}, {s, 1, []int64{2}, []int64{math.MaxInt64}}, {s, 0, []int64{2, 2}, []int64{4, 4}},
	} {
		_, err := f.read(&a)
		require.Error(t, err, "%v", a)
	}
}

// The numbers themselves are checked by tools/weights/check.py in onnxruntime;
// here, that the file is a whole protocol buffer with every weight in it.
func TestONNXIsWhole(t *testing.T) {
	for _, c := range []Config{flat, deep} {
		var b bytes.Buffer
		require.NoError(t, sample(c).WriteONNX(&b))
		graph := fields(t, b.Bytes())[7]
		require.Len(t, graph, 1)
		g := fields(t, graph[0])
		require.Len(t, g[11], 1)
		require.Len(t, g[12], 2)
		inits := map[string]bool{}
		for _, i := range g[5] {
			inits[string(fields(t, i)[8][0])] = true
		}
		for _, s := range encoderShapes(&c) {
			if s.name != "cls_token" && s.name != "reg_token" {
				require.True(t, inits[s.name], s.name)
			}
		}
		// Every input of a node is the input, a weight or an earlier result.
		known := map[string]bool{"x": true}
		for name := range inits {
			known[name] = true
		}
		for _, n := range g[1] {
			f := fields(t, n)
			for _, in := range f[1] {
				require.True(t, known[string(in)], "%s", in)
			}
			known[string(f[2][0])] = true
		}
		require.True(t, known["features"] && known["embedding"])
	}
	w := sample(flat)
	w.Config.NumHeads, w.Config.Unknown = 0, []string{"num_heads"}
	require.ErrorContains(t, w.WriteONNX(io.Discard), "num_heads")
}

// fields collects the length-delimited fields of a message.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	out := map[protowire.Number][][]byte{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		b = b[n:]
		if kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			require.Positive(t, n)
			out[number] = append(out[number], v)
			b = b[n:]
			continue
		}
		n = protowire.ConsumeFieldValue(number, kind, b)
		require.Positive(t, n)
		b = b[n:]
	}
	return out
}

func TestInspect(t *testing.T) {
	r, err := Inspect(testdata.Golden.Find(t, "weights/nidl.ckpt"))
	require.NoError(t, err)
	require.Equal(t, []string{ContextEncoder, TargetEncoder, Predictor}, r.Networks)
	require.Contains(t, r.Values, "pytorch-lightning_version = 2.6.6")
	require.Contains(t, r.String(), "3-D, width 24, depth 2, heads unknown")
	r, err = Inspect(testdata.Golden.Find(t, "probes.safetensors"))
	require.NoError(t, err)
	require.Contains(t, r.Problem, "not a Vision Transformer")
	_, err = Inspect(testdata.Golden.Find(t, "README.md"))
	require.ErrorContains(t, err, "unknown kind")
	require.Equal(t, "a\uFFFD[2Jb\n", printable("a\x1b[2Jb\n"))
}

// Every storage type becomes the float32 that is nearest.
func TestStorageTypes(t *testing.T) {
	for kind, c := range map[string]struct {
		raw  []byte
		want []float32
	}{
		"HalfStorage":     {[]byte{0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b, 0, 0x7c}, []float32{1, -2, 0x1p-24, 65504, float32(math.Inf(1))}},
		"BFloat16Storage": {[]byte{0x80, 0x3f, 0x49, 0xc0}, []float32{1, -3.140625}},
		"DoubleStorage":   {binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
		"FloatStorage":    {binary.LittleEndian.AppendUint32(nil, math.Float32bits(-0.3)), []float32{-0.3}},
	} {
		f := &torchFile{r: bytes.NewReader(c.raw), storages: map[string]extent{"k": {0, int64(len(c.raw))}}}
		n := int64(len(c.want))
		got, err := f.read(&array{storage{kind, "k", n}, 0, []int64{n}, []int64{1}})
		require.NoError(t, err)
		require.Equal(t, c.want, got, kind)
	}
	f := &torchFile{storages: map[string]extent{"k": {0, 8}}}
	_, err := f.read(&array{storage{"LongStorage", "k", 1}, 0, []int64{1}, []int64{1}})
	require.ErrorContains(t, err, "not floating-point")
}

// The usual number of heads is an assumption, and told as one.
func TestAssumes(t *testing.T) {
	c := flat
	c.EmbedDim, c.Depth, c.NumHeads = 192, 1, 3
	var b bytes.Buffer
	require.NoError(t, sample(c).WriteSafetensors(&b, TimmLayout))
	w, err := loadBytes(b.Bytes(), "w", Options{})
	require.NoError(t, err)
	require.Equal(t, 3, w.Config.NumHeads)
	require.Equal(t, []string{"norm_eps", "num_heads", "img_size"}, w.Config.Assumed)
	w, err = loadBytes(b.Bytes(), "w", Options{NumHeads: 6, NormEps: 1e-5, ImgSize: []int{24, 24}})
	require.NoError(t, err)
	require.Equal(t, 6, w.Config.NumHeads)
	require.Empty(t, w.Config.Assumed)
	_, err = loadBytes(b.Bytes(), "w", Options{NumHeads: 7})
	require.ErrorContains(t, err, "not a multiple of 7 heads")
}

// The length of a safetensors header may begin with the byte that begins a
// pickle.
func TestHeaderThatBeginsAsAPickle(t *testing.T) {
	w := sample(deep)
	var entries []checkpoint.Entry
	for _, x := range w.Encoder {
		entries = append(entries, checkpoint.Entry{Name: x.Name, Shape: x.Shape, Data: x.Data})
	}
	for n := range 512 { // one character more of a note moves the length; it is padded to eights
		var b bytes.Buffer
		require.NoError(t, checkpoint.Encode(&b, entries, map[string]string{"note": strings.Repeat("x", n)}))
		if b.Bytes()[0] != 0x80 {
			continue
		}
		c, err := readContents(bytes.NewReader(b.Bytes()), int64(b.Len()), "w")
		require.NoError(t, err)
		require.Equal(t, Safetensors, c.format)
		return
	}
	t.Fatal("no header of such a length")
}
