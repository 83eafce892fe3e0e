package jepa

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/model"
)

// stateFormat names the layout of a state file; a change of it is a new name.
const stateFormat = "wgjepa state 1"

// weightsFormat names the layout of exported weights.
const weightsFormat = "wgjepa weights 1"

// ErrOtherRun is wrapped when a checkpoint belongs to another configuration or
// other data.
var ErrOtherRun = errors.New("the checkpoint is of another run")

// tensors lists what makes up the training state, by the names in the file.
func (t *Trainer) tensors(optimizer bool) []namedTensor {
	var list []namedTensor
	for _, n := range t.networks() {
		for _, p := range n.arena.All() {
			list = append(list, namedTensor{n.name + "." + p.Name, p.Shape, p.Value})
		}
	}
	if !optimizer {
		return list
	}
	for i, n := range []network{{ContextEncoder, t.contextWeights.Arena}, {predictorName, t.predictorWeights.Arena}} {
		o := t.optimizers[i]
		for _, m := range []struct {
			name string
			t    gpu.Tensor
		}{{"optimizer.m", o.m}, {"optimizer.v", o.v}, {"optimizer.vmax", o.vmax}} {
			if !m.t.IsNil() {
				for _, p := range n.arena.Params {
					list = append(list, namedTensor{m.name + "." + n.name + "." + p.Name, p.Shape, n.arena.Part(m.t, p)})
				}
			}
		}
	}
	return list
}

type namedTensor struct {
	name  string
	shape []int
	value gpu.Tensor
}

// readEntries reads tensors from a device: float64 from the cpu driver, which
// computes in it, float32 from a GPU.
func readEntries(d *gpu.Device, list []namedTensor, exact bool) ([]checkpoint.Entry, error) {
	if exact {
		return read[float64](d, list)
	}
	return read[float32](d, list)
}

func read[T float32 | float64](d *gpu.Device, list []namedTensor) ([]checkpoint.Entry, error) {
	entries, values, data := make([]checkpoint.Entry, len(list)), make([]gpu.Tensor, len(list)), make([][]T, len(list))
	for i, n := range list {
		values[i], data[i] = n.value, make([]T, n.value.Len())
		entries[i] = checkpoint.Entry{Name: n.name, Shape: n.shape, Data: data[i]}
	}
	return entries, gpu.ReadAll(d, values, data)
}

// Save writes the exact training state to path, atomically, and keeps the file
// before it. It belongs between updates, not within an accumulation.
// fingerprint is that of the data.
func (t *Trainer) Save(path, fingerprint string) error {
	if t.step%t.Config.AccumulateGradBatches != 0 {
		panic("jepa: Save within an accumulation of gradients")
	}
	entries, err := readEntries(t.device, t.tensors(true), t.device.Info().Kind == gpu.Twins)
	if err != nil {
		return fmt.Errorf("jepa: save: %w", err)
	}
	return checkpoint.Write(path, entries, map[string]string{
		"format": stateFormat, "config": string(t.Config.TOML()), "step": strconv.Itoa(t.step),
		"steps_per_epoch": strconv.Itoa(t.Schedule.StepsPerEpoch), "data": fingerprint, "device": t.device.Info().Name, "note": t.Note,
	}, true)
}

// Export writes the three networks' weights in float32 to path, with the
// configuration that they belong to.
func (t *Trainer) Export(path string) error {
	entries, err := readEntries(t.device, t.tensors(false), false)
	if err != nil {
		return fmt.Errorf("jepa: export: %w", err)
	}
	return checkpoint.Write(path, entries, map[string]string{
		"format": weightsFormat, "config": string(t.Config.TOML()), "step": strconv.Itoa(t.step), "note": t.Note,
	}, false)
}

// ReadConfig returns the configuration in the metadata of a state or weights
// file.
func ReadConfig(f *checkpoint.File) (Config, error) {
	m := f.Metadata()
	if format := m["format"]; format != stateFormat && format != weightsFormat {
		return Config{}, fmt.Errorf("jepa: %s is neither a checkpoint nor weights of this program: its format is %q", f.Path(), format)
	}
	c, err := ParseConfig([]byte(m["config"]))
	if err != nil {
		return c, fmt.Errorf("jepa: %s: %w", f.Path(), err)
	}
	err = c.Validate() // completes c
	return c, err
}

// ReadNote returns the Note of the trainer that wrote the file.
func ReadNote(f *checkpoint.File) string { return f.Metadata()["note"] }

// Load continues from the state in f: the run must be of the same
// configuration and data.
func (t *Trainer) Load(f *checkpoint.File, fingerprint string) error {
	m := f.Metadata()
	if m["format"] != stateFormat {
		return fmt.Errorf("jepa: %s: its format is %q, not %q: train again, or use the version that wrote it", f.Path(), m["format"], stateFormat)
	}
	if diff := firstDifference(m["config"], string(t.Config.TOML())); diff != "" {
		return fmt.Errorf("jepa: %s: %w: %s", f.Path(), ErrOtherRun, diff)
	}
	if m["data"] != fingerprint {
		return fmt.Errorf("jepa: %s: %w: it was trained on other data (%s, here %s)", f.Path(), ErrOtherRun, m["data"], fingerprint)
	}
	if got := strconv.Itoa(t.Schedule.StepsPerEpoch); m["steps_per_epoch"] != got {
		return fmt.Errorf("jepa: %s: %w: an epoch had %s updates, here %s", f.Path(), ErrOtherRun, m["steps_per_epoch"], got)
	}
	step, err := strconv.Atoi(m["step"])
	if err != nil || step < 0 || step%t.Config.AccumulateGradBatches != 0 {
		return fmt.Errorf("jepa: %s: its step is %q", f.Path(), m["step"])
	}
	if err := writeTensors(t.device, f, t.tensors(true)); err != nil {
		return err
	}
	t.step = step
	return nil
}

// writeTensors writes the tensors of f to a device. All is checked before anything
// changes.
func writeTensors(d *gpu.Device, f *checkpoint.File, list []namedTensor) error {
	for _, n := range list {
		if err := checkShape(f, n.name, n.shape); err != nil {
			return err
		}
	}
	for _, n := range list {
		values, _, err := f.Float64s(n.name)
		if err != nil {
			return fmt.Errorf("jepa: %w", err)
		}
		d.WriteFloat64(n.value, values)
	}
	return d.Err()
}

func checkShape(f *checkpoint.File, name string, shape []int) error {
	info, ok := f.Info(name)
	if !ok {
		return fmt.Errorf("jepa: %s has no tensor %s", f.Path(), name)
	}
	if fmt.Sprint(info.Shape) != fmt.Sprint(shape) {
		return fmt.Errorf("jepa: %s: %s has shape %v, the model's is %v", f.Path(), name, info.Shape, shape)
	}
	return nil
}

// firstDifference names the first line in which two configurations differ.
func firstDifference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("its configuration has %q, this one %q", x, y)
		}
	}
	return ""
}

// OpenState opens the state file at path, or the one before it where that one
// is damaged; note then says so. Where there is none the error wraps
// fs.ErrNotExist.
func OpenState(path string) (f *checkpoint.File, note string, err error) {
	f, note, err = checkpoint.Latest(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("jepa: there is no checkpoint at %s to resume from: %w", path, fs.ErrNotExist)
	}
	return f, note, err
}

// Features computes frozen features of whole samples: those of the context
// encoder or of the target encoder.
type Features struct {
	Config model.ViT
	Batch  int // samples at once

	device *gpu.Device
	run    *model.Encoder
	x      gpu.Tensor
	pooled gpu.Tensor
}

// Features reads the trainer's own encoder: the context encoder, or the
// target encoder with target. It shares the trainer's workspace.
func (t *Trainer) Features(target bool) *Features {
	f := &Features{Config: t.Config.Encoder, Batch: t.Config.BatchSize, device: t.device, run: t.reader, x: t.x.Reshape(t.Config.BatchSize, t.x.Dim(-1))}
	if target {
		f.run = t.target
	}
	if t.pooledFeatures.IsNil() {
		t.pooledFeatures = t.device.Tensor("pooled features", f.Batch, f.Config.EmbedDim)
	}
	f.pooled = t.pooledFeatures
	return f
}

// Untrained is the encoder as it was before any training, for as long as use
// takes: its weights lie in the trainer's workspace, so that nothing else needs
// memory.
func (t *Trainer) Untrained(use func(*Features) error) (err error) {
	f := t.Features(false)
	t.device.Scope(func() {
		w := model.NewEncoderWeights(t.device, "untrained encoder", t.Config.Encoder, false)
		w.Initialize(t.Config.Seed)
		if err = t.device.Err(); err != nil {
			return
		}
		f.run = t.target.With(w)
		err = use(f)
	})
	return err
}

// Networks that a state or weights file holds.
const (
	ContextEncoder = "context_encoder"
	TargetEncoder  = "target_encoder"
	predictorName  = "predictor"
)

// LoadFeatures opens the encoder of that name in a state or weights file.
func LoadFeatures(d *gpu.Device, f *checkpoint.File, encoder string, batch int) (*Features, error) {
	c, err := ReadConfig(f)
	if err != nil {
		return nil, err
	}
	promised := model.NewEncoderWeights(gpu.Estimate(d.Info()), encoder, c.Encoder, false)
	if err := (network{encoder, promised.Arena}).isIn(f); err != nil {
		return nil, err
	}
	fs, w := newFeatures(d, c.Encoder, encoder, batch)
	return fs, network{encoder, w.Arena}.load(f)
}

// network is one of the three, by its name in files.
type network struct {
	name  string
	arena *model.Arena
}

// networks are the three of a run.
func (t *Trainer) networks() []network {
	return []network{
		{ContextEncoder, t.contextWeights.Arena},
		{TargetEncoder, t.targetWeights.Arena},
		{predictorName, t.predictorWeights.Arena},
	}
}

// isIn checks that the file has all tensors of n, which may be laid out on a
// device that only counts: a file's configuration may promise more than the
// file holds, so it is asked before anything is allocated.
func (n network) isIn(f *checkpoint.File) error {
	for _, p := range n.arena.All() {
		if err := checkShape(f, n.name+"."+p.Name, p.Shape); err != nil {
			return err
		}
	}
	return nil
}

// load sets all values from the file.
func (n network) load(f *checkpoint.File) error {
	for _, p := range n.arena.All() {
		values, shape, err := f.Float64s(n.name + "." + p.Name)
		if err != nil {
			return fmt.Errorf("jepa: %w", err)
		}
		if err := n.arena.Set(p.Name, shape, values); err != nil {
			return err
		}
	}
	return nil
}

// UntrainedFeatures is the encoder of c as it is before any training: what a
// trained one is compared with.
func UntrainedFeatures(d *gpu.Device, c Config, batch int) (*Features, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	fs, w := newFeatures(d, c.Encoder, ContextEncoder, batch)
	w.Initialize(c.Seed)
	return fs, d.Err()
}

func newFeatures(d *gpu.Device, v model.ViT, label string, batch int) (*Features, *model.EncoderWeights) {
	w := model.NewEncoderWeights(d, label, v, false)
	return &Features{
		Config: v, Batch: batch, device: d, run: model.NewEncoder(w, label, batch, v.Patches(), false),
		x:      d.Tensor("x", batch, v.SampleLen()),
		pooled: d.Tensor("pooled features", batch, v.EmbedDim),
	}, w
}

// Tokens writes the patch features (n, P, D) of the n samples x (n, C, …) to
// dst; n is at most Batch.
func (f *Features) Tokens(x []float32, n int, dst []float32) error {
	e, z := f.forward(x, n)
	if err := e.Submit(); err != nil {
		return fmt.Errorf("jepa: features: %w", err)
	}
	return f.device.Read(z, dst[:z.Len()])
}

// Pooled writes the embeddings (n, D), the mean of each sample's patch
// features, to dst.
func (f *Features) Pooled(x []float32, n int, dst []float32) error {
	e, z := f.forward(x, n)
	pooled := f.pooled.Reshape(n, z.Cols())
	e.MeanPool(pooled, z)
	if err := e.Submit(); err != nil {
		return fmt.Errorf("jepa: features: %w", err)
	}
	return f.device.Read(pooled, dst[:pooled.Len()])
}

func (f *Features) forward(x []float32, n int) (*gpu.Encoder, gpu.Tensor) {
	size := f.x.Len() / f.Batch
	if n < 1 || n > f.Batch || len(x) < n*size {
		panic(fmt.Sprintf("jepa: features of %d samples in %d numbers: at most %d of %d each", n, len(x), f.Batch, size))
	}
	f.device.Write(f.x, x[:n*size])
	e := f.device.Begin()
	return e, f.run.Forward(e, f.x.Reshape(n, size), gpu.Tensor{})
}

// firstNonfinite names the first tensor, in the order of a step, that holds a
// NaN or an infinity, or returns "".
func (t *Trainer) firstNonfinite() string {
	list := []namedTensor{{name: "the input batch", value: t.x}}
	for _, n := range t.tensors(true) {
		list = append(list, namedTensor{name: n.name, value: n.value})
	}
	list = append(list, namedTensor{name: "the target features", value: t.zTarget}, namedTensor{name: "the context features", value: t.z}, namedTensor{name: "the predictions", value: t.prediction})
	for _, n := range t.networks() {
		for _, p := range n.arena.Params {
			if !p.Grad.IsNil() {
				list = append(list, namedTensor{name: "the gradient of " + n.name + "." + p.Name, value: p.Grad})
			}
		}
	}
	count := []float32{0}
	for _, n := range list {
		e := t.device.Begin()
		e.Nonfinite(t.scalar(slotNonfinite, 1), n.value)
		if e.Submit() != nil || t.device.Read(t.scalar(slotNonfinite, 1), count) != nil {
			return ""
		}
		if count[0] > 0 {
			return n.name
		}
	}
	return ""
}
