package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint/weights"
	"wgjepa/jepa"
)

func inspectCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE…",
		Short: "Say what a weight file is, without running anything in it",
		Long: `Says of each weight file, or folder of one, whose it is, which networks it holds, of
what shape they are, what it does not tell (unknown) and what is then taken as is
usual (assumed). Files are recognised by their content: those of timm, Hugging Face,
nidl, the I-JEPA paper's code and this program. Pickles are read without running what
they say. Numbers are left where they are, so large files take no longer than small
ones. It exits with 1 when one cannot be read.`,
		Example: `  wgjepa inspect runs/scans
  wgjepa inspect IN1K-vit.h.14-300e.pth.tar
  wgjepa inspect *.safetensors --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, paths []string) error {
			bad := 0
			for i, path := range paths {
				r, err := inspect(path)
				switch {
				case err != nil:
					fmt.Fprintf(c.err, "wgjepa: %v\n", err)
					bad++
				case c.json:
					c.emit(newInspection(path, r))
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
}

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

func newInspection(path string, r *weights.Report) inspection {
	i := inspection{
		File: path, Format: r.Format, Bytes: r.Bytes, Tensors: r.Tensors, Numbers: r.Numbers, Source: r.Source, Networks: r.Networks,
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
