package volume

import (
	"bufio"
	"fmt"
	"io/fs"

	"wgjepa/data/numpy"
)

// npy is one image in an .npy array: (H, W) or (H, W, D). A last axis of length
// 3 on a uint8 array of three axes means colour: (H, W, 3) becomes (3, H, W).
type npy struct {
	fsys   fs.FS
	name   string
	size   int64
	limit  int64
	colour bool
	header Header
}

func (n *npy) Header() Header { return n.header }

func openNPY(fsys fs.FS, name string, r *bufio.Reader, size int64, opt Options) (Image, error) {
	h, used, err := numpy.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	n := &npy{fsys: fsys, name: name, size: size, limit: opt.maxBytes()}
	n.header = Header{Format: "NPY", Type: h.TypeName(), Channels: 1, Size: h.Shape, Affine: Identity(), Frames: 1}
	if len(h.Shape) == 3 && h.Shape[2] == 3 && h.Type == "u1" {
		n.colour, n.header.Channels, n.header.Size = true, 3, h.Shape[:2]
	}
	if a := len(h.Shape); a < 2 || a > 3 || h.Len() == 0 {
		return nil, fmt.Errorf("an array of shape %v is no image: (H, W), (H, W, D) or uint8 (H, W, 3) are read; a set of samples is given as DATA by itself", h.Shape)
	}
	if h.Bytes() > size-used {
		return nil, fmt.Errorf("shape %v of %s needs %d bytes, the file has %d: cut short or damaged", h.Shape, h.Type, h.Bytes(), size-used)
	}
	if 4*int64(h.Len()) > n.limit {
		return nil, fmt.Errorf("shape %v takes %d bytes as float32, above the limit of %d", h.Shape, 4*int64(h.Len()), n.limit)
	}
	n.header.Spacing = ones(len(n.header.Size))
	return n, nil
}

func (n *npy) Read(dst []float32) ([]float32, error) {
	f, size, err := open(n.fsys, n.name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	at := len(dst)
	_, dst, err = numpy.Read(bufio.NewReaderSize(f, 1<<16), dst, size, 2*n.limit)
	if err != nil {
		return dst[:at], err
	}
	if n.colour {
		ChannelsFirst(dst[at:], 3)
	}
	if len(dst)-at != n.header.Len() {
		return dst[:at], fmt.Errorf("the file changed while it was used")
	}
	return dst, nil
}

// ChannelsFirst turns (…, C) into (C, …).
func ChannelsFirst(v []float32, channels int) {
	t := append([]float32(nil), v...)
	n := len(v) / channels
	for i, x := range t {
		v[i%channels*n+i/channels] = x
	}
}
