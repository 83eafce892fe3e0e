package volume

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
)

// Inflating from memory to memory (RFC 1951 and 1952) for files that fit there: no window
// to copy through, no reader to ask for each byte. Other readers of gzip lie below a stream.

// errDeflate is damaged data.
var errDeflate = errors.New("gzip: no valid DEFLATE data")

// code is a table of prefix codes: the next bits of the input are the index. An entry
// holds, from its lowest bit, the bits that the code takes (4), the number of extra bits
// (4), and a value (16): a literal, the base of a length or distance, or the place of a
// second table for the codes that are longer than the first one's index.
type code []uint32

const (
	isLiteral = 1 << 31
	isEnd     = 1 << 30
	isTable   = 1 << 29
	isWrong   = 1 << 28

	literalBits  = 11 // of the first tables' indices
	distanceBits = 8
	maxCode      = 15
)

// Bases and extra bits, RFC 1951 §3.2.5.
var (
	lengthBase   = [29]uint32{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = [29]uint32{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint32{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	codeOrder    = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

func literalEntry(symbol int) uint32 {
	switch {
	case symbol < 256:
		return isLiteral | uint32(symbol)<<8
	case symbol == 256:
		return isEnd
	case symbol < 286:
		return lengthBase[symbol-257]<<8 | lengthExtra[symbol-257]<<4
	}
	return isWrong
}

func distanceEntry(symbol int) uint32 {
	if symbol >= 30 {
		return isWrong
	}
	return distanceBase[symbol]<<8 | uint32(max(0, symbol/2-1))<<4
}

// build makes the table of canonical codes of the given lengths, 0 for symbols without one.
// Codes must use up all bit patterns, but a single one may be of one bit.
func (c code) build(lengths []uint8, index int, entry func(symbol int) uint32) (code, error) {
	var count, next [maxCode + 2]int
	longest, used := 0, 0
	for _, l := range lengths {
		count[l]++
		longest = max(longest, int(l))
		if l > 0 {
			used++
		}
	}
	count[0] = 0
	left := 1
	for l := 1; l <= maxCode; l++ {
		next[l+1] = (next[l] + count[l]) << 1
		if left = left<<1 - count[l]; left < 0 {
			return c, errDeflate
		}
	}
	if left > 0 && !(used == 0 || used == 1 && count[1] == 1) {
		return c, errDeflate
	}
	c = slices.Grow(c[:0], 1<<index)[:1<<index]
	for i := range c {
		c[i] = isWrong
	}
	for symbol, length := range lengths {
		l := int(length)
		if l == 0 {
			continue
		}
		pattern := int(bits.Reverse16(uint16(next[l])) >> (16 - l)) // codes begin at their highest bit
		next[l]++
		e := entry(symbol) | uint32(l)
		if l <= index {
			for i := pattern; i < 1<<index; i += 1 << l {
				c[i] = e
			}
			continue
		}
		low, deep := pattern&(1<<index-1), longest-index
		if c[low]&isTable == 0 {
			c[low] = isTable | uint32(len(c))<<8 | uint32(deep)<<4
			for range 1 << deep {
				c = append(c, isWrong)
			}
		}
		second := c[c[low]>>8&0xffff:][:1<<deep]
		for i := pattern >> index; i < 1<<deep; i += 1 << (l - index) {
			second[i] = e
		}
	}
	return c, nil
}

// inflater holds what is used again from file to file.
type inflater struct {
	in                []byte // with eight bytes of padding
	at                int    // of the next byte
	bits              uint64 // that were taken from in, the next one lowest
	n                 uint   // how many
	out               []byte
	o                 int // bytes of out that are there
	literals, lengths code
}

const padding = 8

// refill has 56 bits or more ready; what is missing behind the end is taken as zeros.
func (d *inflater) refill() error {
	if d.at > len(d.in)-8 {
		if d.at > len(d.in) { // beyond the padding: cut short
			return io.ErrUnexpectedEOF
		}
		for d.n < 56 {
			if d.at < len(d.in) {
				d.bits |= uint64(d.in[d.at]) << d.n
			}
			d.at++
			d.n += 8
		}
		return nil
	}
	d.bits |= binary.LittleEndian.Uint64(d.in[d.at:]) << d.n
	d.at += int((63 - d.n) >> 3)
	d.n |= 56
	return nil
}

// take returns the next k bits, at most 16.
func (d *inflater) take(k uint) (int, error) {
	if d.n < k {
		if err := d.refill(); err != nil {
			return 0, err
		}
	}
	v := int(d.bits & (1<<k - 1))
	d.bits >>= k
	d.n -= k
	return v, nil
}

// byteAt puts the position at the next whole byte and returns it.
func (d *inflater) byteAt() int {
	d.at -= int(d.n / 8)
	d.bits, d.n = 0, 0
	return d.at
}

// ended says that more was taken than there is.
func (d *inflater) ended() bool { return d.at-int(d.n/8) > len(d.in)-padding }

// room makes place for k bytes more.
func (d *inflater) room(k int) {
	if len(d.out)-d.o < k {
		d.out = append(d.out[:d.o], make([]byte, max(k, d.o, 1<<16))...)
	}
}

// gzip inflates the members of src, to d.out[:d.o], until there are more than most bytes:
// more says so, and that the checksum was not compared.
func (d *inflater) gzip(src []byte, most int) (more bool, err error) {
	d.in, d.at, d.bits, d.n, d.o = append(src, make([]byte, padding)...), 0, 0, 0, 0
	for {
		size, err := gzipHeader(d.in[d.at : len(d.in)-padding])
		if err != nil {
			return false, err
		}
		d.at += size
		begin := d.o
		for last := false; !last; {
			if last, err = d.block(most); err != nil {
				return false, err
			}
			if d.ended() {
				return false, io.ErrUnexpectedEOF
			}
			if d.o > most {
				return true, nil
			}
		}
		at := d.byteAt()
		if at+8 > len(d.in)-padding {
			return false, io.ErrUnexpectedEOF
		}
		if sum := binary.LittleEndian.Uint32(d.in[at:]); sum != crc32.ChecksumIEEE(d.out[begin:d.o]) || binary.LittleEndian.Uint32(d.in[at+4:]) != uint32(d.o-begin) {
			return false, errors.New("gzip: its checksum does not fit")
		}
		if d.at = at + 8; d.at == len(d.in)-padding {
			return false, nil
		}
	}
}

// gzipHeader returns the length of a member's header.
func gzipHeader(b []byte) (int, error) {
	if len(b) < 10 {
		return 0, io.ErrUnexpectedEOF
	}
	flags := b[3]
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return 0, errors.New("gzip: no header of a member where one must be")
	}
	at := 10
	if flags&4 != 0 {
		if len(b) < at+2 {
			return 0, io.ErrUnexpectedEOF
		}
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, text := range []byte{8, 16} { // name and comment end with a zero
		if flags&text != 0 {
			if at > len(b) {
				return 0, io.ErrUnexpectedEOF
			}
			end := slices.Index(b[at:], 0)
			if end < 0 {
				return 0, io.ErrUnexpectedEOF
			}
			at += end + 1
		}
	}
	if flags&2 != 0 {
		if len(b) < at+2 {
			return 0, io.ErrUnexpectedEOF
		}
		if uint16(crc32.ChecksumIEEE(b[:at])) != binary.LittleEndian.Uint16(b[at:]) {
			return 0, errors.New("gzip: the checksum of its header does not fit")
		}
		at += 2
	}
	if at > len(b) {
		return 0, io.ErrUnexpectedEOF
	}
	return at, nil
}

// block inflates one block, until there are more than most bytes.
func (d *inflater) block(most int) (last bool, err error) {
	head, err := d.take(3)
	if err != nil {
		return false, err
	}
	last = head&1 != 0
	switch head >> 1 {
	case 0:
		return last, d.stored()
	case 1:
		err = d.fixed()
	case 2:
		err = d.dynamic()
	default:
		err = errDeflate
	}
	if err != nil {
		return last, err
	}
	return last, d.symbols(most)
}

func (d *inflater) stored() error {
	at := d.byteAt()
	end := len(d.in) - padding
	if at+4 > end {
		return io.ErrUnexpectedEOF
	}
	n, inverse := int(binary.LittleEndian.Uint16(d.in[at:])), int(binary.LittleEndian.Uint16(d.in[at+2:]))
	if n != inverse^0xffff {
		return errDeflate
	}
	if at += 4; at+n > end {
		return io.ErrUnexpectedEOF
	}
	d.room(n)
	d.o += copy(d.out[d.o:], d.in[at:at+n])
	d.at = at + n
	return nil
}

func (d *inflater) fixed() (err error) {
	var l [288]uint8
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	if d.literals, err = d.literals.build(l[:], literalBits, literalEntry); err != nil {
		return err
	}
	for i := range 32 {
		l[i] = 5
	}
	d.lengths, err = d.lengths.build(l[:32], distanceBits, distanceEntry)
	return err
}

// dynamic reads the tables of a block, RFC 1951 §3.2.7.
func (d *inflater) dynamic() error {
	head, err := d.take(14)
	if err != nil {
		return err
	}
	literals, distances, codes := head&31+257, head>>5&31+1, head>>10+4
	if literals > 286 || distances > 30 {
		return errDeflate
	}
	var l [286 + 30]uint8
	for _, i := range codeOrder[:codes] {
		v, err := d.take(3)
		if err != nil {
			return err
		}
		l[i] = uint8(v)
	}
	if d.literals, err = d.literals.build(l[:19], 7, func(symbol int) uint32 { return uint32(symbol) << 8 }); err != nil {
		return err
	}
	clear(l[:])
	for i := 0; i < literals+distances; {
		if err := d.refill(); err != nil {
			return err
		}
		e := d.literals[d.bits&127]
		if e&isWrong != 0 {
			return errDeflate
		}
		d.bits >>= e & 15
		d.n -= uint(e & 15)
		symbol := int(e >> 8)
		if symbol < 16 {
			l[i] = uint8(symbol)
			i++
			continue
		}
		var value uint8
		repeat, extra := 3, uint(2)
		switch symbol {
		case 16:
			if i == 0 {
				return errDeflate
			}
			value = l[i-1]
		case 17:
			extra = 3
		case 18:
			repeat, extra = 11, 7
		}
		v, err := d.take(extra)
		if err != nil {
			return err
		}
		if repeat += v; i+repeat > literals+distances {
			return errDeflate
		}
		for range repeat {
			l[i] = value
			i++
		}
	}
	if l[256] == 0 {
		return errDeflate // a block without an end
	}
	if d.literals, err = d.literals.build(l[:literals], literalBits, literalEntry); err != nil {
		return err
	}
	d.lengths, err = d.lengths.build(l[literals:literals+distances], distanceBits, distanceEntry)
	return err
}

// slack is what may be written beyond a copy, and longest what one symbol makes.
const (
	slack   = 8
	longest = 258
)

// symbols inflates what the tables encode up to the end of the block, or until there are
// more than most bytes.
func (d *inflater) symbols(most int) error {
	literals, lengths := d.literals, d.lengths
	if len(literals) < 1<<literalBits || len(lengths) < 1<<distanceBits {
		return errDeflate
	}
	d.room(longest + slack + 2)
	in, at, buffer, n, out, o := d.in, d.at, d.bits, d.n, d.out, d.o
	defer func() { d.at, d.bits, d.n, d.o = at, buffer, n, o }()
	for {
		if at <= len(in)-8 {
			buffer |= binary.LittleEndian.Uint64(in[at:]) << n
			at += int((63 - n) >> 3)
			n |= 56
		} else {
			d.at, d.bits, d.n = at, buffer, n
			if err := d.refill(); err != nil {
				return err
			}
			at, buffer, n = d.at, d.bits, d.n
		}
		if o > len(out)-longest-slack-2 {
			if o > most {
				return nil
			}
			d.o = o
			d.room(longest + slack + 2)
			out = d.out
		}
		e := literals[buffer&(1<<literalBits-1)]
		// Up to two literals, at most 30 of the 56 bits, before the bits are filled up again.
		if e&isLiteral != 0 {
			out[o] = byte(e >> 8)
			o++
			buffer >>= e & 15
			n -= uint(e & 15)
			if e = literals[buffer&(1<<literalBits-1)]; e&isLiteral != 0 {
				out[o] = byte(e >> 8)
				o++
				buffer >>= e & 15
				n -= uint(e & 15)
			}
			continue
		}
		if e&isTable != 0 {
			e = literals[int(e>>8&0xffff)+int(buffer>>literalBits&(1<<(e>>4&15)-1))]
		}
		buffer >>= e & 15
		n -= uint(e & 15)
		if e&(isLiteral|isEnd|isWrong) != 0 {
			switch {
			case e&isLiteral != 0:
				out[o] = byte(e >> 8)
				o++
				continue
			case e&isEnd != 0:
				return nil
			}
			return errDeflate
		}
		length := int(e>>8) + int(buffer&(1<<(e>>4&15)-1))
		buffer >>= e >> 4 & 15
		n -= uint(e >> 4 & 15)
		// Up to 20 bits are gone: 36 are left, and a distance takes up to 28.
		e = lengths[buffer&(1<<distanceBits-1)]
		if e&isTable != 0 {
			e = lengths[int(e>>8&0xffff)+int(buffer>>distanceBits&(1<<(e>>4&15)-1))]
		}
		if e&isWrong != 0 {
			return errDeflate
		}
		buffer >>= e & 15
		n -= uint(e & 15)
		distance := int(e>>8) + int(buffer&(1<<(e>>4&15)-1))
		buffer >>= e >> 4 & 15
		n -= uint(e >> 4 & 15)
		if distance > o {
			return errDeflate
		}
		if distance >= 8 {
			from, to := out[o-distance:o-distance+longest+slack], out[o:o+longest+slack]
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(to[i:i+8], binary.LittleEndian.Uint64(from[i:i+8]))
			}
		} else {
			for i := o; i < o+length; i++ {
				out[i] = out[i-distance]
			}
		}
		o += length
	}
}
