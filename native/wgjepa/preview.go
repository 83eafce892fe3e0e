package main

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"

	"github.com/spf13/cobra"

	"wgjepa/data"
	"wgjepa/internal/config"
	"wgjepa/internal/picture"
	"wgjepa/internal/view"
)

func previewCommand(c *console) *cobra.Command {
	var out string
	var step, samples int
	var flags *configFlags
	cmd := &cobra.Command{
		Use:   "preview DATA…",
		Short: "Look at data on their way to the encoder: file, preprocessed, augmented, masked",
		Long: `Draws a contact sheet of samples spread over the training part: what the file holds, in
the proportions of its voxels, what preprocessing and augmentation make of it, and the
masks of a training step. Takes the flags of train, so that a configuration can be looked
at before it is trained.`,
		Example: `  wgjepa preview scans/ --out sheet.png
  wgjepa preview scans/ --config run.toml --set data.crop_scale=[0.5,1.0] --samples 6`,
		RunE: func(_ *cobra.Command, paths []string) error {
			conf, err := flags.parse(paths)
			if err != nil {
				return err
			}
			if step < 0 || samples < 1 || samples > 100 {
				return usagef("--step is %d, --samples is %d: steps count from 0, 1 to 100 samples are shown", step, samples)
			}
			ds, err := openData(c, &conf)
			if err != nil {
				return err
			}
			m, shown, err := previewSheet(ds, &conf, step, samples)
			if err != nil {
				return err
			}
			if err := writePNG(out, m); err != nil {
				return fmt.Errorf("%s: %w", out, err)
			}
			c.result(map[string]any{"picture": out, "samples": shown}, "%s: %d samples of %d\n", filepath.Clean(out), len(shown), ds.Len())
			return nil
		},
	}
	flags = trainFlags(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "sheet.png", "the picture, a `file`")
	completeFiles(cmd, "out", "png")
	cmd.Flags().IntVar(&step, "step", 0, "the training step whose augmentation and masks are drawn")
	cmd.Flags().IntVar(&samples, "samples", 4, "how many samples are shown")
	return cmd
}

// previewSheet draws samples spread over the training part, or over all where there is
// none, and returns their names.
func previewSheet(ds data.Dataset, conf *config.Config, step, samples int) (image.Image, []string, error) {
	ids := ds.Split("train")
	if len(ids) == 0 {
		for i := range ds.Len() {
			ids = append(ids, i)
		}
	}
	samples = min(samples, len(ids))
	if samples == 0 {
		return nil, nil, errors.New("there are no samples")
	}
	drawn := conf.Config
	drawn.BatchSize = max(drawn.BatchSize, samples) // a mask for each
	masks, err := view.DrawMasks(&drawn, step)
	if err != nil {
		return nil, nil, err
	}
	var sheet []picture.Prepared
	var names []string
	for k := range samples {
		i := ids[k*len(ids)/samples]
		m, err := sampleImage(ds, i, conf.Encoder.Grid())
		if err != nil {
			return nil, nil, err
		}
		h := ds.Header(i)
		raw, err := ds.ReadRaw(i, nil)
		if err != nil {
			return nil, nil, err
		}
		p := picture.Prepared{
			Image:   m,
			About:   fmt.Sprintf(" · %s %s, %v", h.Format, h.Type, h.Size),
			Stored:  picture.Image{Name: m.Name, Channels: h.Channels, Size: h.Size, Values: picture.Finite(raw)},
			Spacing: h.Spacing, Augmented: make([]float32, len(m.Values)),
			Context: masks[k].Context, Targets: masks[k].Targets,
		}
		if err := data.Augmented(ds, conf.Augment(), conf.Seed, step, i, p.Augmented); err != nil {
			return nil, nil, err
		}
		if class, ok := ds.Label(i); ok {
			p.About += " · " + ds.Classes()[class]
		} else if x, ok := ds.Target(i); ok {
			p.About += fmt.Sprintf(" · %g", x)
		}
		sheet, names = append(sheet, p), append(names, m.Name)
	}
	_, size := ds.Shape()
	title := fmt.Sprintf("brought to %v, normalisation %s; augmentation and masks of step %d", size, conf.Data.Normalize, step)
	if !conf.Augment().Active() {
		title = fmt.Sprintf("brought to %v, normalisation %s, no augmentation; masks of step %d", size, conf.Data.Normalize, step)
	}
	return picture.Sheet(title, sheet), names, nil
}
