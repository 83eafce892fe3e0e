package data

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"wgjepa/data/numpy"
	"wgjepa/data/phantom"
	"wgjepa/data/volume"
)

// source reads one raw sample; safe for concurrent use.
type source interface {
	// read appends the values (C, H, W[, D]) to dst.
	read(dst []float32) ([]float32, error)
}

// item is one sample before preprocessing.
type item struct {
	name      string
	header    volume.Header
	image     source
	voxels    source // labels of voxels, nil without
	class     int    // −1 without
	label     string // as the source writes it, until it is resolved to a class or a target
	tabled    bool   // the label is a table's
	target    float64
	hasTarget bool
	subject   string // until all are found: what a table says
	split     string // "" where the source defines none
	resident  bool   // reading costs little already: not cached
}

type fileSource struct{ image volume.Image }

func (f fileSource) read(dst []float32) ([]float32, error) { return f.image.Read(dst) }

// labelSource is the label map of an image, brought to the image's order of axes where it
// is stored in another.
type labelSource struct {
	labels volume.Image
	image  volume.Header
}

func (l labelSource) read(dst []float32) ([]float32, error) {
	h, want := l.labels.Header(), l.image
	want.Channels = 1
	same := slices.Equal(h.Size, want.Size)
	if h.Channels == 1 && !(same && near(h.Affine, want.Affine)) && len(h.Size) == 3 && len(want.Size) == 3 && volume.SameGrid(want, h) == nil {
		v, err := l.labels.Read(nil)
		if err != nil {
			return dst, err
		}
		at := len(dst)
		dst = slices.Grow(dst, len(v))[:at+len(v)]
		return dst, volume.Regrid(dst[at:], v, want, h)
	}
	if !same || h.Channels != 1 {
		return dst, fmt.Errorf("label map is %v with %d channels, its image %v", h.Size, h.Channels, want.Size)
	}
	return l.labels.Read(dst)
}

// elsewhere says where a label map's voxels are not those of its image.
func (l labelSource) elsewhere() error {
	h, want := l.labels.Header(), l.image
	if len(h.Size) != 3 || len(want.Size) != 3 || near(h.Affine, want.Affine) {
		return nil
	}
	return volume.SameGrid(want, h)
}

// near says that two affines differ by no more than rounding to float32.
func near(a, b [4][4]float64) bool {
	for i := range a {
		for j := range a[i] {
			if math.Abs(a[i][j]-b[i][j]) > 1e-4*(1+math.Abs(a[i][j])) {
				return false
			}
		}
	}
	return true
}

// rowSource is a sample of an array; channels last becomes channels first.
type rowSource struct {
	rows         *numpy.Rows
	i            int
	channelsLast int // C, 0 where the order is right
}

func (r rowSource) read(dst []float32) ([]float32, error) {
	at := len(dst)
	dst, err := r.rows.Read(r.i, dst)
	if err == nil && r.channelsLast > 1 {
		volume.ChannelsFirst(dst[at:], r.channelsLast)
	}
	return dst, err
}

// phantomSource generates torso i; labels chooses its voxel labels instead of the image.
type phantomSource struct {
	config phantom.Config
	seed   uint64
	i      int
	labels bool
}

func (p phantomSource) read(dst []float32) ([]float32, error) {
	n, at := p.config.Len(), len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	labels := make([]uint8, n)
	p.config.Generate(p.seed, uint64(p.i), dst[at:], labels)
	if p.labels {
		for i, l := range labels {
			dst[at+i] = float32(l)
		}
	}
	return dst, nil
}

// dataset implements Dataset over items.
type dataset struct {
	preprocess
	items        []item
	classes      []string
	voxelClasses int
	fingerprint  string
	splits       map[string][]int
	cache        cache
	replaced     sync.Map  // by sample: voxels that are not finite
	scratch      sync.Pool // *[]float32
}

func (d *dataset) Len() int                   { return len(d.items) }
func (d *dataset) Shape() (int, []int)        { return d.channels, d.size }
func (d *dataset) Name(i int) string          { return d.items[i].name }
func (d *dataset) Header(i int) volume.Header { return d.items[i].header }
func (d *dataset) Classes() []string          { return d.classes }
func (d *dataset) VoxelClasses() int          { return d.voxelClasses }
func (d *dataset) Fingerprint() string        { return d.fingerprint }

func (d *dataset) Split(name string) []int { return append([]int{}, d.splits[name]...) }

func (d *dataset) Normalize(x []float32) { d.normalize(x) }

func (d *dataset) Label(i int) (int, bool) {
	c := d.items[i].class
	return max(c, 0), c >= 0
}

func (d *dataset) Target(i int) (float64, bool) { return d.items[i].target, d.items[i].hasTarget }

func (d *dataset) Subject(i int) string { return d.items[i].subject }

func (d *dataset) voxelCount() int {
	n := 1
	for _, s := range d.size {
		n *= s
	}
	return n
}

func (d *dataset) Read(i int, dst []float32) error {
	if len(dst) != d.channels*d.voxelCount() {
		panic(fmt.Sprintf("data: Read: dst has %d values, a sample %d×%v", len(dst), d.channels, d.size))
	}
	if p := d.cache.get(i); p != nil {
		p.unpack(dst)
	} else if err := d.load(i, dst); err != nil {
		return fmt.Errorf("data: %s: %w", d.items[i].name, err)
	}
	d.normalize(dst)
	return nil
}

func (d *dataset) ReadRaw(i int, dst []float32) ([]float32, error) {
	v, err := d.items[i].image.read(dst)
	if err != nil {
		return v, fmt.Errorf("data: %s: %w", d.items[i].name, err)
	}
	return v, nil
}

// load reads, checks and brings sample i into its geometry, and offers it to the cache.
func (d *dataset) load(i int, dst []float32) error {
	it := &d.items[i]
	raw, release := d.buffer()
	defer release()
	v, err := it.image.read((*raw)[:0])
	*raw = v
	if err != nil {
		return err
	}
	if len(v) != it.header.Len() {
		return fmt.Errorf("the file changed while it was used")
	}
	bad := 0
	for k, x := range v {
		if x != x || math.IsInf(float64(x), 0) {
			bad++
			v[k] = 0
		}
	}
	if bad > 0 && !d.ZeroNonFinite {
		return fmt.Errorf("%d of %d voxels are NaN or Inf: mend the file, or have them read as 0", bad, len(v))
	}
	if bad > 0 {
		d.replaced.Store(i, bad)
	}
	d.geometry(dst, v, d.place(it.header))
	if !it.resident {
		d.cache.put(i, dst)
	}
	return nil
}

// buffer lends a slice for raw samples.
func (d *dataset) buffer() (*[]float32, func()) {
	b, _ := d.scratch.Get().(*[]float32)
	if b == nil {
		b = new([]float32)
	}
	return b, func() { d.scratch.Put(b) }
}

func (d *dataset) VoxelLabels(i int, dst []uint8) (bool, error) {
	if len(dst) != d.voxelCount() {
		panic(fmt.Sprintf("data: VoxelLabels: dst has %d voxels, a sample %v", len(dst), d.size))
	}
	if d.items[i].voxels == nil {
		return false, nil
	}
	labels, err := d.rawLabels(i)
	if err != nil {
		return false, fmt.Errorf("data: labels of %s: %w", d.items[i].name, err)
	}
	d.labels(dst, labels, d.place(d.items[i].header))
	return true, nil
}

// rawLabels reads label maps of any type: whole numbers 0 to 255.
func (d *dataset) rawLabels(i int) ([]uint8, error) {
	it := &d.items[i]
	raw, release := d.buffer()
	defer release()
	v, err := it.voxels.read((*raw)[:0])
	*raw = v
	if err != nil {
		return nil, err
	}
	labels := make([]uint8, len(v))
	for k, x := range v {
		r := math.RoundToEven(float64(x))
		if !(math.Abs(float64(x)-r) < 1e-3) || r < 0 || r > 255 {
			return nil, fmt.Errorf("a voxel holds %g; labels are whole numbers 0 to 255", x)
		}
		labels[k] = uint8(r)
	}
	return labels, nil
}

// Phantoms returns count generated torsos of a series as a Dataset, without files.
func Phantoms(config phantom.Config, count int, seed uint64, opt Options) (Dataset, *Report, error) {
	if err := config.Validate(); err != nil {
		return nil, nil, err
	}
	if err := opt.Validate(); err != nil {
		return nil, nil, err
	}
	if count < 1 {
		return nil, nil, fmt.Errorf("data: %d phantoms; at least one is needed", count)
	}
	if opt.Labels != "" {
		return nil, nil, fmt.Errorf("data: %s: generated samples have labels of their own, a table of others does not fit", opt.Labels)
	}
	c := newCollection(volume.OS, opt)
	S := config.Size
	for i := range count {
		c.items = append(c.items, item{
			name:   phantom.Name(i),
			header: volume.Header{Format: "phantom", Type: "float32", Channels: 1, Size: []int{S, S, S}, Spacing: []float64{1, 1, 1}, Affine: config.Affine(), Frames: 1},
			image:  phantomSource{config, seed, i, false},
			voxels: phantomSource{config, seed, i, true},
			class:  config.Class(seed, uint64(i)),
		})
	}
	c.classes = phantom.Classes
	fmt.Fprintf(c.hash, "phantoms %d %g %d %d", config.Size, config.Noise, seed, count)
	c.generated = len(phantom.Tissues)
	return c.finish()
}
