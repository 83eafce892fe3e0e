package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"wgjepa/checkpoint"
)

// Format is how a file stores its tensors.
type Format string

const (
	Safetensors   Format = "safetensors"
	TorchZip      Format = "torch.save (zip)"
	TorchLegacy   Format = "torch.save (before PyTorch 1.6)"
	FolderOfFiles Format = "folder"
)

// entry is one tensor of a file, read when asked for.
type entry struct {
	name     string
	shape    []int
	floating bool // it holds floating-point numbers
	read     func() ([]float32, error)
}

func (e entry) len() (int, bool) { return product(e.shape) }

func product(shape []int) (int, bool) {
	n := uint64(1)
	for _, s := range shape {
		hi, lo := bits.Mul64(n, uint64(s))
		if hi != 0 || lo > 1<<40 {
			return 0, false
		}
		n = lo
	}
	return int(n), true
}

// contents is what a file or folder holds, before anyone asks what it means.
type contents struct {
	name     string
	format   Format
	size     int64 // bytes of all its files
	entries  []entry
	index    map[string]int
	metadata map[string]string // of safetensors
	values   map[string]any    // plain values in a pickle
	config   *hubConfig        // config.json of a folder
	closers  []io.Closer
}

func (c *contents) add(e entry) {
	if c.index == nil {
		c.index = map[string]int{}
	}
	if i, ok := c.index[e.name]; ok {
		c.entries[i] = e
		return
	}
	c.index[e.name] = len(c.entries)
	c.entries = append(c.entries, e)
}

func (c *contents) close() {
	for _, f := range c.closers {
		f.Close()
	}
}

// readContents recognises the format by the first bytes, whatever the name.
func readContents(r io.ReaderAt, size int64, name string) (*contents, error) {
	var head [16]byte
	n, err := r.ReadAt(head[:min(size, 16)], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	b := head[:n]
	var c *contents
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("PK\x05\x06")):
		c, err = torchContents(openZip(r, size))
		if err == nil {
			c.format = TorchZip
		}
	// Before pickle, whose first byte a header's length can have too.
	case n > 8 && b[8] == '{' && binary.LittleEndian.Uint64(b) < 1<<32:
		c, err = safetensorsContents(r, size)
	case n > 1 && b[0] == 0x80:
		c, err = torchContents(openLegacy(r, size))
		if err == nil {
			c.format = TorchLegacy
		}
	default:
		return nil, fmt.Errorf("it is %s, not weights: give a .safetensors file, a file of torch.save (.pth, .pt, .ckpt, .pth.tar), or a folder from Hugging Face", looksLike(b))
	}
	if err != nil {
		return nil, err
	}
	for _, e := range c.entries {
		if printable(e.name) != e.name {
			return nil, fmt.Errorf("the name %q of a tensor cannot be shown", e.name)
		}
	}
	c.name, c.size = name, size
	return c, nil
}

// looksLike names other kinds of file that end up in the place of weights.
func looksLike(b []byte) string {
	for _, k := range []struct{ magic, what string }{
		{"version https:/", "a Git LFS pointer (the file itself was not downloaded: git lfs pull)"},
		{"<", "a web page or XML (the download failed)"},
		{"{", "JSON"}, {"\x89HDF", "an HDF5 file"}, {"\x1f\x8b", "compressed with gzip"}, {"\x93NUMPY", "a NumPy array"},
		{"\x89PNG", "a PNG image"}, {"\xff\xd8", "a JPEG image"}, {"\x08", "perhaps an ONNX model"}, {"GGUF", "a GGUF model"},
	} {
		if strings.HasPrefix(string(b), k.magic) {
			return k.what
		}
	}
	if len(b) == 0 {
		return "empty"
	}
	return "of an unknown kind"
}

func torchContents(t *torchFile, err error) (*contents, error) {
	if err != nil {
		return nil, err
	}
	return t.contents()
}

func safetensorsContents(r io.ReaderAt, size int64) (*contents, error) {
	f, err := checkpoint.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	c := &contents{format: Safetensors, metadata: f.Metadata()}
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		floating := info.DType == checkpoint.F64 || info.DType == checkpoint.F32 || info.DType == checkpoint.F16 || info.DType == checkpoint.BF16
		c.add(entry{name, info.Shape, floating, func() ([]float32, error) {
			v, _, err := f.Float32s(name)
			return v, err
		}})
	}
	return c, nil
}

// openFile opens one file of a folder by its name; the error wraps
// fs.ErrNotExist where there is none. The file is closed if it is an io.Closer.
type openFile func(name string) (r io.ReaderAt, size int64, err error)

// osFolder opens files below dir.
func osFolder(dir string) openFile {
	return func(name string) (io.ReaderAt, int64, error) { return openRegular(filepath.Join(dir, name)) }
}

func openRegular(path string) (io.ReaderAt, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// Caps of the JSON beside a folder's weights.
const (
	jsonCap  = 16 << 20
	shardCap = 1000
)

// readFolder reads a folder as Hugging Face lays it out: config.json and
// model.safetensors, or model.safetensors.index.json and its shards, or
// pytorch_model.bin.
func readFolder(open openFile, name string) (c *contents, err error) {
	all := &contents{name: name, format: FolderOfFiles}
	defer func() {
		if err != nil {
			all.close()
		}
	}()
	var config hubConfig
	switch err := readJSON(open, "config.json", &config); {
	case err == nil:
		all.config = &config
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config.json: %w", err)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	var files []string
	for _, single := range []string{"model.safetensors", "pytorch_model.bin"} {
		shards := single + ".index.json"
		if r, _, err := open(single); err == nil {
			closeReader(r)
			files = []string{single}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", single, err)
		} else if err := readJSON(open, shards, &index); err == nil {
			for _, f := range index.WeightMap {
				if f != filepath.Base(f) || strings.ContainsAny(f, `/\`) {
					return nil, fmt.Errorf("%s: it names %q, which is not a file of the folder", shards, f)
				}
				if !slices.Contains(files, f) {
					if files = append(files, f); len(files) > shardCap {
						return nil, fmt.Errorf("%s: it names more than %d files", shards, shardCap)
					}
				}
			}
			sort.Strings(files)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", shards, err)
		}
		if files != nil {
			break
		}
	}
	if files == nil {
		return nil, errors.New("the folder has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin: give a folder from Hugging Face or one weight file")
	}
	for _, f := range files {
		r, size, err := open(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if cl, ok := r.(io.Closer); ok {
			all.closers = append(all.closers, cl)
		}
		part, err := readContents(r, size, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		for _, e := range part.entries {
			if _, twice := all.index[e.name]; twice {
				return nil, fmt.Errorf("%s: tensor %s is in two files", f, e.name)
			}
			all.add(e)
		}
		all.size += size
		all.metadata = part.metadata
	}
	for t, f := range index.WeightMap {
		if _, ok := all.index[t]; !ok {
			return nil, fmt.Errorf("%s has no tensor %s, which the index promises", f, t)
		}
	}
	return all, nil
}

func closeReader(r io.ReaderAt) {
	if c, ok := r.(io.Closer); ok {
		c.Close()
	}
}

func readJSON(open openFile, name string, dst any) error {
	r, size, err := open(name)
	if err != nil {
		return err
	}
	defer closeReader(r)
	if size > jsonCap {
		return fmt.Errorf("%d bytes are more than any of its kind has", size)
	}
	b := make([]byte, size)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return err
	}
	return json.Unmarshal(b, dst)
}

// hubConfig is what matters of a config.json: of transformers (IJepaModel,
// ViTModel) or of timm.
type hubConfig struct {
	ModelType    string          `json:"model_type"`
	HiddenSize   int             `json:"hidden_size"`
	Layers       int             `json:"num_hidden_layers"`
	Heads        int             `json:"num_attention_heads"`
	ImageSize    json.RawMessage `json:"image_size"` // a number or two
	PatchSize    json.RawMessage `json:"patch_size"`
	LayerNormEps float64         `json:"layer_norm_eps"`
	HiddenAct    string          `json:"hidden_act"`

	Architecture string `json:"architecture"` // of timm
}

// axes reads a number or a list of them.
func axes(raw json.RawMessage, dim int) []int {
	var one int
	var many []int
	if json.Unmarshal(raw, &one) == nil && one > 0 {
		return slices.Repeat([]int{one}, dim)
	}
	if json.Unmarshal(raw, &many) == nil && len(many) == dim {
		return many
	}
	return nil
}
