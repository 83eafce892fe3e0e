package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"wgjepa/internal/atomicfile"
)

// Encode writes a safetensors file to w: the tensors in the order given, the
// metadata sorted by key, so the same input gives the same bytes. Values go
// through a buffer of 64 KiB; none is copied as a whole.
//
// An Entry whose shape and data disagree is a bug and panics. A name or metadata
// key that the format or this package reserves, is given twice or is not UTF-8
// returns an error.
func Encode(w io.Writer, tensors []Entry, metadata map[string]string) error {
	header, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	return encodeData(w, tensors)
}

// Write writes a safetensors file at path as [Encode] does, atomically: into
// path.tmp, flushed to the disk, renamed to path. With keep, the file that was at
// path moves to path.previous, unless its header shows it to be damaged. There may
// be one writer of a path at a time.
//
// At every instant a complete file stands at path or path.previous, provided one
// did before. Any error up to the renaming leaves path as it was; one after it
// leaves the new file there. No temporary file remains in either case, and one
// left by a killed process is overwritten by the next Write.
func Write(path string, tensors []Entry, metadata map[string]string, keep bool) error {
	if err := write(osFiles{}, path, tensors, metadata, keep); err != nil {
		return fmt.Errorf("checkpoint: writing %s: %w%s", path, err, advice(err))
	}
	return nil
}

// files is what write does to the disk; tests replace it to fail at each stage.
type files interface {
	create(path string) (file, error)
	link(old, new string) error
	rename(old, new string) error
	remove(path string) error
	syncFolder(path string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

type osFiles struct{}

func (osFiles) create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}
func (osFiles) link(old, new string) error   { return os.Link(old, new) }
func (osFiles) rename(old, new string) error { return os.Rename(old, new) }
func (osFiles) remove(path string) error     { return os.Remove(path) }
func (osFiles) syncFolder(path string) error { return atomicfile.SyncFolder(path) }

func write(d files, path string, tensors []Entry, metadata map[string]string, keep bool) error {
	tmp := path + ".tmp"
	if err := writeFlushed(d, tmp, tensors, metadata); err != nil {
		return err
	}
	if err := replace(d, tmp, path, keep && whole(path)); err != nil {
		return err
	}
	return d.syncFolder(filepath.Dir(path))
}

// writeFlushed leaves at tmp either a complete file that is on the disk, or nothing.
func writeFlushed(d files, tmp string, tensors []Entry, metadata map[string]string) error {
	f, err := d.create(tmp)
	if err != nil {
		return err
	}
	err = Encode(f, tensors, metadata)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		d.remove(tmp)
	}
	return err
}

// replace renames tmp to path. The link to the old file becomes path.previous only
// after that, so that even a damage whole cannot see never leaves both names bad.
func replace(d files, tmp, path string, keep bool) error {
	previous, link := path+PreviousSuffix, path+".keep"
	linked := false
	if keep {
		d.remove(link) // of a killed process
		linked = d.link(path, link) == nil
		if !linked { // no hard links here: for an instant the old file has only its second name
			if err := d.rename(path, previous); err != nil {
				d.remove(tmp)
				return err
			}
		}
	}
	if err := d.rename(tmp, path); err != nil {
		d.remove(tmp)
		if linked {
			d.remove(link)
		} else if keep {
			err = errors.Join(err, d.rename(previous, path))
		}
		return err
	}
	if linked {
		if err := d.rename(link, previous); err != nil {
			d.remove(link)
			return fmt.Errorf("the new file is in place, the one before it could not be kept: %w", err)
		}
	}
	return nil
}

// whole reports whether path opens with a valid header.
func whole(path string) bool {
	f, err := Open(path)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// advice says what the user can do about err.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; free space on that disk or write to another one; what was there before is intact"
	case errors.Is(err, syscall.EFBIG):
		return "; the file would exceed the size this system or user is allowed; write to another disk or raise the limit (ulimit -f); what was there before is intact"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "; write to a folder you may change"
	case errors.Is(err, fs.ErrNotExist):
		return "; create the folder first"
	}
	return ""
}

func encodeHeader(tensors []Entry, metadata map[string]string) ([]byte, error) {
	if _, ok := metadata[checksumKey]; ok {
		return nil, fmt.Errorf("metadata key %q is reserved", checksumKey)
	}
	all := map[string]string{}
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("metadata %q is not UTF-8", k)
		}
		all[k] = v
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if err := encodeData(sum, tensors); err != nil {
		return nil, err
	}
	all[checksumKey] = fmt.Sprintf("%08x", sum.Sum32())

	var b bytes.Buffer
	b.Write(make([]byte, 8))
	fmt.Fprintf(&b, `{%q:`, metadataKey)
	b.Write(marshal(all))
	seen := map[string]bool{metadataKey: true}
	at := int64(0)
	for _, t := range tensors {
		switch {
		case seen[t.Name]:
			return nil, fmt.Errorf("tensor name %q is given twice or reserved", t.Name)
		case !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor name %q is not UTF-8", t.Name)
		case len(t.Shape) > axesCap:
			return nil, fmt.Errorf("tensor %q has %d axes, over the limit of %d", t.Name, len(t.Shape), axesCap)
		}
		seen[t.Name] = true
		dtype, n := t.dtype()
		end := at + int64(n)*sizes[dtype]
		b.WriteByte(',')
		b.Write(marshal(t.Name))
		b.WriteByte(':')
		b.Write(marshal(struct {
			DType   DType    `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{dtype, append([]int{}, t.Shape...), [2]int64{at, end}}))
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > headerCap {
		return nil, fmt.Errorf("a header of %d bytes is over the format's limit of %d; store less metadata", b.Len()-8, headerCap)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

// marshal encodes strings, integers and structs and maps of them, which cannot fail.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("checkpoint: %v", err))
	}
	return b
}

// dtype returns the entry's type and number of values.
func (t Entry) dtype() (dtype DType, n int) {
	switch d := t.Data.(type) {
	case []float64:
		dtype, n = F64, len(d)
	case []float32:
		dtype, n = F32, len(d)
	case []int64:
		dtype, n = I64, len(d)
	case []int32:
		dtype, n = I32, len(d)
	case []uint32:
		dtype, n = U32, len(d)
	case []uint8:
		dtype, n = U8, len(d)
	default:
		panic(fmt.Sprintf("checkpoint: Write: %s: cannot store %T", t.Name, t.Data))
	}
	for _, s := range t.Shape {
		if s < 0 {
			panic(fmt.Sprintf("checkpoint: Write: %s is %v", t.Name, t.Shape))
		}
	}
	if want, ok := count(t.Shape); !ok || want != int64(n) {
		panic(fmt.Sprintf("checkpoint: Write: %s is %v, its data has %d values", t.Name, t.Shape, n))
	}
	return dtype, n
}

func encodeData(w io.Writer, tensors []Entry) error {
	buf := make([]byte, 0, chunkBytes)
	for _, t := range tensors {
		var err error
		switch d := t.Data.(type) {
		case []float64:
			err = encode(w, buf, d, func(b []byte, v float64) []byte {
				return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			})
		case []float32:
			err = encode(w, buf, d, func(b []byte, v float32) []byte {
				return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			})
		case []int64:
			err = encode(w, buf, d, func(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) })
		case []int32:
			err = encode(w, buf, d, func(b []byte, v int32) []byte { return binary.LittleEndian.AppendUint32(b, uint32(v)) })
		case []uint32:
			err = encode(w, buf, d, binary.LittleEndian.AppendUint32)
		case []uint8:
			_, err = w.Write(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encode writes values through buf, whose capacity is a multiple of every size.
func encode[T any](w io.Writer, buf []byte, values []T, put func([]byte, T) []byte) error {
	for _, v := range values {
		if buf = put(buf, v); len(buf) == cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err := w.Write(buf)
	return err
}
