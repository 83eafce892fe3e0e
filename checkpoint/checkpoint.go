// Package checkpoint reads and writes safetensors files so that they hold exact training state.
//
// # Format
//
// A safetensors file is an unsigned 64-bit little-endian header length, a JSON
// header, and the tensors' bytes, little-endian and row-major, back to back:
//
//	{"__metadata__":{"step":"7"},"a/w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}
//
// It is the format of Hugging Face's safetensors library. The data section starts at
// a multiple of 8 bytes; tensors in it are not padded, because the format allows
// no holes. Every file written here also carries a CRC-32C of its data section in
// the metadata, which [File.Verify] checks; other programs see one more string.
//
// # Reading
//
// [Open] and [NewReader] read and check the header only: its length against the
// file and the format's cap of 100 MB, names given twice, unknown types, sizes
// that disagree with shape and type, overlaps, holes, bytes missing or left over.
// A file that passes can be read tensor by tensor without further surprises, and
// each read allocates what that tensor needs and no more; a caller that expects a
// certain shape asks [File.Info] first.
//
// # Writing
//
// [Write] replaces a file in one instant: whatever happens, even loss of power,
// a complete file stands under its name, the old one or the new one. With keep,
// the file before is found under the name with [PreviousSuffix] added, and
// [Latest] opens whichever of the two is whole.
package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// DType is the type of a tensor's elements, spelt as in the header.
type DType string

// The types that can be read as numbers. Files with the format's other types
// open, but their tensors of those types cannot be read.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	U32  DType = "U32"
	U8   DType = "U8"
)

// sizes gives the bytes of one element of every type the format defines that
// fills whole bytes.
var sizes = map[DType]int64{
	F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U32: 4, U8: 1,
	"U64": 8, "I16": 2, "U16": 2, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}

// Info describes one tensor of a file.
type Info struct {
	DType DType
	Shape []int // empty for a scalar

	begin, end int64 // within the data section
}

// Entry is one tensor to write.
type Entry struct {
	Name  string
	Shape []int // its product is the number of values; empty for a scalar
	Data  any   // []float32, []float64, []int32, []uint32, []int64 or []uint8: written from where it lies
}

// ErrDamaged is wrapped by every error that means the bytes are not a whole, valid
// safetensors file.
var ErrDamaged = errors.New("not a whole safetensors file")

// PreviousSuffix is added to a file's name to name the one that [Write] kept.
const PreviousSuffix = ".previous"

const (
	metadataKey = "__metadata__" // reserved by the format
	checksumKey = "crc32c"       // our checksum of the data section, eight hex digits
	headerCap   = 100_000_000    // bytes; the format's own limit
	axesCap     = 32             // axes of a tensor; no field uses more, and a hostile header could list millions
	chunkBytes  = 1 << 16        // unit of conversion between values and bytes
)

// count returns the product of shape, or false where it exceeds int64.
func count(shape []int) (int64, bool) {
	n := uint64(1)
	for _, s := range shape {
		hi, lo := bits.Mul64(n, uint64(s))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = lo
	}
	return int64(n), true
}

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, a...))
}
