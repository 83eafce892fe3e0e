// Package resident keeps the samples of a training on the device, packed as the
// files have them, and makes every batch there: cropped, resized, flipped, turned
// and normalised as a data.Loader does on the processor, the same within float32
// rounding. Only the tables of the draws are sent at each step.
package resident

import (
	"errors"
	"fmt"

	"wgjepa/data"
	"wgjepa/data/transform"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/jepa"
)

// pieceWords is how many words one tensor of samples holds at most: 64 MiB. Tests set it.
var pieceWords = 1 << 24

// mostUnknown bounds the samples on a device that does not tell its memory.
const mostUnknown = 1 << 30

// Source gives the batches of a loader, made on the device.
type Source struct {
	*data.Loader
	ds       data.Packable
	augment  transform.Augment
	seed     uint64
	channels int
	size     []int

	pieces              []gpu.Tensor
	at                  map[int]place
	neighbours, weights gpu.Tensor // tables of a batch
	neighboursAt        []uint32
	weightsAt           []float32
	device              *gpu.Device
}

// place is where a sample lies.
type place struct {
	piece, first int // tensor, element
	packing      gpu.Packing
}

// Why says why the samples of ds cannot stay on a device, "" where they can.
func Why(ds data.Dataset, a transform.Augment) string {
	p, ok := ds.(data.Packable)
	switch {
	case !ok:
		return "these data cannot be packed"
	case p.Normalization() != data.NormalizeZ && p.Normalization() != data.NormalizeNone:
		return fmt.Sprintf("normalisation %q is done on the processor", p.Normalization())
	case a.Chance > 0 && (a.Blur[1] > 0 || a.Noise[1] > 0 || a.Erase[1] > 0):
		return "blur, noise and erasing are done on the processor"
	}
	return ""
}

// Wanted decides for data.resident = "auto": on a GPU of its own whose samples
// have room beside the training, which needs used bytes.
func Wanted(info gpu.Info, used uint64, ds data.Dataset, a transform.Augment) bool {
	return info.Kind != gpu.Software && info.Kind != gpu.Twins && Why(ds, a) == "" && Room(info, used) > 0
}

// Room is the number of bytes that samples may take beside a training that needs
// used.
func Room(info gpu.Info, used uint64) uint64 {
	switch {
	case info.Memory == 0:
		return mostUnknown
	case info.Memory > used+info.Memory/8:
		return info.Memory - used - info.Memory/8
	}
	return 0
}

// ErrRoom says that the samples need more bytes than they may.
var ErrRoom = errors.New("the samples have no room on the device")

// New reads the samples ids of ds and sends them to the device; they may take room
// bytes. loader says which samples a step has; it reads none.
func New(d *gpu.Device, ds data.Dataset, loader *data.Loader, ids []int, a transform.Augment, seed uint64, batch int, room uint64) (_ *Source, err error) {
	if why := Why(ds, a); why != "" {
		return nil, errors.New(why)
	}
	s := &Source{Loader: loader, ds: ds.(data.Packable), augment: a, seed: seed, at: map[int]place{}, device: d}
	s.channels, s.size = ds.Shape()
	defer func() {
		if err != nil { // training goes on without, and needs the memory
			for _, t := range s.pieces {
				d.Release(t)
			}
		}
	}()
	var piece []uint32
	used := uint64(0)
	flush := func() {
		if len(piece) > 0 {
			t := d.Indices("resident samples", len(piece))
			d.WriteIndices(t, piece)
			s.pieces, piece = append(s.pieces, t), piece[:0]
		}
	}
	limit := min(pieceWords, int(d.Info().Limits.BindingSize/4))
	for _, id := range ids {
		words, bits, err := s.ds.Packed(id)
		if err != nil {
			return nil, err
		}
		if used += 4 * uint64(len(words)); used > room {
			return nil, fmt.Errorf("%w: more than %d MiB", ErrRoom, room>>20)
		}
		if len(words) > limit {
			return nil, fmt.Errorf("%w: one takes %d words of %d that can be bound", ErrRoom, len(words), limit)
		}
		if len(piece)+len(words) > limit {
			flush()
		}
		packing := map[int]gpu.Packing{8: gpu.PackedUint8, 16: gpu.PackedInt16, 32: gpu.PackedFloat32}[bits]
		s.at[id] = place{len(s.pieces), len(piece) * packing.PerWord(), packing}
		piece = append(piece, words...)
		if d.Err() != nil {
			break
		}
	}
	flush()
	n := 0
	for _, v := range s.three() {
		n += v
	}
	s.neighbours, s.weights = d.Indices("neighbours", 2*n*batch), d.Tensor("weights", n*batch)
	s.neighboursAt, s.weightsAt = make([]uint32, 2*n*batch), make([]float32, n*batch)
	return s, d.Err()
}

func (s *Source) three() [3]int {
	n := [3]int{1, 1, 1}
	copy(n[3-len(s.size):], s.size)
	return n
}

// Record records what writes the batch of a step to x (B, C·H·W[·D]).
func (s *Source) Record(e *gpu.Encoder, step int, x gpu.Tensor) error {
	n := s.three()
	voxels, sides := n[0]*n[1]*n[2], n[0]+n[1]+n[2]
	out := [3]int{n[1] * n[2], n[2], 1}
	ids := s.Samples(step)
	samples := make([]gpu.Sample, len(ids))
	for b, id := range ids {
		geometry := transform.Geometry{Box: transform.Whole(s.size)}
		if s.augment.Active() {
			geometry = s.augment.Draw(transform.Rand(s.seed, uint64(step), uint64(id)), s.size)
		}
		t := geometry.Tables(s.size)
		at := s.at[id]
		sample := gpu.Sample{Packing: at.packing, First: at.first, From: n, Table: b * sides, Out: b * s.channels * voxels}
		k := b * sides
		for a := range 3 {
			sample.Size[a], sample.Stride[a] = n[a], out[t.Axis[a]]
			for i := range n[a] {
				s.neighboursAt[2*k], s.neighboursAt[2*k+1], s.weightsAt[k] = uint32(t.Low[a][i]), uint32(t.High[a][i]), t.Weight[a][i]
				k++
			}
		}
		samples[b] = sample
	}
	s.device.WriteIndices(s.neighbours, s.neighboursAt)
	s.device.Write(s.weights, s.weightsAt)
	for b, id := range ids {
		e.CropResize(x, s.pieces[s.at[id].piece], s.neighbours, s.weights, samples[b], s.channels)
	}
	if s.ds.Normalization() == data.NormalizeZ {
		e.Standardize(x.Reshape(len(ids)*s.channels, voxels), transform.Epsilon)
	}
	return s.device.Err()
}

// Loads reports whether the loader makes the batches of a training by
// data.resident, which needs used bytes of the device's memory.
func Loads(c *config.Config, info gpu.Info, used uint64, ds data.Dataset) bool {
	return c.Data.Resident == "off" || c.Data.Resident == "auto" && !Wanted(info, used, ds, c.Augment())
}

// Choose is the source of c's training by data.resident: the loader itself, or
// its batches of the samples ids made on the device. why says in a sentence what
// was chosen, "" where there was nothing to choose.
func Choose(c *config.Config, d *gpu.Device, ds data.Dataset, loader *data.Loader, ids []int) (src jepa.Source, why string, err error) {
	m, err := jepa.EstimateMemory(d.Info(), c.Config)
	if err != nil {
		return nil, "", err
	}
	info, used, a := d.Info(), m.Total(), c.Augment()
	if Loads(c, info, used, ds) {
		return loader, "", nil
	}
	if why := Why(ds, a); why != "" {
		return nil, "", fmt.Errorf("data.resident = \"on\": %s", why)
	}
	s, err := New(d, ds, loader, ids, a, c.Seed, c.BatchSize, Room(info, used))
	switch {
	case errors.Is(err, ErrRoom) && c.Data.Resident == "auto":
		return loader, "samples stay in the computer's memory: " + err.Error(), nil
	case err != nil:
		return nil, "", err
	}
	return s, fmt.Sprintf("%d samples stay on the device: %d MiB", len(ids), s.Bytes()>>20), nil
}

// Bytes that the samples take on the device.
func (s *Source) Bytes() uint64 {
	n := uint64(0)
	for _, t := range s.pieces {
		n += 4 * uint64(t.Len())
	}
	return n
}
