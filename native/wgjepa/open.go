package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"wgjepa/checkpoint"
	"wgjepa/checkpoint/weights"
	"wgjepa/data"
	"wgjepa/gpu"
	"wgjepa/internal/config"
	"wgjepa/internal/evaluate"
	"wgjepa/jepa"
)

// session is what the commands about a trained encoder begin with: how samples are read
// for it, the samples, and the device.
type session struct {
	conf    config.Config
	ds      data.Dataset
	d       *gpu.Device
	file    *checkpoint.File // of openRunOn: the run's weights
	weights *weights.Weights // of openEncoderOn: the encoder, fitted to the samples
}

// reading says what samples are read for.
type reading struct {
	once   bool // each once, whatever its part of the split: only headers are read at first
	judged bool // figures are taken of the parts of the split
}

// openRunOn opens a run of ours, and samples for it: those of paths, or the run's own.
func (c *console) openRunOn(flags *configFlags, run string, paths []string, r reading) (*session, error) {
	file, conf, err := openRun(flags, run)
	if err != nil {
		if r, e := inspect(run); e == nil && r.Source != "wgjepa" {
			err = fmt.Errorf("%s: this needs a run of wgjepa, these weights are of %s: train --init goes on from them, embed and finetune take them as they are", run, r.Source)
		}
		return nil, err
	}
	s := &session{conf: conf, file: file}
	if err := conf.ValidateOwn(); err != nil {
		s.close()
		return nil, err
	}
	if err := s.open(c, flags, run, paths, r); err != nil {
		s.close()
		return nil, err
	}
	if err := fitsRun(s.ds, file); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// openEncoderOn opens an encoder of any program, and samples that it is fitted to.
func (c *console) openEncoderOn(flags *configFlags, path string, paths []string, from *weightsFlags, r reading) (*session, error) {
	w, conf, err := openWeights(c, flags, path, from)
	if err != nil {
		return nil, err
	}
	r.judged = r.judged && w.Source == "wgjepa"
	s := &session{conf: conf}
	if err = s.open(c, flags, path, paths, r); err == nil {
		s.weights, err = fitToData(c, w, &s.conf, s.ds, from)
	}
	if err == nil {
		err = s.conf.ValidateOwn()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) open(c *console, flags *configFlags, run string, paths []string, r reading) (err error) {
	had := s.conf.Data.Paths
	if err := setPaths(&s.conf, paths); err != nil {
		return err
	}
	if !slices.Equal(had, s.conf.Data.Paths) {
		// Tables of the run's own data say nothing of others.
		for key, table := range map[string]*string{"data.labels": &s.conf.Data.Labels, "data.splits": &s.conf.Data.Splits} {
			if *table != "" && !flags.gives(key) {
				c.say("%s of the run, %s, are not of these data and are left out; --%[1]s names others", strings.TrimPrefix(key, "data."), *table)
				*table = ""
			}
		}
	}
	if s.d, err = c.open(); err != nil {
		return err
	}
	o := s.conf.Options()
	o.HeadersOnly = r.once
	if s.ds, err = readDataWith(c, &s.conf, o); err != nil || !r.judged {
		return err
	}
	return c.warnMoved(run, s.ds)
}

func (s *session) close() {
	if s.d != nil {
		s.d.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// trained lends the encoder of a run that the probes are asked about.
func (s *session) trained(batch int) evaluate.Encoder {
	return evaluate.Lend(s.d, func() (*jepa.Features, error) { return jepa.LoadFeatures(s.d, s.file, s.conf.Probe.Network(), batch) })
}

// untrained lends the encoder that a configuration begins with.
func untrained(d *gpu.Device, conf *config.Config, batch int) evaluate.Encoder {
	return evaluate.Lend(d, func() (*jepa.Features, error) { return jepa.UntrainedFeatures(d, conf.Config, batch) })
}

// openRun opens the weights of a run, given as its folder or as a file, and the
// configuration that they belong to: their own, and the paths of the data from
// config.toml beside them.
func openRun(flags *configFlags, run string) (*checkpoint.File, config.Config, error) {
	path, err := weightsOf(run)
	if err != nil {
		return nil, config.Config{}, err
	}
	folder := folderOf(run)
	if path == string(folder) {
		return nil, config.Config{}, fmt.Errorf("%s holds neither %s nor %s: train first, or name a file of weights", folder, jepa.WeightsFile, jepa.StateFile)
	}
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, config.Config{}, err
	}
	conf, err := configOf(flags, file, folder)
	if err != nil {
		file.Close()
	}
	return file, conf, err
}

func configOf(flags *configFlags, file *checkpoint.File, folder runFolder) (config.Config, error) {
	trained, err := jepa.ReadConfig(file)
	if err != nil {
		return config.Config{}, err
	}
	layers := []config.Text{{Name: "the configuration in " + file.Path(), TOML: []byte(jepa.ReadNote(file))}}
	if text, err := os.ReadFile(folder.path(configFile)); err == nil {
		layers = append(layers, config.Text{Name: folder.path(configFile), TOML: text})
	}
	if layers, err = flags.over(layers); err != nil {
		return config.Config{}, err
	}
	if key := flags.ofTraining(); key != "" {
		return config.Config{}, usagef("--set %s: that is what the weights were trained with and cannot be changed for them; keys of data, probe and finetune can", key)
	}
	conf, err := config.Parse(layers...)
	conf.Config = trained // what the weights belong to, whatever the file says
	return conf, err
}

// openWeights reads one encoder, and how data are to be read for it.
func openWeights(c *console, flags *configFlags, path string, from *weightsFlags) (*weights.Weights, config.Config, error) {
	r, err := inspect(path)
	if err != nil {
		return nil, config.Config{}, err
	}
	var conf config.Config
	if r.Source == "wgjepa" {
		file, own, err := openRun(flags, path)
		if err != nil {
			return nil, conf, err
		}
		if err := file.Close(); err != nil {
			return nil, conf, err
		}
		conf = own
	} else if conf, err = flags.parse(nil); err != nil {
		return nil, conf, err
	}
	from.network = conf.Probe.Encoder
	w, err := from.load(c, path)
	if err != nil {
		return nil, conf, err
	}
	if len(conf.Data.Size) == 0 {
		conf.Data.Size = slices.Clone(w.Config.ImgSize)
	}
	return w, conf, from.complete(&w.Config, "num_heads", "pos_embed")
}

// fitToData fits weights to the shape that the samples have.
func fitToData(c *console, w *weights.Weights, conf *config.Config, ds data.Dataset, from *weightsFlags) (*weights.Weights, error) {
	if ds.Len() == 0 {
		return nil, errors.New("the data hold no samples")
	}
	channels, size := ds.Shape()
	v, err := jepa.EncoderOf(w)
	if err != nil && !slices.Contains(w.Config.Unknown, "img_size") {
		return nil, err
	}
	conf.Encoder = v
	conf.Encoder.InChans, conf.Encoder.ImgSize, conf.Encoder.PatchSize = channels, slices.Clone(size), nil
	choosePatch(w, conf, size)
	return from.adapt(c, w, conf)
}

// fitsRun refuses samples of another shape than the run's encoder takes.
func fitsRun(ds data.Dataset, file *checkpoint.File) error {
	trained, err := jepa.ReadConfig(file)
	if err != nil {
		return err
	}
	channels, size := ds.Shape()
	if v := trained.Encoder; channels != v.InChans || !slices.Equal(size, v.ImgSize) {
		return fmt.Errorf("samples have %d channels of %v, the run's encoder takes %d of %v: its size is --size %s", channels, size, v.InChans, v.ImgSize, strings.Trim(strings.ReplaceAll(fmt.Sprint(v.ImgSize), " ", ","), "[]"))
	}
	return nil
}
