package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/jepa"
)

func verifyCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE…",
		Short: "Replay golden cases of the reference and compare every tensor",
		Long: `Replays golden cases: one training step (its loss, features and every gradient)
or a whole run (its losses, schedules and final weights), as the reference
programs computed them in double precision. For each tensor it prints the largest
error relative to the tensor's largest value, and the bound. It exits with 1 when
one is above its bound: 1e-9 on the cpu adapter; in float32 2e-5 for a step and
5e-4 for a run.`,
		Example: `  wgjepa verify golden/step3d.safetensors
  wgjepa verify golden/*.safetensors --adapter cpu`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			d, err := c.open()
			if err != nil {
				return err
			}
			defer d.Close()
			bad := 0
			for _, path := range files {
				s, err := verifyFile(c, d, path)
				if err != nil {
					fmt.Fprintf(c.err, "wgjepa: %v\n", err)
					bad++
					if d.Err() != nil {
						return errSaid // nothing works on it any more
					}
					continue
				}
				if s.Failed > 0 {
					bad++
				}
			}
			if !c.json {
				fmt.Fprintf(c.out, "%d of %d cases within bounds\n", len(files)-bad, len(files))
			}
			if bad > 0 {
				return errSaid
			}
			return nil
		},
	}
}

// verifySummary is one case in the JSON output.
type verifySummary struct {
	File     string  `json:"file"`
	Adapter  string  `json:"adapter"`
	Compared int     `json:"compared"`
	Failed   int     `json:"failed"`
	Skipped  int     `json:"skipped"`
	Worst    string  `json:"worst"`       // the tensor nearest to or farthest beyond its bound
	Error    number  `json:"worst_error"` // its
	Bound    float64 `json:"worst_bound"`
}

// verifyRow is one tensor in the JSON output.
type verifyRow struct {
	File    string  `json:"file"`
	Tensor  string  `json:"tensor"`
	Error   number  `json:"error"`
	Bound   float64 `json:"bound"`
	OK      bool    `json:"ok"`
	Skipped string  `json:"skipped,omitempty"`
}

func verifyFile(c *console, d *gpu.Device, path string) (verifySummary, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return verifySummary{}, err
	}
	defer f.Close()
	if err := f.Verify(); err != nil {
		return verifySummary{}, err
	}
	rows, err := jepa.Verify(d, f)
	if err != nil {
		return verifySummary{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(rows) == 0 {
		return verifySummary{}, fmt.Errorf("%s: %w", path, errors.New("the case has no tensor to compare"))
	}
	s := verifySummary{File: path, Adapter: d.Info().Name}
	for _, r := range rows {
		switch {
		case r.Skipped != "":
			s.Skipped++
		case r.Failed():
			s.Failed++
			s.Compared++
		default:
			s.Compared++
		}
	}
	worst := jepa.WorstRow(rows)
	s.Worst, s.Error, s.Bound = worst.Name, number(worst.Error), worst.Bound
	if c.json {
		for _, r := range rows {
			c.emit(verifyRow{path, r.Name, number(r.Error), r.Bound, !r.Failed(), r.Skipped})
		}
		c.emit(s)
		return s, nil
	}
	if !c.quiet || s.Failed > 0 {
		printRows(c.out, path, rows)
	}
	verdict := "ok"
	if s.Failed > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(c.out, "%s: %s: %d tensors, %d above their bound, %d skipped; nearest to its bound: %s %.2g of %.0e\n", path, verdict, s.Compared, s.Failed, s.Skipped, s.Worst, float64(s.Error), s.Bound)
	return s, nil
}

func printRows(w io.Writer, path string, rows []jepa.Row) {
	width := len("tensor")
	for _, r := range rows {
		width = max(width, len(r.Name))
	}
	fmt.Fprintf(w, "%s\n%-*s  %9s  %9s\n", path, width, "tensor", "error", "bound")
	for _, r := range rows {
		switch {
		case r.Skipped != "":
			fmt.Fprintf(w, "%-*s  skipped: %s\n", width, r.Name, r.Skipped)
		case r.Failed():
			fmt.Fprintf(w, "%-*s  %9.2e  %9.0e  FAIL\n", width, r.Name, r.Error, r.Bound)
		default:
			fmt.Fprintf(w, "%-*s  %9.2e  %9.0e  ok\n", width, r.Name, r.Error, r.Bound)
		}
	}
}

// number is a figure that JSON may not be able to hold: null then.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, "%.9g", float64(n)), nil
}
