package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/internal/embed"
	"wgjepa/internal/patchmap"
	"wgjepa/jepa/probe"
)

// mapOptions are the flags of feature maps.
type mapOptions struct {
	dir      string
	channels int    // principal components, 0 for all features
	grid     string // patches or scan
}

// componentsFile holds the principal components of the maps beside it.
const componentsFile = "components.safetensors"

// Patch features that the components are of: of samples spread over all, thinned.
const (
	componentSamples = 32
	componentRows    = 20_000
)

// featureMaps writes maps.
type featureMaps struct {
	mapOptions
	ds         data.Spaced
	stream     *embed.Stream
	components *probe.Components // nil: all features
	names      fileNames
}

// openMaps finds the components of the maps: those beside them, or of these samples.
func (e *embedding) openMaps(ctx context.Context) (*featureMaps, error) {
	ds, ok := e.ds.(data.Spaced)
	if !ok {
		return nil, errors.New("these data have no place in space: leave --maps out")
	}
	m := &featureMaps{mapOptions: e.o.maps, ds: ds, stream: e.stream, names: newFileNames(ds, ".features.nii.gz")}
	if m.channels() > e.stream.Dim() {
		return nil, fmt.Errorf("--channels is %d: the encoder has %d features", m.mapOptions.channels, e.stream.Dim())
	}
	if m.mapOptions.channels == 0 {
		return m, nil
	}
	path := filepath.Join(m.dir, componentsFile)
	var err error
	if m.components, err = readComponents(path, e.weights, m.mapOptions.channels); !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	e.c.say("maps: principal components of patch features, of up to %d samples", componentSamples)
	if m.components, err = e.principalComponents(ctx, m.mapOptions.channels); err != nil {
		return nil, err
	}
	return m, writeComponents(path, e.weights, m.components)
}

// channels of a map.
func (m *featureMaps) channels() int {
	if m.mapOptions.channels == 0 {
		return m.stream.Dim()
	}
	return m.mapOptions.channels
}

// write writes the map of one sample.
func (m *featureMaps) write(s embed.Sample) error {
	n, D := s.Grid.Len(), m.stream.Dim()
	z := probe.Matrix{Rows: n, Cols: D, Data: s.Tokens}
	if m.components != nil {
		z = m.components.Transform(z)
	}
	values := make([]float32, len(z.Data))
	for p := range n {
		for k, v := range z.Row(p) {
			values[k*n+p] = v
		}
	}
	space := m.ds.Space(s.Index)
	affine, _ := m.stream.Affine(s.Index)
	path := filepath.Join(m.dir, m.names.of(s.Index))
	if m.grid == "scan" {
		return s.Grid.WriteOnScan(path, values, z.Cols, affine, space.Stored, space.StoredAffine)
	}
	return s.Grid.Write(path, values, z.Cols, affine)
}

// principalComponents of the patch features of some samples.
func (e *embedding) principalComponents(ctx context.Context, k int) (*probe.Components, error) {
	n := min(e.ds.Len(), componentSamples)
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i * e.ds.Len() / n
	}
	o := e.stream.Options
	o.Tokens = true
	some, err := embed.New(embed.Subset(e.ds, ids), e.features, e.features.Config, o)
	if err != nil {
		return nil, err
	}
	x := probe.Matrix{Cols: e.stream.Dim()}
	share := max(1, componentRows/n)
	err = some.Run(ctx, 0, func(s embed.Sample) error {
		if s.Err != nil {
			return nil // told when its turn comes
		}
		every := max(1, (s.Grid.Len()+share-1)/share)
		for p := 0; p < s.Grid.Len(); p += every {
			x.Data = append(x.Data, s.Tokens[p*x.Cols:(p+1)*x.Cols]...)
			x.Rows++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if x.Rows <= k {
		return nil, fmt.Errorf("%d patches are too few for %d principal components: lower --channels, or take all features with --channels 0", x.Rows, k)
	}
	return probe.PCA(x, k)
}

func writeComponents(path, weights string, c *probe.Components) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	k, D := len(c.Vectors), len(c.Mean)
	var vectors []float64
	for _, v := range c.Vectors {
		vectors = append(vectors, v...)
	}
	return checkpoint.Write(path, []checkpoint.Entry{
		{Name: "mean", Shape: []int{D}, Data: c.Mean}, {Name: "components", Shape: []int{k, D}, Data: vectors}, {Name: "variance", Shape: []int{k}, Data: c.Variance},
	}, map[string]string{"weights": weights}, false)
}

// readComponents reads the components that earlier maps in the folder have.
func readComponents(path, weights string, k int) (*probe.Components, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	other := fmt.Errorf("%s: the maps there are of other weights or channels: choose another folder, or remove it", path)
	if f.Metadata()["weights"] != weights {
		return nil, other
	}
	mean, _, err := f.Float64s("mean")
	if err != nil {
		return nil, err
	}
	vectors, shape, err := f.Float64s("components")
	if err != nil {
		return nil, err
	}
	if len(shape) != 2 || shape[0] != k || shape[1] != len(mean) {
		return nil, other
	}
	c := &probe.Components{Mean: mean}
	for i := range k {
		c.Vectors = append(c.Vectors, vectors[i*len(mean):(i+1)*len(mean)])
	}
	c.Variance, _, err = f.Float64s("variance")
	return c, err
}

// fileNames gives each sample a file name of its own.
type fileNames struct {
	ds     data.Dataset
	suffix string
	number bool // names alone are not different
}

func newFileNames(ds data.Dataset, suffix string) fileNames {
	seen := map[string]bool{}
	for i := range ds.Len() {
		name := patchmap.FileName(ds.Name(i), "")
		if seen[name] || name == "" {
			return fileNames{ds, suffix, true}
		}
		seen[name] = true
	}
	return fileNames{ds, suffix, false}
}

func (f fileNames) of(i int) string {
	if f.number {
		return patchmap.FileName(f.ds.Name(i), fmt.Sprintf(".%d%s", i, f.suffix))
	}
	return patchmap.FileName(f.ds.Name(i), f.suffix)
}
