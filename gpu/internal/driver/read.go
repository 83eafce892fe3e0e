package driver

import "unsafe"

// Read is the elements of a buffer from Off on that are copied to the host, to that one of
// the three that is set, as many as it holds.
type Read struct {
	Buffer Buffer
	Off    int
	F32    []float32
	F64    []float64
	U32    []uint32
}

// Len is the number of elements.
func (r Read) Len() int { return len(r.F32) + len(r.F64) + len(r.U32) }

// part is n elements from the i-th.
func (r Read) part(i, n int) Read {
	p := Read{Buffer: r.Buffer, Off: r.Off + i}
	switch {
	case r.F32 != nil:
		p.F32 = r.F32[i : i+n]
	case r.F64 != nil:
		p.F64 = r.F64[i : i+n]
	default:
		p.U32 = r.U32[i : i+n]
	}
	return p
}

// Take copies the elements, as they lie in a buffer of a GPU, to the host.
func (r Read) Take(elements []byte) {
	switch {
	case len(elements) == 0:
	case r.F32 != nil:
		copy(r.F32, unsafe.Slice((*float32)(unsafe.Pointer(&elements[0])), len(elements)/4))
	case r.F64 != nil:
		for i, v := range unsafe.Slice((*float32)(unsafe.Pointer(&elements[0])), len(elements)/4) {
			r.F64[i] = float64(v)
		}
	default:
		copy(r.U32, unsafe.Slice((*uint32)(unsafe.Pointer(&elements[0])), len(elements)/4))
	}
}

// Pieces calls read with the list divided into lists of at most most elements each.
func Pieces(list []Read, most int, read func([]Read) error) error {
	sum := 0
	for _, r := range list {
		sum += r.Len()
	}
	if sum <= most {
		return read(list)
	}
	var piece []Read
	room := most
	for _, r := range list {
		for i := 0; i < r.Len(); {
			n := min(r.Len()-i, room)
			piece = append(piece, r.part(i, n))
			i += n
			if room -= n; room == 0 {
				if err := read(piece); err != nil {
					return err
				}
				piece, room = piece[:0], most
			}
		}
	}
	if len(piece) == 0 {
		return nil
	}
	return read(piece)
}
