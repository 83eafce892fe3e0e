package volume

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The NIfTI-2 header: 540 bytes, https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h.
const nifti2HeaderSize = 540

func nifti2(h []byte) (niftiFields, error) {
	n := niftiFields{format: "NIfTI-2", order: binary.LittleEndian}
	if n.order.Uint32(h) != nifti2HeaderSize {
		n.order = binary.BigEndian
	}
	integer := func(at int) int64 { return int64(n.order.Uint64(h[at:])) }
	float := func(at int) float64 { return math.Float64frombits(n.order.Uint64(h[at:])) }
	switch magic := string(h[4:12]); magic {
	case "n+2\x00\r\n\x1a\n":
		n.least = nifti2HeaderSize
	case "ni2\x00\r\n\x1a\n":
	default:
		return n, fmt.Errorf("NIfTI-2 magic is %q: damaged, or its line ends were changed when it was copied", magic)
	}
	n.code, n.bits = int16(n.order.Uint16(h[12:])), int16(n.order.Uint16(h[14:]))
	for i := range n.dim {
		n.dim[i], n.pixdim[i] = integer(16+8*i), float(104+8*i)
	}
	n.offset, n.slope, n.inter = float64(integer(168)), float(176), float(184)
	n.qform, n.sform = int(int32(n.order.Uint32(h[344:]))), int(int32(n.order.Uint32(h[348:])))
	for i := range 3 {
		n.quatern[i], n.qoffset[i] = float(352+8*i), float(376+8*i)
		for j := range 4 {
			n.srow[i][j] = float(400 + 32*i + 8*j)
		}
	}
	return n, nil
}
