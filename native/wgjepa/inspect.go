package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/jepa"
)

func inspectCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect PATH…",
		Short: "Say what a file of weights or an image is, or a folder",
		Long: `Says of each path what it is, by its content:

  weights  of timm, Hugging Face (a folder), nidl, the I-JEPA paper's code and this
           program (a run's folder too): which networks, of what shape, what the file does
           not tell (unknown) and what is then taken as is usual (assumed). Pickles are
           read without running what they say
  ONNX     inputs, outputs and operations of a model
  images   NIfTI, DICOM, NRRD, MetaImage, NPY, PNG, JPEG, TIFF: size, spacing, orientation,
           and figures of the intensities
  arrays   of an .npz
  folders  of images: how many of which kind, sizes, spacings, orientations, labels, and
           what cannot be read

Numbers of weights are left where they are, so large files take no longer than small ones.
It exits with 1 when one of the paths cannot be read.`,
		Example: `  wgjepa inspect runs/scans
  wgjepa inspect IN1K-vit.h.14-300e.pth.tar
  wgjepa inspect scan.nii.gz scans/
  wgjepa inspect *.safetensors --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, paths []string) error {
			bad := 0
			for i, path := range paths {
				r, err := inspectAny(path)
				if m, ok := r.(*imageReport); ok && m.Problem != "" {
					bad++
				}
				switch {
				case err != nil:
					fmt.Fprintf(c.err, "wgjepa: %v\n", err)
					bad++
				case c.json:
					c.emit(r)
				default:
					if len(paths) > 1 {
						if i > 0 {
							fmt.Fprintln(c.out)
						}
						fmt.Fprintf(c.out, "%-12s %s\n", "file", path)
					}
					fmt.Fprint(c.out, r)
				}
			}
			if bad > 0 {
				return errSaid
			}
			return nil
		},
	}
}

// inspectAny says what a file or folder is: something that is JSON, and text for a person.
func inspectAny(path string) (fmt.Stringer, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	named := func(err error) error {
		if strings.Contains(err.Error(), path+": ") {
			return err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	if s.IsDir() {
		if holdsWeights(path) {
			return inspectWeights(path)
		}
		r, err := inspectFolder(path)
		if err != nil {
			return nil, named(err)
		}
		return r, nil
	}
	head, err := headOf(path)
	if err != nil {
		return nil, named(err)
	}
	switch {
	case len(head) == 0:
		return nil, named(errors.New("the file is empty"))
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		if r, err := inspectImage(path); err == nil {
			return r, nil
		}
		r, err := inspectArrays(path)
		if err != nil {
			return nil, named(err)
		}
		return r, nil
	case bytes.HasPrefix(head, []byte("PK")):
		if r, err := inspectArrays(path); err == nil {
			return r, nil
		}
		return inspectWeights(path)
	case head[0] == 0x08: // the first field of an ONNX model
		if r, err := inspectONNX(path); err == nil {
			return r, nil
		}
	case head[0] == 0x80, len(head) > 8 && head[8] == '{':
		return inspectWeights(path)
	}
	image, err := inspectImage(path)
	if err == nil {
		return image, nil
	}
	if strings.Contains(err.Error(), "no image format that is known") {
		_, weightsErr := weights.Inspect(path)
		if weightsErr == nil {
			return inspectWeights(path)
		}
		what, _, _ := strings.Cut(strings.TrimPrefix(weightsErr.Error(), "weights: "+path+": "), ", not weights")
		return nil, fmt.Errorf("%s: neither weights nor an image: %s. Weights are .safetensors, files of torch.save, ONNX or a folder from Hugging Face; images NIfTI, DICOM, NRRD, MetaImage, NPY, NPZ, PNG, JPEG or TIFF", path, what)
	}
	return nil, named(err)
}

// headOf reads the first bytes of a file.
func headOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s, err := f.Stat(); err == nil && !s.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	head := make([]byte, 16)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 && err != io.EOF {
		return nil, err
	}
	return head[:n], nil
}

// holdsWeights reports whether a folder is a run's or Hugging Face's.
func holdsWeights(path string) bool {
	for _, name := range []string{jepa.WeightsFile, jepa.StateFile, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return true
		}
	}
	return false
}

func inspectWeights(path string) (fmt.Stringer, error) {
	r, err := inspect(path)
	if err != nil {
		return nil, err
	}
	return newInspection(path, r), nil
}

// onnxInspection is the report of a model in the JSON output.
type onnxInspection struct {
	File         string              `json:"file"`
	Kind         string              `json:"kind"` // onnx
	Bytes        int64               `json:"bytes"`
	IR           int64               `json:"ir_version"`
	Producer     string              `json:"producer,omitempty"`
	Opsets       []string            `json:"opsets"`
	Inputs       []weights.ONNXValue `json:"inputs"`
	Outputs      []weights.ONNXValue `json:"outputs"`
	Operations   map[string]int      `json:"operations"`
	Initializers int                 `json:"initializers"`
	Numbers      int64               `json:"numbers"`
	External     bool                `json:"external_data,omitempty"`
	text         string
}

func (o *onnxInspection) String() string { return o.text }

func inspectONNX(path string) (*onnxInspection, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, err := weights.InspectONNX(f, s.Size())
	if err != nil {
		return nil, err
	}
	return &onnxInspection{path, "onnx", r.Bytes, r.IR, r.Producer, r.Opsets, r.Inputs, r.Outputs, r.Operations, r.Initializers, r.Numbers, r.External, r.String()}, nil
}

func inspect(path string) (*weights.Report, error) {
	path, err := weightsOf(path)
	if err != nil {
		return nil, err
	}
	return weights.Inspect(path)
}

// weightsOf finds the weights of a run's folder: those of its end, or else its
// checkpoint. Any other path is left as it is.
func weightsOf(path string) (string, error) {
	s, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !s.IsDir() {
		return path, nil
	}
	for _, name := range []string{jepa.WeightsFile, jepa.StateFile} { // a run that is not finished has only the second
		file := runFolder(path).path(name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return path, nil
}

// inspection is a report in the JSON output.
type inspection struct {
	File      string           `json:"file"`
	Kind      string           `json:"kind"` // weights
	Format    weights.Format   `json:"format"`
	Bytes     int64            `json:"bytes"`
	Tensors   int              `json:"tensors"`
	Numbers   int64            `json:"numbers"`
	Source    string           `json:"source,omitempty"`
	Networks  []string         `json:"networks,omitempty"`
	Problem   string           `json:"problem,omitempty"`
	Encoder   *encoderReport   `json:"encoder,omitempty"`
	Predictor *predictorReport `json:"predictor,omitempty"`
	Unknown   []string         `json:"unknown,omitempty"`
	Assumed   []string         `json:"assumed,omitempty"`
	Values    []string         `json:"values,omitempty"`
	Metadata  []string         `json:"metadata,omitempty"`
	Ignored   []string         `json:"ignored,omitempty"`
	text      string
}

func (i *inspection) String() string { return i.text }

type encoderReport struct {
	ImgSize      []int   `json:"img_size"`
	PatchSize    []int   `json:"patch_size"`
	InChans      int     `json:"in_chans"`
	EmbedDim     int     `json:"embed_dim"`
	Depth        int     `json:"depth"`
	NumHeads     int     `json:"num_heads"`
	MLPRatio     float64 `json:"mlp_ratio"`
	QKVBias      bool    `json:"qkv_bias"`
	QKNorm       bool    `json:"qk_norm"`
	ClassToken   bool    `json:"class_token"`
	RegTokens    int     `json:"reg_tokens"`
	NoEmbedClass bool    `json:"no_embed_class"`
	PosEmbed     string  `json:"pos_embed"`
	PosOrder     string  `json:"pos_order"`
	PreNorm      bool    `json:"pre_norm"`
	NormEps      float64 `json:"norm_eps"`
}

type predictorReport struct {
	EmbedDim int     `json:"embed_dim"`
	Depth    int     `json:"depth"`
	NumHeads int     `json:"num_heads"`
	NormEps  float64 `json:"norm_eps"`
}

func newInspection(path string, r *weights.Report) *inspection {
	i := &inspection{
		File: path, Kind: "weights", text: r.String(), Format: r.Format, Bytes: r.Bytes, Tensors: r.Tensors, Numbers: r.Numbers, Source: r.Source, Networks: r.Networks,
		Problem: r.Problem, Values: r.Values, Metadata: r.Metadata, Ignored: r.Ignored,
	}
	if r.Problem != "" {
		return i
	}
	c := &r.Config
	i.Unknown, i.Assumed = c.Unknown, c.Assumed
	i.Encoder = &encoderReport{
		c.ImgSize, c.PatchSize, c.InChans, c.EmbedDim, c.Depth, c.NumHeads, c.MLPRatio, c.QKVBias, c.QKNorm, c.ClassToken, c.RegTokens,
		c.NoEmbedClass, c.PosEmbed, c.PosOrder, c.PreNorm, c.NormEps,
	}
	if c.Predictor.EmbedDim > 0 {
		p := predictorReport(c.Predictor)
		i.Predictor = &p
	}
	return i
}
