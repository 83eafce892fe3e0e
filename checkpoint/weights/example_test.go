package weights_test

import (
	"fmt"
	"os"
	"path/filepath"

	"wgjepa/checkpoint"
	"wgjepa/checkpoint/weights"
)

// A 2-D encoder of timm becomes one for volumes of one channel.
func Example() {
	dir, err := os.MkdirTemp("", "weights")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "vit.safetensors")
	if err := writeTimm(path); err != nil {
		fmt.Println(err)
		return
	}
	w, err := weights.Load(path, weights.Options{NumHeads: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	deep, err := w.Adapt([]int{16, 16, 12}, []int{4, 4, 3}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Source, w.Config.ImgSize, w.Encoder[0].Name, w.Encoder[0].Shape)
	fmt.Println(deep.Config.ImgSize, deep.Encoder[0].Name, deep.Encoder[0].Shape)
	// Output:
	// timm [8 8] patch_embed.proj.weight [4 3 4 4]
	// [16 16 12] patch_embed.proj.weight [4 1 4 4 3]
}

// writeTimm writes a tiny ViT: width 4, one block, 2×2 patches of 4×4.
func writeTimm(path string) error {
	var entries []checkpoint.Entry
	add := func(name string, shape ...int) {
		n := 1
		for _, s := range shape {
			n *= s
		}
		entries = append(entries, checkpoint.Entry{Name: name, Shape: shape, Data: make([]float32, n)})
	}
	linear := func(name string, in, out int) { add(name+".weight", out, in); add(name+".bias", out) }
	norm := func(name string) { add(name+".weight", 4); add(name+".bias", 4) }
	add("pos_embed", 1, 4, 4)
	add("patch_embed.proj.weight", 4, 3, 4, 4)
	add("patch_embed.proj.bias", 4)
	norm("blocks.0.norm1")
	linear("blocks.0.attn.qkv", 4, 12)
	linear("blocks.0.attn.proj", 4, 4)
	norm("blocks.0.norm2")
	linear("blocks.0.mlp.fc1", 4, 16)
	linear("blocks.0.mlp.fc2", 16, 4)
	norm("norm")
	return checkpoint.Write(path, entries, nil, false)
}
