package weights

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"wgjepa/checkpoint"
	"wgjepa/internal/testdata"
)

// seeds adds small files of every format that open reads: the reference's where
// they are there, and our own.
func seeds(f *testing.F, names ...string) {
	dir := testdata.Golden.Path()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Logf("without the seed %s: %v", name, err)
			continue
		}
		f.Add(b)
	}
	for _, c := range []Config{flat, deep} {
		for _, l := range []Layout{TimmLayout, NIDLLayout, OriginalLayout} {
			var zip, tensors bytes.Buffer
			if sample(c).WriteTorch(&zip, l) != nil || sample(c).WriteSafetensors(&tensors, l) != nil {
				f.Fatal("the writers fail")
			}
			f.Add(zip.Bytes())
			f.Add(tensors.Bytes())
		}
	}
}

// load does with a file all that a user can do with it.
func load(b []byte) {
	if r, err := inspectBytes(b, "fuzz"); err == nil {
		_ = r.String()
	}
	w, err := loadBytes(b, "fuzz", Options{})
	if err != nil {
		return
	}
	if img := w.Config.ImgSize; img != nil {
		bigger := make([]int, len(img))
		for i := range img {
			bigger[i] = img[i] + w.Config.PatchSize[i]
		}
		w.Adapt(bigger, nil, 1)
	}
}

// Whole files: zip and legacy archives of torch.save, safetensors.
func FuzzLoad(f *testing.F) {
	seeds(f, "weights/timm.safetensors", "weights/timm.pth", "weights/timm_legacy.pth", "weights/nidl.pt", "weights/nidl.ckpt", "weights/hostile.pth", "weights/hf_ijepa/model.safetensors", "paper2d_start.pth.tar")
	f.Fuzz(func(_ *testing.T, b []byte) { load(b) })
}

// Pickles alone: the zip around one hides it from the fuzzer.
func FuzzPickle(f *testing.F) {
	for _, w := range []*Weights{sample(flat), sample(deep)} {
		for _, l := range []Layout{NIDLLayout, OriginalLayout} {
			p := newPickler()
			groups, err := w.groups(l)
			if err != nil {
				f.Fatal(err)
			}
			p.dict(func() { p.text("state_dict"); p.stateDict(groups...) })
			f.Add(append(p.b.Bytes(), '.'))
		}
	}
	f.Add([]byte("\x80\x04\x95K\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x85\x94R\x94s."))
	f.Fuzz(func(_ *testing.T, b []byte) {
		root, err := unpickleString(string(b))
		if err != nil {
			return
		}
		t := &torchFile{r: bytes.NewReader(make([]byte, 1<<12)), root: root, storages: map[string]extent{"0": {0, 1 << 12}, "1": {8, 64}}}
		c, err := t.contents()
		if err != nil {
			return
		}
		c.size = 1 << 12
		_ = c.report().String()
		c.weights(Options{})
	})
}

// Folders: config.json, an index, and one file that both name.
func FuzzFolder(f *testing.F) {
	var b bytes.Buffer
	var entries []checkpoint.Entry
	for _, t := range sample(flat).Encoder {
		entries = append(entries, hubEntries(t)...)
	}
	if err := checkpoint.Encode(&b, entries, nil); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"model_type":"ijepa","hidden_size":12,"num_hidden_layers":2,"num_attention_heads":3,"image_size":24,"patch_size":[8,8]}`),
		[]byte(`{"weight_map":{"embeddings.position_embeddings":"part.safetensors"}}`), b.Bytes())
	f.Fuzz(func(_ *testing.T, config, index, part []byte) {
		m := memory{"config.json": config, "model.safetensors.index.json": index, "part.safetensors": part}
		loadFolder(m.open, "fuzz", Options{})
	})
}

// The configuration in the metadata of this program's own weights.
func FuzzOwnConfig(f *testing.F) {
	f.Add("preset = \"nidl\"\n[encoder]\nimg_size = [24, 24]\nnum_heads = 3\nno_embed_class = true\npos_embed = \"learned\"\n")
	w := sample(flat)
	f.Fuzz(func(_ *testing.T, config string) {
		var entries []checkpoint.Entry
		for _, t := range w.Encoder {
			entries = append(entries, checkpoint.Entry{Name: "context_encoder." + t.Name, Shape: t.Shape, Data: t.Data})
		}
		var b bytes.Buffer
		if checkpoint.Encode(&b, entries, map[string]string{"format": "wgjepa weights 1", "config": config}) == nil {
			load(b.Bytes())
		}
	})
}
