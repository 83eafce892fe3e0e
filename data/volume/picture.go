package volume

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	_ "image/png"
	"io/fs"
	"slices"
	"strings"
)

// picture is a PNG or JPEG: (1, H, W) when it is stored as grey, else (3, H, W),
// values 0 to 255, or 0 to 65535 when stored with 16 bits. Alpha is dropped.
type picture struct {
	fsys   fs.FS
	name   string
	header Header
}

func (p *picture) Header() Header { return p.header }

func openPicture(fsys fs.FS, name string, r *bufio.Reader, size int64, opt Options) (Image, error) {
	c, format, err := image.DecodeConfig(r)
	if err != nil {
		return nil, fmt.Errorf("damaged picture: %w", err)
	}
	h, bytes := pictureHeader(strings.ToUpper(format), c)
	p := &picture{fsys, name, h}
	if format == "jpeg" {
		bytes = 16 // a progressive one keeps three coefficients of 4 bytes a pixel while it is decoded
	}
	if c.Height < 1 || c.Width < 1 {
		return nil, fmt.Errorf("damaged picture: size %d×%d", c.Width, c.Height)
	}
	pixels := int64(c.Height) * int64(c.Width)
	switch {
	case pixels*max(4*int64(p.header.Channels), bytes) > opt.maxBytes():
		return nil, fmt.Errorf("%d×%d pixels are above the limit of %d bytes", c.Width, c.Height, opt.maxBytes())
	case pixels/8 > size*maxInflation: // a pixel takes at least a bit before compression
		return nil, fmt.Errorf("declares %d×%d pixels, which cannot lie in %d bytes: damaged", c.Width, c.Height, size)
	case pixels*bytes > 32<<20 && pixels*bytes > size*maxInflation:
		return nil, fmt.Errorf("declares %d×%d pixels in only %d bytes: damaged", c.Width, c.Height, size)
	}
	return p, nil
}

// pictureHeader returns what a picture becomes, and the bytes a pixel takes decoded.
func pictureHeader(format string, c image.Config) (Header, int64) {
	h, bytes := Header{Format: format, Type: "uint8", Channels: 3, Size: []int{c.Height, c.Width}, Spacing: ones(2), Affine: Identity(), Frames: 1}, int64(1)
	switch c.ColorModel {
	case color.GrayModel:
		h.Channels = 1
	case color.Gray16Model:
		h.Channels, h.Type, bytes = 1, "uint16", 2
	case color.RGBA64Model, color.NRGBA64Model:
		h.Type, bytes = "uint16", 8
	case color.RGBAModel, color.NRGBAModel:
		bytes = 4
	}
	return h, bytes
}

func (p *picture) Read(dst []float32) ([]float32, error) {
	f, _, err := open(p.fsys, p.name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	m, _, err := image.Decode(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return dst, fmt.Errorf("damaged picture: %w", err)
	}
	at, n := len(dst), p.header.Len()
	dst = slices.Grow(dst, n)[:at+n]
	return dst, pixels(dst[at:], m, p.header)
}

// pixels writes a decoded picture (C, H, W) as its header says.
func pixels(out []float32, m image.Image, h Header) error {
	b := m.Bounds()
	if b.Dy() != h.Size[0] || b.Dx() != h.Size[1] {
		return fmt.Errorf("damaged picture: %d×%d pixels, its header said %d×%d", b.Dx(), b.Dy(), h.Size[1], h.Size[0])
	}
	n := b.Dx() * b.Dy()
	shift := 8
	if h.Type == "uint16" {
		shift = 0
	}
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			switch m := m.(type) {
			case *image.Gray:
				out[i] = float32(m.GrayAt(x, y).Y)
			case *image.Gray16:
				out[i] = float32(m.Gray16At(x, y).Y)
			case *image.NRGBA:
				c := m.NRGBAAt(x, y)
				out[i], out[n+i], out[2*n+i] = float32(c.R), float32(c.G), float32(c.B)
			case *image.YCbCr:
				c := m.YCbCrAt(x, y)
				red, green, blue := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
				out[i], out[n+i], out[2*n+i] = float32(red), float32(green), float32(blue)
			default:
				c := color.NRGBA64Model.Convert(m.At(x, y)).(color.NRGBA64)
				out[i], out[n+i], out[2*n+i] = float32(c.R>>shift), float32(c.G>>shift), float32(c.B>>shift)
			}
			i++
		}
	}
	return nil
}
