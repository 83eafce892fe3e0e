package data

import "slices"

// recolour brings pictures, grey (1 channel) and coloured (3), to the channels that are
// wanted. Where nobody says which and both kinds lie together, as in most folders of
// photographs, grey ones get three equal channels.
func (c *collection) recolour() {
	picture := func(it *item, channels int) bool {
		return len(it.header.Size) == 2 && it.header.Channels == channels
	}
	has := func(channels int) bool {
		return slices.ContainsFunc(c.items, func(it item) bool { return picture(&it, channels) })
	}
	want := c.opt.Channels
	if want == 0 && has(1) && has(3) {
		want = 3
	}
	changed := 0
	for i := range c.items {
		it := &c.items[i]
		switch {
		case want == 3 && picture(it, 1):
			it.image = colourSource{it.image}
		case want == 1 && picture(it, 3):
			it.image = greySource{it.image, it.header.Type == "uint8" || it.header.Type == "uint16"}
		default:
			continue
		}
		it.header.Channels = want
		changed++
	}
	switch {
	case changed > 0 && want == 3:
		c.note("%d of %d pictures are grey and get three equal channels", changed, len(c.items))
	case changed > 0:
		c.note("%d of %d pictures are coloured and are read as grey: 0.299 red + 0.587 green + 0.114 blue", changed, len(c.items))
	}
}

// colourSource is a grey picture with three equal channels.
type colourSource struct{ grey source }

func (s colourSource) read(dst []float32) ([]float32, error) {
	at := len(dst)
	dst, err := s.grey.read(dst)
	if err != nil {
		return dst, err
	}
	n := len(dst) - at
	dst = slices.Grow(dst, 2*n)[:at+3*n]
	copy(dst[at+n:], dst[at:at+n])
	copy(dst[at+2*n:], dst[at:at+n])
	return dst, nil
}

// greySource is the luma of a coloured picture by ITU-R BT.601, in whole numbers where the
// file has whole numbers, as PIL's convert("L") rounds them.
type greySource struct {
	colour source
	whole  bool
}

func (s greySource) read(dst []float32) ([]float32, error) {
	at := len(dst)
	dst, err := s.colour.read(dst)
	if err != nil {
		return dst, err
	}
	n := (len(dst) - at) / 3
	red, green, blue := dst[at:at+n], dst[at+n:at+2*n], dst[at+2*n:]
	for i := range red {
		if s.whole {
			red[i] = float32((19595*int64(red[i]) + 38470*int64(green[i]) + 7471*int64(blue[i]) + 1<<15) >> 16)
		} else {
			red[i] = 0.299*red[i] + 0.587*green[i] + 0.114*blue[i]
		}
	}
	return dst[:at+n], nil
}
