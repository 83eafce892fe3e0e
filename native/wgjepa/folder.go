package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"wgjepa/checkpoint"
	"wgjepa/data"
	"wgjepa/internal/atomicfile"
	"wgjepa/internal/config"
	"wgjepa/jepa"
)

// Files of a run's folder, besides jepa's.
const (
	configFile  = "config.toml"   // the whole configuration
	splitFile   = "splits.csv"    // which sample is for what
	metricsFile = "metrics.jsonl" // one JSON object an entry
	curvesFile  = "curves.png"
	masksFile   = "masks.png"
	pcaFile     = "features.png"
)

// runFolder is the folder of a training.
type runFolder string

func (r runFolder) path(name string) string { return filepath.Join(string(r), name) }

// holdsRun reports whether a training has left something here.
func (r runFolder) holdsRun() bool {
	for _, name := range []string{configFile, jepa.StateFile, jepa.WeightsFile} {
		if _, err := os.Stat(r.path(name)); err == nil {
			return true
		}
	}
	return false
}

// vacant returns an error where a training has left something here. Who begins a run
// asks before anything is read, and once more when the folder is his alone.
func (r runFolder) vacant() error {
	if r.holdsRun() {
		return fmt.Errorf("%s already holds a run: continue it with --resume, remove it with --overwrite, or choose another --out", r)
	}
	return nil
}

// holdsPhantoms reports whether the run here was trained on generated volumes,
// which nobody misses.
func (r runFolder) holdsPhantoms() bool {
	text, err := os.ReadFile(r.path(configFile))
	if err != nil {
		return false
	}
	conf, err := config.Parse(config.Text{Name: configFile, TOML: text})
	return err == nil && slices.Equal(conf.Data.Paths, []string{config.GeneratedData})
}

// clear removes what a training leaves, and nothing else.
func (r runFolder) clear() error {
	for _, name := range []string{jepa.StateFile, jepa.StateFile + checkpoint.PreviousSuffix, jepa.WeightsFile, configFile, splitFile, metricsFile, curvesFile, masksFile, pcaFile} {
		if err := r.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file that may not be there.
func (r runFolder) remove(name string) error {
	if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// open makes the folder, makes sure that it can be written, and keeps other commands
// off it until close.
func (r runFolder) open() (close func(), err error) {
	if err := os.MkdirAll(string(r), 0o755); err != nil {
		return nil, fmt.Errorf("the folder cannot be made: %w: choose another with --out", err)
	}
	if err := writable(r.path("x")); err != nil {
		return nil, err
	}
	return lock(r.path(".lock"), string(r))
}

// begin is open for a training. What an earlier one left goes with overwrite; without,
// there must be nothing of it, unless this one resumes it.
func (r runFolder) begin(resume, overwrite bool) (close func(), err error) {
	if close, err = r.open(); err != nil {
		return nil, err
	}
	switch {
	case overwrite:
		err = r.clear()
	case !resume:
		err = r.vacant()
	}
	if err != nil {
		close()
		return nil, err
	}
	return close, nil
}

// unused refuses to write what is there already, unless it may be written over.
func unused(path string, overwrite bool) error {
	if _, err := os.Stat(path); err == nil && !overwrite {
		return fmt.Errorf("%s is there already: choose another name, or replace it with --overwrite", path)
	}
	return nil
}

// writable makes sure that files can be made beside path, before work is done for them.
func writable(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-test-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w: choose another with --out", filepath.Dir(path), err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// writeSplit lists whose each sample is and what it is for.
func (r runFolder) writeSplit(ds data.Dataset) error {
	return atomicfile.Write(r.path(splitFile), func(w io.Writer) error { return data.WriteSplits(w, ds) })
}

// moved lists samples that the run was trained on and that ds has for something else now:
// a test of them would measure memory. A run without a list says nothing.
func (r runFolder) moved(ds data.Dataset) ([]string, error) {
	f, err := os.Open(r.path(splitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0]) < 4 {
		return nil, fmt.Errorf("%s is not the list of samples that training writes (%v)", r.path(splitFile), err)
	}
	trained := map[string]bool{}
	for _, row := range rows[1:] {
		trained[row[0]] = row[3] == "train"
	}
	var list []string
	for _, part := range []string{"val", "test"} {
		for _, i := range ds.Split(part) {
			if trained[ds.Name(i)] {
				list = append(list, ds.Name(i))
			}
		}
	}
	return list, nil
}

// folderOf is the folder of a run that is named by itself or by a file in it.
func folderOf(run string) runFolder {
	if s, err := os.Stat(run); err == nil && !s.IsDir() {
		return runFolder(filepath.Dir(run))
	}
	return runFolder(run)
}

// warnMoved says where figures flatter a run: it was trained on what judges it now.
func (c *console) warnMoved(run string, ds data.Dataset) error {
	folder := folderOf(run)
	moved, err := folder.moved(ds)
	if err == nil && len(moved) > 0 {
		c.warn("%d samples that the run was trained on, such as %s, are now for validation or test, which flatters; its own parts: --splits %s", len(moved), moved[0], quote(folder.path(splitFile)))
	}
	return err
}
