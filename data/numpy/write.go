package numpy

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Float32HeaderLen is the length of [Float32Header], whatever the shape.
const Float32HeaderLen = 128

// Float32Header is what stands in an .npy file, version 1.0, before the values of a
// little-endian float32 array of at most six axes in C order.
func Float32Header(shape ...int) []byte {
	dims := make([]string, len(shape))
	for i, n := range shape {
		dims[i] = strconv.Itoa(n)
	}
	list := strings.Join(dims, ", ")
	if len(shape) == 1 {
		list += ","
	}
	text := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + list + "), }"
	const before = 10 // magic, version, length of the text
	text += strings.Repeat(" ", Float32HeaderLen-before-1-len(text)) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text))), text...)
}
