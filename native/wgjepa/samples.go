package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"wgjepa/data"
	"wgjepa/internal/config"
)

// openData opens the data, says what was found and completes the configuration
// with it.
func openData(c *console, conf *config.Config) (data.Dataset, error) {
	ds, err := readData(c, conf)
	if err != nil {
		return nil, err
	}
	channels, size := ds.Shape()
	return ds, conf.Complete(channels, size)
}

// readData opens the data and says what was found.
func readData(c *console, conf *config.Config) (data.Dataset, error) {
	return readDataWith(c, conf, conf.Options())
}

// readDataWith is readData with options beyond those of the configuration.
func readDataWith(c *console, conf *config.Config, o data.Options) (data.Dataset, error) {
	if len(conf.Data.Paths) == 0 {
		return nil, usagef("no data: name files or folders, or the word %s for generated volumes", config.GeneratedData)
	}
	ds, report, err := conf.OpenWith(o)
	if err != nil {
		return nil, adviseData(err, report, conf)
	}
	c.say("data: %s", strings.ReplaceAll(report.String(), "\n", "\n      "))
	if n := len(report.Refused); n > 0 {
		c.warn("%d files could not be used and were left out", n)
	}
	return ds, nil
}

// preparation says how samples are prepared, for what must not go on with others.
func preparation(d *config.Data) string {
	return fmt.Sprintf("size %v, fit %s, pad %s, normalize %s, reorient %t, spacing %v, frame %d, frames_as_channels %t, zero_nonfinite %t",
		d.Size, d.Fit, d.Pad, d.Normalize, d.Reorient, d.Spacing, d.Frame, d.FramesAsChannels, d.ZeroNonFinite)
}

// adviseData adds to an error of reading which flag would help.
func adviseData(err error, report *data.Report, conf *config.Config) error {
	var differ *data.SizesError
	switch {
	case report == nil:
	case errors.Is(err, data.ErrAxes):
		return fmt.Errorf("%w\n--size H,W,D (or H,W) says which are wanted, with --skip-bad the others are left out", err)
	case len(report.Refused) > 0 && !conf.Data.SkipBad:
		missing := func(r data.Refusal) bool { return slices.Contains(conf.Data.Paths, r.Name) }
		if !slices.ContainsFunc(report.Refused, missing) {
			err = fmt.Errorf("%w\nwith --skip-bad they are left out", err)
		}
		if strings.Contains(err.Error(), "NaN or Inf") {
			err = fmt.Errorf("%w\nwith --set data.zero_nonfinite=true voxels that are NaN or Inf are read as 0", err)
		}
	case errors.As(err, &differ):
		size := strings.ReplaceAll(sizeText(config.SuggestSize(differ.Sizes)), "×", ",")
		return fmt.Errorf("%w\nwith --size %s, say, every sample is cropped or padded to that size, with --fit resize too it is scaled", err, size)
	}
	return err
}
