package volume

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// A small reader of DICOM (PS3.5, PS3.10): the few elements that an image needs are
// kept, all others are passed over unread. Of the patient only a hash of the ID is kept,
// with a key that ends with the process, to tell which images are of one person.

// patientKey is the key of that hash.
var patientKey = maphash.MakeSeed()

// hidden is a hash of what is not kept; 0 of nothing.
func hidden(text string) uint64 {
	if text == "" {
		return 0
	}
	return max(maphash.String(patientKey, text), 1)
}

// Elements by group and number.
const (
	tagSyntax         = 0x00020010
	tagImageType      = 0x00080008
	tagClass          = 0x00080016
	tagInstanceUID    = 0x00080018
	tagModality       = 0x00080060
	tagThickness      = 0x00180050
	tagEcho           = 0x00180081
	tagBetween        = 0x00180088
	tagImagerSpacing  = 0x00181164
	tagMosaic         = 0x0019100a // Siemens
	tagPatient        = 0x00100020
	tagStudyUID       = 0x0020000d
	tagSeriesUID      = 0x0020000e
	tagInstance       = 0x00200013
	tagTime           = 0x00200100 // which of several times
	tagPosition       = 0x00200032
	tagOrientation    = 0x00200037
	tagSamples        = 0x00280002
	tagPhotometric    = 0x00280004
	tagPlanar         = 0x00280006
	tagFrames         = 0x00280008
	tagRows           = 0x00280010
	tagColumns        = 0x00280011
	tagSpacing        = 0x00280030
	tagAllocated      = 0x00280100
	tagStored         = 0x00280101
	tagHigh           = 0x00280102
	tagSigned         = 0x00280103
	tagIntercept      = 0x00281052
	tagSlope          = 0x00281053
	tagCSA            = 0x00291010 // Siemens
	tagShared         = 0x52009229
	tagPerFrame       = 0x52009230
	tagFloatPixels    = 0x7fe00008
	tagDoublePixels   = 0x7fe00009
	tagPixels         = 0x7fe00010
	tagItem           = 0xfffee000
	tagItemEnd        = 0xfffee00d
	tagSequenceEnd    = 0xfffee0dd
	undefined         = 0xffffffff
	directoryClass    = "1.2.840.10008.1.3.10"
	syntaxImplicit    = "1.2.840.10008.1.2"
	syntaxExplicit    = "1.2.840.10008.1.2.1"
	syntaxDeflated    = "1.2.840.10008.1.2.1.99"
	syntaxBig         = "1.2.840.10008.1.2.2"
	syntaxRLE         = "1.2.840.10008.1.2.5"
	maxDICOMFrames    = 1 << 16
	maxDICOMHeader    = 1 << 28 // bytes of all elements before the pixels
	maxElements       = 1 << 22
	maxSequenceNested = 12
)

// syntaxNames are the compressed transfer syntaxes, for messages.
var syntaxNames = map[string]string{
	"1.2.840.10008.1.2.4.50": "JPEG", "1.2.840.10008.1.2.4.51": "JPEG, 12 bits", "1.2.840.10008.1.2.4.57": "JPEG lossless", "1.2.840.10008.1.2.4.70": "JPEG lossless",
	"1.2.840.10008.1.2.4.80": "JPEG-LS", "1.2.840.10008.1.2.4.81": "JPEG-LS", "1.2.840.10008.1.2.4.90": "JPEG 2000", "1.2.840.10008.1.2.4.91": "JPEG 2000",
}

// functional are the sequences of an enhanced image that hold what is wanted.
var functional = map[uint32]bool{0x00209113: true, 0x00209116: true, 0x00289110: true, 0x00289145: true}

// ErrNoImage is the error of DICOM files that hold something else: directories, reports,
// structures.
var ErrNoImage = errors.New("a DICOM file without an image")

// attributes are what is said of a plane, nil where it is not.
type attributes struct {
	position, orientation, spacing, slope, intercept []float64
}

// over completes a by what is said of more planes.
func (a attributes) over(b attributes) attributes {
	for _, p := range []struct{ to, from *[]float64 }{{&a.position, &b.position}, {&a.orientation, &b.orientation}, {&a.spacing, &b.spacing}, {&a.slope, &b.slope}, {&a.intercept, &b.intercept}} {
		if *p.to == nil {
			*p.to = *p.from
		}
	}
	return a
}

// dicomFile is what is kept of a file.
type dicomFile struct {
	name, syntax, class, modality string
	seriesUID, instanceUID        string
	patient, study                uint64 // 0 where it is not known
	instance, time                int
	imageType                     string
	echo                          float64 // ms
	photometric                   string
	rows, columns, frames         int
	samples, planar               int
	allocated, stored, high       int
	signed                        bool
	mosaic                        int // tiles, 0 for ordinary images
	normal                        []float64
	between                       []float64
	all, shared                   attributes
	each                          []attributes // of frames
	begin                         int64        // of the data set in the file
	pixels                        int64        // of the pixels in the (inflated) data set
	length                        uint32       // of the pixels, undefined where they are compressed
}

func isDICOM(head []byte) bool {
	if len(head) >= 132 && string(head[128:132]) == "DICM" {
		return true
	}
	return bareDICOM(head)
}

// bareDICOM tells old files, which begin with their first element, of group 8.
func bareDICOM(head []byte) bool {
	if len(head) < 12 || head[0] != 8 || head[1] != 0 || head[3] != 0 || head[2] > 0x18 {
		return false
	}
	letter := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	return letter(head[4]) && letter(head[5]) || binary.LittleEndian.Uint32(head[4:]) <= 64
}

// elements reads a data set.
type elements struct {
	r        *bufio.Reader
	order    binary.ByteOrder
	explicit bool
	at       int64
	file     *dicomFile
	count    int
	scratch  [12]byte
}

func (e *elements) read(n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := io.ReadFull(e.r, b)
	e.at += int64(got)
	return b, err
}

func (e *elements) skip(n int64) error {
	if e.at+n > maxDICOMHeader {
		return fmt.Errorf("its elements before the pixels take more than %d bytes", maxDICOMHeader)
	}
	got, err := e.r.Discard(int(n))
	e.at += int64(got)
	return noEOF(err)
}

// next reads an element's tag, length and type: SQ, UN, long or short, "" where it is implicit. io.EOF comes only between elements.
func (e *elements) next() (tag uint32, vr string, length uint32, err error) {
	if e.count++; e.count > maxElements {
		return 0, "", 0, fmt.Errorf("more than %d elements", maxElements)
	}
	b := &e.scratch
	n, err := io.ReadFull(e.r, b[:8])
	e.at += int64(n)
	if err != nil {
		return 0, "", 0, err
	}
	tag = uint32(e.order.Uint16(b[:]))<<16 | uint32(e.order.Uint16(b[2:]))
	if !e.explicit || tag>>16 == 0xfffe {
		return tag, "", e.order.Uint32(b[4:]), nil
	}
	switch string(b[4:6]) {
	case "SQ":
		vr = "SQ"
	case "UN":
		vr = "UN"
	case "OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UR", "UT", "UV":
		vr = "long"
	default:
		return tag, "short", uint32(e.order.Uint16(b[6:])), nil
	}
	n, err = io.ReadFull(e.r, b[8:12])
	e.at += int64(n)
	return tag, vr, e.order.Uint32(b[8:]), noEOF(err)
}

// set reads elements up to byte end, or to the end of the item or file where end is −1.
// into receives attributes, nil where they are of no interest. It reports whether the
// pixels were reached.
func (e *elements) set(depth int, end int64, into *attributes) (bool, error) {
	if depth > maxSequenceNested {
		return false, errors.New("its sequences are nested too deep")
	}
	for end < 0 || e.at < end {
		tag, vr, length, err := e.next()
		if err == io.EOF && depth == 0 {
			return false, nil
		}
		if err != nil {
			return false, noEOF(err)
		}
		switch {
		case tag == tagItemEnd:
			return false, nil
		case depth == 0 && (tag == tagPixels || tag == tagFloatPixels || tag == tagDoublePixels):
			if tag != tagPixels {
				return false, errors.New("pixels stored as floating point are not read; save them as integers")
			}
			e.file.pixels, e.file.length = e.at, length
			return true, nil
		case depth == 0 && (tag == tagShared || tag == tagPerFrame):
			if err := e.groups(tag == tagPerFrame, length); err != nil {
				return false, err
			}
		case depth > 0 && into != nil && functional[tag]:
			if err := e.sequence(depth+1, length, func(int) *attributes { return into }); err != nil {
				return false, err
			}
		case length == undefined:
			if vr != "SQ" && vr != "UN" && vr != "" {
				return false, fmt.Errorf("element %08x has no length", tag)
			}
			implicit := *e // items of an unknown type are implicit
			if vr == "UN" {
				implicit.explicit, implicit.order = false, binary.LittleEndian
			}
			err := implicit.sequence(depth+1, length, func(int) *attributes { return nil })
			e.at, e.count = implicit.at, implicit.count
			if err != nil {
				return false, err
			}
		default:
			if err := e.value(tag, length, depth, into); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// groups reads the functional groups of an enhanced image.
func (e *elements) groups(perFrame bool, length uint32) error {
	return e.sequence(1, length, func(i int) *attributes {
		if !perFrame {
			return &e.file.shared
		}
		if i >= maxDICOMFrames {
			return nil
		}
		e.file.each = append(e.file.each, attributes{})
		return &e.file.each[i]
	})
}

// sequence reads the items of a sequence.
func (e *elements) sequence(depth int, length uint32, into func(item int) *attributes) error {
	end := int64(-1)
	if length != undefined {
		end = e.at + int64(length)
	}
	for i := 0; end < 0 || e.at < end; i++ {
		tag, _, n, err := e.next()
		if err != nil {
			return noEOF(err)
		}
		if tag == tagSequenceEnd {
			return nil
		}
		if tag != tagItem {
			return fmt.Errorf("element %08x where an item of a sequence must be", tag)
		}
		stop := int64(-1)
		if n != undefined {
			stop = e.at + int64(n)
		}
		a := into(i)
		if a == nil && stop >= 0 {
			err = e.skip(int64(n))
		} else {
			_, err = e.set(depth, stop, a)
		}
		if err != nil {
			return err
		}
		if e.at > maxDICOMHeader {
			return fmt.Errorf("its elements before the pixels take more than %d bytes", maxDICOMHeader)
		}
	}
	return nil
}

// value reads an element that is wanted and passes over others.
func (e *elements) value(tag, length uint32, depth int, into *attributes) error {
	f := e.file
	limit := uint32(1 << 12)
	if tag == tagCSA {
		limit = 1 << 20
	}
	if !wanted[tag] || length > limit || depth > 0 && into == nil {
		return e.skip(int64(length))
	}
	b, err := e.read(int(length))
	if err != nil {
		return noEOF(err)
	}
	text := strings.Trim(string(b), " \x00")
	list := func(n int) []float64 {
		var v []float64
		for s := range strings.SplitSeq(text, `\`) {
			x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil || !finite(x) || len(v) == n {
				return nil
			}
			v = append(v, x)
		}
		if len(v) != n {
			return nil
		}
		return v
	}
	short := func() int {
		if len(b) < 2 {
			return 0
		}
		return int(e.order.Uint16(b))
	}
	if into != nil {
		switch tag {
		case tagPosition:
			into.position = list(3)
		case tagOrientation:
			into.orientation = list(6)
		case tagSpacing:
			into.spacing = list(2)
		case tagSlope:
			into.slope = list(1)
		case tagIntercept:
			into.intercept = list(1)
		}
	}
	if depth > 0 {
		return nil
	}
	switch tag {
	case tagImageType:
		f.imageType = text
		if strings.Contains(text, "MOSAIC") && f.mosaic == 0 {
			f.mosaic = -1 // the number of tiles follows
		}
	case tagClass:
		f.class = text
	case tagInstanceUID:
		f.instanceUID = text
	case tagModality:
		f.modality = text
	case tagBetween:
		f.between = list(1)
	case tagThickness:
		if f.between == nil {
			f.between = list(1)
		}
	case tagImagerSpacing:
		if into.spacing == nil {
			into.spacing = list(2)
		}
	case tagMosaic:
		if f.mosaic < 0 && short() > 0 {
			f.mosaic = short()
		}
	case tagCSA:
		if f.mosaic != 0 {
			f.normal = csaVector(b, "SliceNormalVector")
		}
	case tagPatient:
		f.patient = hidden(text)
	case tagStudyUID:
		f.study = hidden(text)
	case tagSeriesUID:
		f.seriesUID = text
	case tagInstance:
		f.instance, _ = strconv.Atoi(text)
	case tagTime:
		f.time, _ = strconv.Atoi(text)
	case tagEcho:
		if v := list(1); v != nil {
			f.echo = v[0]
		}
	case tagSamples:
		f.samples = short()
	case tagPhotometric:
		f.photometric = text
	case tagPlanar:
		f.planar = short()
	case tagFrames:
		if f.frames, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("number of frames %.20q", text)
		}
	case tagRows:
		f.rows = short()
	case tagColumns:
		f.columns = short()
	case tagAllocated:
		f.allocated = short()
	case tagStored:
		f.stored = short()
	case tagHigh:
		f.high = short()
	case tagSigned:
		f.signed = short() == 1
	}
	return nil
}

var wanted = func() map[uint32]bool {
	m := map[uint32]bool{}
	for _, t := range []uint32{tagImageType, tagClass, tagInstanceUID, tagModality, tagPatient, tagThickness, tagEcho, tagBetween, tagImagerSpacing, tagMosaic, tagStudyUID, tagSeriesUID, tagInstance, tagTime, tagPosition, tagOrientation, tagSamples, tagPhotometric, tagPlanar, tagFrames, tagRows, tagColumns, tagSpacing, tagAllocated, tagStored, tagHigh, tagSigned, tagIntercept, tagSlope, tagCSA} {
		m[t] = true
	}
	return m
}()

// csaVector returns three numbers of a Siemens CSA header ("SV10"): entries of a name
// (64 bytes), five integers of which the fourth counts items, and items of four integers,
// the second the length, with their text padded to four bytes.
func csaVector(b []byte, name string) []float64 {
	if !bytes.HasPrefix(b, []byte("SV10")) || len(b) < 16 {
		return nil
	}
	le := binary.LittleEndian
	at := 16
	for range min(le.Uint32(b[8:]), 1024) {
		if at+84 > len(b) {
			return nil
		}
		found, _, _ := strings.Cut(string(b[at:at+64]), "\x00")
		items := le.Uint32(b[at+76:])
		at += 84
		var v []float64
		for range min(items, 1024) {
			if at+16 > len(b) {
				return nil
			}
			n := int64(le.Uint32(b[at+4:]))
			at += 16
			if int64(at)+n > int64(len(b)) {
				return nil
			}
			if found == name && len(v) < 3 {
				x, err := strconv.ParseFloat(strings.Trim(string(b[at:at+int(n)]), " \x00"), 64)
				if err != nil || !finite(x) {
					return nil
				}
				v = append(v, x)
			}
			at += int(n+3) &^ 3
		}
		if len(v) == 3 {
			return v
		}
	}
	return nil
}

// dataset opens a file at its data set, inflated where it is deflated.
func (f *dicomFile) dataset(fsys fs.FS) (fs.File, *bufio.Reader, error) {
	file, _, err := open(fsys, f.name)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(file, 1<<16)
	if _, err := io.CopyN(io.Discard, r, f.begin); err != nil {
		file.Close()
		return nil, nil, noEOF(err)
	}
	if f.syntax == syntaxDeflated {
		r = bufio.NewReaderSize(flate.NewReader(r), 1<<16)
	}
	return file, r, nil
}

// readDICOM reads a file's elements up to its pixels.
func readDICOM(fsys fs.FS, name string) (*dicomFile, error) {
	file, size, err := open(fsys, name)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(file, 1<<12)
	f := &dicomFile{name: name, samples: 1, frames: 1, syntax: syntaxImplicit}
	head, err := r.Peek(132)
	if err != nil && err != io.EOF {
		file.Close()
		return nil, err
	}
	if len(head) == 132 && string(head[128:]) == "DICM" {
		err = f.meta(r)
	} else if len(head) > 6 && head[4] >= 'A' {
		f.syntax = syntaxExplicit
	}
	file.Close()
	if err != nil {
		return nil, fmt.Errorf("damaged DICOM header: %w", err)
	}
	file, r, err = f.dataset(fsys)
	if err != nil {
		return nil, fmt.Errorf("damaged DICOM header: %w", err)
	}
	defer file.Close()
	e := &elements{r: r, order: binary.LittleEndian, explicit: f.syntax != syntaxImplicit, file: f}
	if f.syntax == syntaxBig {
		e.order = binary.BigEndian
	}
	found, err := e.set(0, -1, &f.all)
	if err != nil {
		return nil, fmt.Errorf("damaged DICOM file: %w", err)
	}
	if f.class == directoryClass || !found && f.rows == 0 {
		return nil, ErrNoImage
	}
	if !found {
		return nil, errors.New("a DICOM image without its pixels: cut short")
	}
	return f, f.valid(size)
}

// meta reads the preamble and group 2, which is always explicit and little-endian.
func (f *dicomFile) meta(r *bufio.Reader) error {
	if _, err := r.Discard(132); err != nil {
		return err
	}
	e := &elements{r: r, order: binary.LittleEndian, explicit: true, file: f}
	for {
		b, err := r.Peek(2)
		if err != nil {
			return noEOF(err)
		}
		if binary.LittleEndian.Uint16(b) != 2 {
			f.begin = 132 + e.at
			return nil
		}
		tag, _, length, err := e.next()
		if err != nil {
			return noEOF(err)
		}
		if tag == tagSyntax && length <= 64 {
			v, err := e.read(int(length))
			if err != nil {
				return noEOF(err)
			}
			f.syntax = strings.Trim(string(v), " \x00")
		} else if err := e.skip(int64(length)); err != nil {
			return err
		}
	}
}

// valid checks what the pixels need against the file's length.
func (f *dicomFile) valid(size int64) error {
	switch {
	case f.rows < 1 || f.columns < 1:
		return fmt.Errorf("DICOM: %d rows, %d columns", f.rows, f.columns)
	case f.frames < 1 || f.frames > maxDICOMFrames:
		return fmt.Errorf("DICOM: %d frames", f.frames)
	case f.allocated != 8 && f.allocated != 16 && f.allocated != 32:
		return fmt.Errorf("DICOM: pixels of %d bits are not read", f.allocated)
	}
	if f.stored == 0 {
		f.stored = f.allocated
	}
	if f.high == 0 {
		f.high = f.stored - 1
	}
	if f.stored > f.allocated || f.high < f.stored-1 || f.high >= f.allocated {
		return fmt.Errorf("DICOM: bits contradict each other: %d allocated, %d stored, the highest %d", f.allocated, f.stored, f.high)
	}
	switch {
	case f.samples == 1 && strings.HasPrefix(f.photometric, "MONOCHROME"):
	case f.samples == 3 && f.photometric == "RGB" && f.allocated == 8:
	case f.compressed() && f.samples == 3:
		return fmt.Errorf("DICOM: compressed colour (%s) is not read; export it uncompressed", f.photometric)
	default:
		return fmt.Errorf("DICOM: %d samples a pixel, %.30q: only MONOCHROME1, MONOCHROME2 and RGB of 8 bits are read", f.samples, f.photometric)
	}
	if f.mosaic < 0 {
		return errors.New("a Siemens mosaic that does not say how many images it holds: export it as single images")
	}
	if f.mosaic > 0 && (f.frames > 1 || f.mosaic > f.rows*f.columns) {
		return fmt.Errorf("a mosaic of %d images in %d frames of %d×%d", f.mosaic, f.frames, f.columns, f.rows)
	}
	if f.compressed() {
		if f.length != undefined {
			return fmt.Errorf("DICOM: transfer syntax %.40q, but its pixels are not compressed", f.syntax)
		}
		return nil
	}
	need, most := int64(f.frames)*f.frameBytes(), size-f.begin-f.pixels
	if f.syntax == syntaxDeflated {
		most = size*maxInflation + maxInflation - f.pixels
	}
	if f.syntax == syntaxRLE {
		if f.length != undefined {
			return errors.New("DICOM: run-length encoding, but its pixels are not compressed")
		}
		need, most = need/64, size // two bytes are at most 128
	} else if f.length == undefined || int64(f.length) < need {
		return fmt.Errorf("DICOM: its pixels take %d bytes, its header needs %d", f.length, need)
	}
	if need > most {
		return fmt.Errorf("DICOM: %d frames of %d×%d need %d bytes, the file has %d: cut short or damaged", f.frames, f.columns, f.rows, need, max(most, 0))
	}
	return nil
}

func (f *dicomFile) frameBytes() int64 {
	return int64(f.rows) * int64(f.columns) * int64(f.samples) * int64(f.allocated/8)
}

// compressed says that the pixels are in a form that is not decoded here.
func (f *dicomFile) compressed() bool {
	switch f.syntax {
	case syntaxImplicit, syntaxExplicit, syntaxDeflated, syntaxBig, syntaxRLE:
		return false
	}
	return true
}

func (f *dicomFile) typeName() string {
	name := "uint" + strconv.Itoa(f.allocated)
	if f.signed {
		name = name[1:]
	}
	return name
}

// eachFrame gives the stored bytes of one frame after the other; they are valid during
// the call.
func (f *dicomFile) eachFrame(fsys fs.FS, use func(frame int, pixels []byte, order binary.ByteOrder, planar bool) error) error {
	file, r, err := f.dataset(fsys)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.CopyN(io.Discard, r, f.pixels); err != nil {
		return fmt.Errorf("the file ends before its pixels: %w", noEOF(err))
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if f.syntax == syntaxBig {
		order = binary.BigEndian
	}
	buffer := rawPool.Get().(*bytes.Buffer)
	defer rawPool.Put(buffer)
	for frame := range f.frames {
		if f.syntax == syntaxRLE {
			pixels, err := f.rle(r, frame == 0, buffer)
			if err != nil {
				return fmt.Errorf("frame %d: %w", frame+1, err)
			}
			if err := use(frame, pixels, order, false); err != nil {
				return err
			}
			continue
		}
		if err := collect(buffer, r, f.frameBytes()); err != nil {
			return err
		}
		if err := use(frame, buffer.Bytes(), order, f.planar == 1); err != nil {
			return err
		}
	}
	if f.syntax == syntaxDeflated { // damage shows at the end
		if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil && err != io.EOF {
			return fmt.Errorf("damaged deflated data: %w", err)
		}
	}
	return nil
}

// rle decodes the next frame, PS3.5 annex G: for each byte of a pixel, the highest first,
// and each sample, a segment of runs.
func (f *dicomFile) rle(r *bufio.Reader, first bool, buffer *bytes.Buffer) ([]byte, error) {
	for {
		var h [8]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, noEOF(err)
		}
		tag, n := uint32(binary.LittleEndian.Uint16(h[:]))<<16|uint32(binary.LittleEndian.Uint16(h[2:])), binary.LittleEndian.Uint32(h[4:])
		if tag != tagItem || n == undefined {
			return nil, fmt.Errorf("damaged: element %08x where a frame must be", tag)
		}
		if first { // the table of offsets
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				return nil, noEOF(err)
			}
			first = false
			continue
		}
		if int64(n) > 2*f.frameBytes()+1024 {
			return nil, fmt.Errorf("damaged: a frame of %d bytes is encoded in %d", f.frameBytes(), n)
		}
		if err := collect(buffer, r, int64(n)); err != nil {
			return nil, err
		}
		break
	}
	in := buffer.Bytes()
	width := f.allocated / 8
	segments := f.samples * width
	if len(in) < 64 || binary.LittleEndian.Uint32(in) != uint32(segments) {
		return nil, fmt.Errorf("damaged: run-length header does not name %d segments", segments)
	}
	count := f.rows * f.columns
	out := make([]byte, count*segments)
	for s := range segments {
		from, to := int64(binary.LittleEndian.Uint32(in[4+4*s:])), int64(len(in))
		if s+1 < segments {
			to = int64(binary.LittleEndian.Uint32(in[8+4*s:]))
		}
		if from < 64 || from > to || to > int64(len(in)) {
			return nil, errors.New("damaged: run-length segments lie outside their frame")
		}
		at := s/width*width + width - 1 - s%width // little-endian
		seg, n := in[from:to], 0
		for len(seg) > 1 && n < count {
			c := int(int8(seg[0]))
			seg = seg[1:]
			switch {
			case c >= 0:
				c = min(c+1, len(seg), count-n)
				for i := range c {
					out[(n+i)*segments+at] = seg[i]
				}
				seg, n = seg[c:], n+c
			case c > -128:
				c = min(1-c, count-n)
				for i := range c {
					out[(n+i)*segments+at] = seg[0]
				}
				seg, n = seg[1:], n+c
			}
		}
		if n < count {
			return nil, fmt.Errorf("damaged: a run-length segment ends after %d of %d pixels", n, count)
		}
	}
	return out, nil
}

// values returns the meaning of stored bytes: masked to the bits that count, with their
// sign, bright where MONOCHROME1 means dark.
func (f *dicomFile) values(order binary.ByteOrder) func([]byte) float64 {
	shift, unused := f.high+1-f.stored, 64-f.stored
	invert := f.photometric == "MONOCHROME1"
	top := math.Ldexp(1, f.stored) - 1
	if f.signed {
		top = -1
	}
	return func(p []byte) float64 {
		var u uint64
		switch f.allocated {
		case 8:
			u = uint64(p[0])
		case 16:
			u = uint64(order.Uint16(p))
		case 32:
			u = uint64(order.Uint32(p))
		}
		u = u >> shift << unused
		x := float64(u >> unused)
		if f.signed {
			x = float64(int64(u) >> unused)
		}
		if invert {
			x = top - x
		}
		return x
	}
}
