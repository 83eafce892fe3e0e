// Package resident keeps the samples of a training on the device, packed as the
// files have them, and makes every batch there: cropped, resized, flipped, turned,
// blurred, with noise, normalised and erased as a data.Loader does on the processor,
// the same within float32 rounding. Only the tables of the draws are sent at each
// step.
//
// A sample is kept as uint8, int16, float16 or float32, whichever is the smallest
// that holds it exactly. Floats are never rounded to float16 for room: that would
// move them by 5e-4, and training on the device would not be training on the
// processor.
package resident

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

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
	batch    int
	channels int
	size     []int
	device   *gpu.Device

	pieces []gpu.Tensor
	at     map[int]place

	// What a batch is made with. On the device:
	rescales            gpu.Tensor // (B·C, 4), what normalises a sample, then what its channels are like
	neighbours, weights gpu.Tensor // of crops
	blurred             gpu.Tensor // (B, C·V)
	radii, gaussians    gpu.Tensor // (B), (B, 1 + largest radius)
	amplitudes, keys    gpu.Tensor // (B), (B, 2): of noise
	// The same on the host, kept from step to step.
	rescalesAt   []float32
	neighboursAt []uint32
	weightsAt    []float32
	radiiAt      []uint32
	gaussiansAt  []float32
	amplitudesAt []float32
	keysAt       []uint32
	boxes        []transform.Box
	ids          []int
	crops        []gpu.Sample
	tables       transform.Tables
	gaussian     []float64
	source       *rand.PCG
	draws        *rand.Rand
}

// place is where a sample lies, and what normalises it.
type place struct {
	piece, first int // tensor, element
	packing      gpu.Packing
	rescales     []transform.Rescale
}

// drawn says which of the rarer changes a batch has.
type drawn struct{ blur, noise, erase bool }

var packings = [...]gpu.Packing{data.Uint8: gpu.PackedUint8, data.Int16: gpu.PackedInt16, data.Float16: gpu.PackedFloat16, data.Float32: gpu.PackedFloat32}

// Wanted decides for data.resident = "auto": on a GPU of its own whose samples
// have room beside the training, which needs used bytes.
func Wanted(info gpu.Info, used uint64, ds data.Dataset) bool {
	_, ok := ds.(data.Packable)
	return ok && info.Kind != gpu.Software && info.Kind != gpu.Twins && Room(info, used) > 0
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
	packable, ok := ds.(data.Packable)
	if !ok {
		return nil, errors.New("these data cannot be packed")
	}
	s := layOut(d, packable, a, seed, batch)
	s.Loader = loader
	defer func() {
		if err != nil { // training goes on without, and needs the memory
			s.release()
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
		p, err := s.ds.Packed(id)
		if err != nil {
			return nil, err
		}
		if used += 4 * uint64(len(p.Words)); used > room {
			return nil, fmt.Errorf("%w: more than %d MiB", ErrRoom, room>>20)
		}
		if len(p.Words) > limit {
			return nil, fmt.Errorf("%w: one takes %d words of %d that can be bound", ErrRoom, len(p.Words), limit)
		}
		if len(piece)+len(p.Words) > limit {
			flush()
		}
		packing := packings[p.Element]
		s.at[id] = place{len(s.pieces), len(piece) * packing.PerWord(), packing, p.Rescale}
		piece = append(piece, p.Words...)
		if d.Err() != nil {
			break
		}
	}
	flush()
	return s, s.reserve()
}

// layOut allocates what a batch is made with.
func layOut(d *gpu.Device, ds data.Packable, a transform.Augment, seed uint64, batch int) *Source {
	s := &Source{ds: ds, augment: a, seed: seed, batch: batch, at: map[int]place{}, device: d, source: rand.NewPCG(0, 0)}
	s.draws = rand.New(s.source)
	s.channels, s.size = ds.Shape()
	rows, voxels, sides := batch*s.channels, 1, 0
	for _, n := range s.three() {
		voxels *= n
		sides += n
	}
	s.rescales, s.rescalesAt = d.Tensor("rescales", rows, 4), make([]float32, 4*rows)
	s.neighbours, s.neighboursAt = d.Indices("neighbours", 2*sides*batch), make([]uint32, 2*sides*batch)
	s.weights, s.weightsAt = d.Tensor("weights", sides*batch), make([]float32, sides*batch)
	s.crops, s.boxes = make([]gpu.Sample, batch), make([]transform.Box, batch)
	all := s.possible()
	if all.blur {
		most := 1 + transform.Radius(a.Blur[1])
		s.blurred = d.Tensor("blurred", batch, s.channels*voxels)
		s.radii, s.radiiAt = d.Indices("radii", batch), make([]uint32, batch)
		s.gaussians, s.gaussiansAt = d.Tensor("gaussians", batch, most), make([]float32, batch*most)
	}
	if all.noise {
		s.amplitudes, s.amplitudesAt = d.Tensor("amplitudes", batch), make([]float32, batch)
		s.keys, s.keysAt = d.Indices("keys", batch, 2), make([]uint32, 2*batch)
	}
	return s
}

// release frees what was allocated.
func (s *Source) release() {
	for _, t := range append(s.pieces, s.rescales, s.neighbours, s.weights, s.blurred, s.radii, s.gaussians, s.amplitudes, s.keys) {
		s.device.Release(t)
	}
}

// possible is everything that a batch may have.
func (s *Source) possible() drawn {
	a := s.augment
	if a.Chance == 0 {
		return drawn{}
	}
	return drawn{blur: a.Blur[1] > 0, noise: a.Noise[1] > 0, erase: a.Erase[1] > 0}
}

// reserve compiles every kernel that a batch may need and makes their scratch
// memory, so that no step does.
func (s *Source) reserve() error {
	s.device.Scope(func() {
		n := s.three()
		x := s.device.Tensor("batch", s.batch, s.channels*n[0]*n[1]*n[2])
		for b := range s.boxes {
			s.boxes[b] = transform.Whole(s.size)
		}
		e := s.device.Begin()
		var known [len(packings)]bool
		for id, at := range s.at {
			if !known[at.packing] {
				known[at.packing] = true
				s.place(0, id, transform.Geometry{Box: transform.Whole(s.size)})
				e.CropResize(x, s.pieces[at.piece], s.rescales, s.neighbours, s.weights, s.crops[0], s.channels)
			}
		}
		s.change(e, x, s.possible())
		e.Reserve() // a failure stays with the device
	})
	return s.device.Err()
}

// batchBytes are those of a device that batches of c's training on ds need beside the samples.
func batchBytes(info gpu.Info, c *config.Config, ds data.Packable) uint64 {
	d := gpu.Estimate(info)
	defer d.Close()
	layOut(d, ds, c.Augment(), c.Seed, c.BatchSize).reserve()
	return d.Allocated()
}

// three is the size of a sample, an image's with a first axis of 1.
func (s *Source) three() [3]int {
	n := [3]int{1, 1, 1}
	copy(n[3-len(s.size):], s.size)
	return n
}

// Record records what writes the batch of a step to x (B, C·H·W[·D]).
func (s *Source) Record(e *gpu.Encoder, step int, x gpu.Tensor) error {
	s.ids = s.Samples(s.ids[:0], step)
	all, has := s.possible(), drawn{}
	for b, id := range s.ids {
		transform.Reseed(s.source, s.seed, uint64(step), uint64(id))
		geometry, intensity := transform.Geometry{Box: transform.Whole(s.size)}, transform.Intensity{}
		if s.augment.Active() {
			geometry = s.augment.Draw(s.draws, s.size)
			intensity = s.augment.DrawIntensity(s.draws, s.size)
		}
		s.place(b, id, geometry)
		if all.blur {
			s.gauss(b, intensity.Blur)
		}
		if all.noise {
			s.amplitudesAt[b], s.keysAt[2*b], s.keysAt[2*b+1] = float32(intensity.Noise), uint32(intensity.Seed), uint32(intensity.Seed>>32)
		}
		s.boxes[b] = intensity.Box
		has.blur = has.blur || intensity.Blur > 0
		has.noise = has.noise || intensity.Noise > 0
		has.erase = has.erase || intensity.Box != transform.Box{}
	}
	d := s.device
	d.Write(s.rescales, s.rescalesAt)
	d.WriteIndices(s.neighbours, s.neighboursAt)
	d.Write(s.weights, s.weightsAt)
	if has.blur {
		d.WriteIndices(s.radii, s.radiiAt)
		d.Write(s.gaussians, s.gaussiansAt)
	}
	if has.noise {
		d.Write(s.amplitudes, s.amplitudesAt)
		d.WriteIndices(s.keys, s.keysAt)
	}
	cropped := x
	if has.blur && len(s.size)%2 == 1 { // so that the last pass along an axis ends in x
		cropped = s.blurred
	}
	for b, id := range s.ids {
		e.CropResize(cropped, s.pieces[s.at[id].piece], s.rescales, s.neighbours, s.weights, s.crops[b], s.channels)
	}
	s.change(e, x, has)
	return d.Err()
}

// place says how sample id becomes number b of a batch.
func (s *Source) place(b, id int, g transform.Geometry) {
	n := s.three()
	voxels, sides := n[0]*n[1]*n[2], n[0]+n[1]+n[2]
	stride := [3]int{n[1] * n[2], n[2], 1}
	at := s.at[id]
	s.crops[b] = gpu.Sample{Packing: at.packing, First: at.first, Voxels: voxels, Size: n, Row: b * s.channels, Table: b * sides, Out: b * s.channels * voxels}
	g.Tables(&s.tables, s.size)
	t := &s.tables
	k := b * sides
	for axis := range 3 {
		a := slices.Index(t.Axis[:], axis) // the source's
		for i := range n[axis] {
			s.neighboursAt[2*k], s.neighboursAt[2*k+1] = uint32(t.Low[a][i]*stride[a]), uint32(t.High[a][i]*stride[a])
			s.weightsAt[k] = t.Weight[a][i]
			k++
		}
	}
	for c, r := range at.rescales {
		row := s.rescalesAt[4*(b*s.channels+c):]
		for i, v := range [4]float64{r.Low, r.High, r.Shift, r.Divisor} {
			row[i] = float32(min(max(v, -math.MaxFloat32), math.MaxFloat32))
		}
	}
}

// gauss sets the weights of a blur of sample b, the middle one first.
func (s *Source) gauss(b int, sigma float64) {
	most := s.gaussians.Cols()
	row := s.gaussiansAt[b*most : (b+1)*most]
	if s.radiiAt[b] = 0; sigma == 0 {
		row[0] = 1
		return
	}
	radius := transform.Radius(sigma)
	s.radiiAt[b] = uint32(radius)
	s.gaussian = transform.Gaussian(s.gaussian[:0], sigma)
	for k, w := range s.gaussian[radius:] {
		row[k] = float32(w)
	}
}

// change records what follows the crops, as data.Augmented does it: blur, noise,
// the second normalisation, erasing.
func (s *Source) change(e *gpu.Encoder, x gpu.Tensor, has drawn) {
	n := s.three()
	voxels := n[0] * n[1] * n[2]
	rows := x.Reshape(s.batch*s.channels, voxels)
	samples := x.Reshape(s.batch, s.channels, voxels)
	if has.blur {
		from, to := x.Reshape(s.batch, s.channels*voxels), s.blurred
		if len(s.size)%2 == 1 {
			from, to = to, from
		}
		for axis := 3 - len(s.size); axis < 3; axis++ {
			e.Blur(to, from, s.radii, s.gaussians, n, axis)
			from, to = to, from
		}
	}
	if has.noise {
		e.RowMoments(s.rescales, rows, 0)
		e.Noise(samples, s.rescales, s.amplitudes, s.keys)
	}
	if !s.augment.Active() {
		return
	}
	switch s.ds.Normalization() {
	case data.NormalizeZ:
		e.RowMoments(s.rescales, rows, transform.Epsilon)
		e.Rescale(rows, s.rescales)
	case data.NormalizeForeground:
		e.ForegroundMoments(s.rescales, rows, transform.Epsilon)
		e.Rescale(rows, s.rescales)
	case data.NormalizeRobust:
		e.RowPercentiles(s.rescales, rows, data.RobustPercentiles)
		e.Rescale(rows, s.rescales)
	}
	if has.erase {
		e.RowMeans(s.rescales, rows)
		for b, box := range s.boxes {
			if box != (transform.Box{}) {
				e.Erase(samples, s.rescales, b, n, box.At, box.Size)
			}
		}
	}
}

// Loads reports whether the loader makes the batches of a training by
// data.resident, which needs used bytes of the device's memory.
func Loads(c *config.Config, info gpu.Info, used uint64, ds data.Dataset) bool {
	return c.Data.Resident == "off" || c.Data.Resident == "auto" && !Wanted(info, used, ds)
}

// Choose is the source of c's training by data.resident: the loader itself, or
// its batches of the samples ids made on the device. why says in a sentence what
// was chosen, "" where there was nothing to choose.
func Choose(c *config.Config, d *gpu.Device, ds data.Dataset, loader *data.Loader, ids []int) (src jepa.Source, why string, err error) {
	info := d.Info()
	if Loads(c, info, 0, ds) { // whatever the training needs
		return loader, "", nil
	}
	m, err := jepa.EstimateMemory(info, c.Config)
	if err != nil {
		return nil, "", err
	}
	used := m.Total()
	if p, ok := ds.(data.Packable); ok {
		used += batchBytes(info, c, p)
	}
	if Loads(c, info, used, ds) {
		return loader, "", nil
	}
	s, err := New(d, ds, loader, ids, c.Augment(), c.Seed, c.BatchSize, Room(info, used))
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
