package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strconv"
	"strings"

	"wgjepa/data/numpy"
	"wgjepa/data/volume"
)

// file adds one file: an image, or a set of samples in an archive or array. alone
// says that it is all the data there is, so that an .npy may be a set.
func (c *collection) file(p string, alone bool) error {
	name := path.Base(p)
	magic, err := c.magic(p)
	if err != nil {
		c.refuse(p, err)
		return nil
	}
	switch {
	case magic == "PK\x03\x04" || magic == "PK\x05\x06":
		err = c.archive(p, name)
	case alone && magic == "\x93NUM":
		var set bool
		if set, err = c.array(p, name); err == nil && !set {
			c.single(p, name)
		}
	case volume.IsDICOM(c.fsys, p):
		c.dicom = append(c.dicom, p)
	default:
		c.single(p, name)
	}
	if err != nil {
		c.refuse(p, err)
	}
	return nil
}

func (c *collection) single(p, name string) {
	if it, ok := c.image(p, name); ok {
		c.items = append(c.items, it)
	}
}

func (c *collection) magic(p string) (string, error) {
	f, err := c.fsys.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b [4]byte
	n, err := io.ReadFull(f, b[:])
	if n > 0 {
		err = nil
	}
	if err == io.EOF {
		err = errors.New("the file is empty")
	}
	return string(b[:n]), err
}

// random opens a file for reading at any place; it stays open with the data set.
func (c *collection) random(p string) (io.ReaderAt, int64, error) {
	f, err := c.fsys.Open(p)
	if err != nil {
		return nil, 0, err
	}
	s, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, s.Size(), nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return bytes.NewReader(b), int64(len(b)), err
}

// maxSet bounds one inflated array; larger ones are refused by their headers.
const maxSet = 1 << 42

// archive adds the samples of an .npz.
func (c *collection) archive(p, name string) error {
	r, size, err := c.random(p)
	if err != nil {
		return err
	}
	a, err := numpy.OpenArchive(r, size, maxSet)
	if err != nil {
		return err
	}
	if err := c.fingerprint(p, name); err != nil {
		return err
	}
	headers := map[string]numpy.Header{}
	for _, n := range a.Names() {
		if headers[n], err = a.Header(n); err != nil {
			return err
		}
	}
	found := false
	for _, split := range []string{"train", "val", "test"} {
		if _, ok := headers[split+"_images"]; ok {
			found = true
			if err := c.samples(a, split+"_images", split+"_labels", split, split); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	// A plain archive: one array of samples, and perhaps a label for each.
	images, labels, list := "", "", []string{}
	for _, n := range a.Names() {
		h := headers[n]
		list = append(list, fmt.Sprintf("%s %v", n, h.Shape))
		switch {
		case len(h.Shape) >= 3 && images == "":
			images = n
		case len(h.Shape) >= 3:
			return fmt.Errorf("several arrays could be the images (%s): name one train_images, or keep one", strings.Join(append(list, "…"), ", "))
		case n == "labels" || n == "label" || n == "y":
			labels = n
		}
	}
	if images == "" {
		return fmt.Errorf("no array of images (N, …) among %s", some(list))
	}
	return c.samples(a, images, labels, "", strings.TrimSuffix(name, ".npz"))
}

// samples adds the rows of one array with the labels of another, where it exists.
func (c *collection) samples(a *numpy.Archive, images, labels, split, prefix string) error {
	memory := max(c.budget.left.Load(), 0)
	rows, err := a.Rows(images, memory)
	if err != nil {
		return err
	}
	c.budget.take(min(rows.Bytes(), memory))
	if rows.Shape[0] > 0 { // inflate now: damage shows before training
		if _, err := rows.Read(rows.Shape[0]-1, nil); err != nil {
			return err
		}
	}
	first := len(c.items)
	if err := c.rows(rows, images, split, prefix); err != nil {
		return err
	}
	if h, err := a.Header(labels); err == nil {
		return c.arrayLabels(a, labels, h, c.items[first:])
	}
	return nil
}

// array adds the samples of a single .npy (N, …); false when it holds one image.
func (c *collection) array(p, name string) (set bool, err error) {
	r, size, err := c.random(p)
	if err != nil {
		return false, err
	}
	h, _, err := numpy.ReadHeader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return false, err
	}
	switch {
	case len(h.Shape) < 3, len(h.Shape) == 3 && c.opt.Dim == 3:
		return false, nil
	case len(h.Shape) == 3 && c.opt.Dim == 0:
		return false, fmt.Errorf("shape %v is one volume or a set of %d images: set the size, of three axes or of two", h.Shape, h.Shape[0])
	}
	rows, err := numpy.OpenRows(r, size)
	if err != nil {
		return false, err
	}
	if err := c.fingerprint(p, name); err != nil {
		return false, err
	}
	return true, c.rows(rows, name, "", strings.TrimSuffix(name, ".npy"))
}

// rows adds each row of an array as a sample.
func (c *collection) rows(rows *numpy.Rows, what, split, prefix string) error {
	shape := rows.Shape[1:]
	h := volume.Header{Format: "NPZ", Type: rows.TypeName(), Channels: 1, Frames: 1, Affine: volume.Identity()}
	last := 0
	switch n := len(shape); {
	case n == 2 && c.opt.Dim != 3:
		h.Size = shape
	case n == 3 && c.opt.Dim != 3 && shape[2] == 3 && rows.Type == "u1", n == 3 && c.opt.Dim == 2 && shape[2] <= 4:
		h.Channels, h.Size, last = shape[2], shape[:2], shape[2]
	case n == 3 && c.opt.Dim == 2:
		h.Channels, h.Size = shape[0], shape[1:]
	case n == 3:
		h.Size = shape
	case n == 4 && shape[0] <= 16:
		h.Channels, h.Size = shape[0], shape[1:]
	default:
		return fmt.Errorf("%s has shape %v: (N, H, W), (N, H, W, 3), (N, H, W, D) or (N, C, H, W, D) are read", what, rows.Shape)
	}
	if h.Len() == 0 || rows.Shape[0] == 0 {
		return fmt.Errorf("%s is empty: shape %v", what, rows.Shape)
	}
	if n := rows.Shape[0]; n > 1<<16 && rows.Bytes()/int64(n) < 256 {
		// What is kept for each sample must not outweigh the samples.
		return fmt.Errorf("%s: %d samples of only %d bytes each are no images", what, n, rows.Bytes()/int64(n))
	}
	if limit := c.opt.maxBytes(); 4*int64(h.Len()) > limit {
		return fmt.Errorf("%s: samples of %v take %d bytes as float32, above the limit of %d", what, shape, 4*int64(h.Len()), limit)
	}
	h.Spacing = []float64{1, 1, 1}[:len(h.Size)]
	width := len(strconv.Itoa(rows.Shape[0] - 1))
	for i := range rows.Shape[0] {
		c.items = append(c.items, item{
			name: fmt.Sprintf("%s/%0*d", prefix, width, i), header: h, class: -1, split: split, resident: true,
			image: rowSource{rows, i, last},
		})
	}
	return nil
}

// arrayLabels gives items their classes: whole numbers, (N) or (N, 1).
func (c *collection) arrayLabels(a *numpy.Archive, name string, h numpy.Header, items []item) error {
	if len(h.Shape) < 1 || h.Shape[0] != len(items) {
		return fmt.Errorf("%s has shape %v for %d images", name, h.Shape, len(items))
	}
	if h.Len() != len(items) {
		c.note("%s has %d numbers a sample: several labels at once are not used as classes", name, h.Len()/len(items))
		return nil
	}
	_, v, err := a.Read(name, nil)
	if err != nil {
		return err
	}
	for i, x := range v {
		if number := c.opt.LabelKind == LabelNumber; x != x || !number && (x < 0 || x > 1<<16 || float64(x) != math.Trunc(float64(x))) {
			return fmt.Errorf("%s: label %g of sample %d is not a class number", name, x, i)
		}
		items[i].label = strconv.FormatFloat(float64(x), 'f', -1, 32)
	}
	return nil
}
