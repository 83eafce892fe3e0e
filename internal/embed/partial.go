package embed

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"wgjepa/data/numpy"
	"wgjepa/internal/atomicfile"
)

// Partial is the rows of a table that is not complete, in files beside it from which it can be
// continued: TABLE.part holds numbers, which no program takes for a table, and TABLE.part.json
// says what they belong to, how many are sure to be there, and their checksum. Both vanish when
// the table appears.
type Partial struct {
	path  string
	state state
	f     *os.File
	w     *bufio.Writer
	saved time.Time
	bytes []byte
}

// state is the contents of TABLE.part.json.
type state struct {
	Of      map[string]string `json:"of"`    // what the rows belong to
	Width   int               `json:"width"` // numbers of a row
	Done    int               `json:"done"`  // samples that were added or left out
	Rows    int64             `json:"rows"`
	CRC32   uint32            `json:"crc32"` // of the rows
	Skipped []Skipped         `json:"skipped,omitempty"`
}

// Skipped is a sample that was left out.
type Skipped struct {
	Sample int    `json:"sample"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// headerLen is the room for the head of an .npy file in front of the rows; zeros until the table
// is complete.
const headerLen = numpy.Float32HeaderLen

// saveEvery is how much work a crash may cost; the first sample is saved at once.
const saveEvery = 5 * time.Second

// OpenPartial opens the rows of the table at path, or begins them. of says what they belong to:
// those of anything else, and damaged ones, are refused with the difference, or with anew give
// way. A row has width numbers.
func OpenPartial(path string, of map[string]string, width int, anew bool) (*Partial, error) {
	p, err := openPartial(path, of, width)
	if err != nil && anew {
		if err := RemovePartial(path); err != nil {
			return nil, err
		}
		return openPartial(path, of, width)
	}
	return p, err
}

func openPartial(path string, of map[string]string, width int) (*Partial, error) {
	p := &Partial{path: path, state: state{Of: of, Width: width}}
	text, err := os.ReadFile(p.sidecar())
	if errors.Is(err, fs.ErrNotExist) {
		if p.f, err = os.Create(p.numbers()); err == nil {
			_, err = p.f.Write(make([]byte, headerLen))
		}
		return p.begin(err)
	}
	var had state
	if err == nil {
		err = json.Unmarshal(text, &had)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, of a table that was interrupted: %w: begin anew with --overwrite", p.sidecar(), err)
	}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if had.Of[key] != of[key] {
			return nil, fmt.Errorf("%s is of another table: its %s is %s, here %s: finish that one, or begin anew with --overwrite", p.numbers(), key, had.Of[key], of[key])
		}
	}
	if had.Width != width || had.Rows < 0 || had.Done < 0 || had.Rows > math.MaxInt64/4/int64(width)-headerLen {
		return nil, fmt.Errorf("%s does not fit its numbers: begin anew with --overwrite", p.sidecar())
	}
	p.state = had
	if p.f, err = os.OpenFile(p.numbers(), os.O_RDWR, 0); err == nil {
		err = p.resume()
	}
	return p.begin(err)
}

// begin makes the writer, or closes the file after an error.
func (p *Partial) begin(err error) (*Partial, error) {
	if err != nil {
		if p.f != nil {
			p.f.Close()
		}
		return nil, err
	}
	p.w = bufio.NewWriterSize(p.f, 1<<20)
	return p, nil
}

// resume checks the rows that are sure to be there, and cuts what follows them.
func (p *Partial) resume() error {
	if _, err := p.f.Seek(headerLen, io.SeekStart); err != nil {
		return err
	}
	sum, n := crc32.NewIEEE(), p.size()
	if got, err := io.CopyN(sum, p.f, n); err != nil || sum.Sum32() != p.state.CRC32 {
		return fmt.Errorf("%s is damaged (%d of %d bytes): begin anew with --overwrite", p.numbers(), got, n)
	}
	return p.f.Truncate(headerLen + n)
}

func (p *Partial) size() int64     { return 4 * p.state.Rows * int64(p.state.Width) }
func (p *Partial) numbers() string { return p.path + ".part" }
func (p *Partial) sidecar() string { return p.path + ".part.json" }

// Done is the number of samples, from the first, that need no work again.
func (p *Partial) Done() int { return p.state.Done }

// Rows is the number of rows.
func (p *Partial) Rows() int64 { return p.state.Rows }

// Skipped lists the samples that were left out.
func (p *Partial) Skipped() []Skipped { return p.state.Skipped }

// Each calls use with each sample that is done and was not left out.
func (p *Partial) Each(use func(sample int) error) error {
	skipped := p.Skipped()
	for i := range p.Done() {
		if len(skipped) > 0 && skipped[0].Sample == i {
			skipped = skipped[1:]
			continue
		}
		if err := use(i); err != nil {
			return err
		}
	}
	return nil
}

// Add appends the rows of the next sample.
func (p *Partial) Add(rows []float32) error {
	if len(rows)%p.state.Width != 0 {
		panic(fmt.Sprintf("embed: Add: %d numbers are no rows of %d", len(rows), p.state.Width))
	}
	p.bytes = p.bytes[:0]
	for _, v := range rows {
		p.bytes = binary.LittleEndian.AppendUint32(p.bytes, math.Float32bits(v))
	}
	if _, err := p.w.Write(p.bytes); err != nil {
		return p.advice(err)
	}
	p.state.CRC32 = crc32.Update(p.state.CRC32, crc32.IEEETable, p.bytes)
	p.state.Rows += int64(len(rows) / p.state.Width)
	return p.next()
}

// Reader reads the rows so far in order; a row is valid until the next.
func (p *Partial) Reader() (next func() ([]float32, error), err error) {
	if err := p.w.Flush(); err != nil {
		return nil, p.advice(err)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(p.f, headerLen, p.size()), 1<<20)
	raw, row := make([]byte, 4*p.state.Width), make([]float32, p.state.Width)
	return func() ([]float32, error) {
		if _, err := io.ReadFull(in, raw); err != nil {
			return nil, fmt.Errorf("%s: %w", p.numbers(), err)
		}
		for k := range row {
			row[k] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
		}
		return row, nil
	}, nil
}

// Skip leaves the next sample out.
func (p *Partial) Skip(name string, reason error) error {
	p.state.Skipped = append(p.state.Skipped, Skipped{p.state.Done, name, reason.Error()})
	return p.next()
}

func (p *Partial) next() error {
	p.state.Done++
	if time.Since(p.saved) < saveEvery {
		return nil
	}
	return p.save()
}

// save makes sure that all rows so far are there after a crash.
func (p *Partial) save() error {
	err := p.w.Flush()
	if err == nil {
		err = p.f.Sync()
	}
	if err == nil {
		err = atomicfile.Write(p.sidecar(), func(w io.Writer) error { return json.NewEncoder(w).Encode(p.state) })
	}
	p.saved = time.Now()
	return p.advice(err)
}

// Close saves what there is, to be continued.
func (p *Partial) Close() error {
	if p.f == nil {
		return nil
	}
	err := p.save()
	err = errors.Join(err, p.f.Close())
	p.f = nil
	return err
}

func (p *Partial) advice(err error) error {
	if err != nil {
		return fmt.Errorf("%w: make room, then run the same command again to continue", err)
	}
	return nil
}

// RemovePartial removes what an interrupted embedding left of the table at path.
func RemovePartial(path string) error {
	p := Partial{path: path}
	for _, name := range []string{p.sidecar(), p.numbers()} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
