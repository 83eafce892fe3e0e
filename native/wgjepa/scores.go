package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"wgjepa/internal/evaluate"
)

func printTask(w io.Writer, t *evaluate.Task) {
	units, penalty := "samples", "C"
	if t.Name == "dense" {
		units = "volumes"
	}
	if t.Regression {
		penalty = "penalty"
	}
	what := ""
	if n := len(t.Classes); n > 0 {
		what = fmt.Sprintf(", %d classes", n)
	}
	if t.Note != "" {
		what += ", " + t.Note
	}
	if t.Chosen[0] == 0 {
		penalty += " chosen in each fold"
	} else {
		penalty += fmt.Sprintf(" %g trained, %g untrained", t.Chosen[0], t.Chosen[1])
	}
	fmt.Fprintf(w, "%s%s: %d training, %d validation, %d test %s; %s\n", t.Name, what, t.Units[0], t.Units[1], t.Units[2], units, penalty)
	rows := [][]string{scoreColumns("", &t.Scores[0])}
	for _, s := range t.Scores {
		rows = append(rows, scoreRow(s.Metric, &s))
	}
	printColumns(w, rows)
	fmt.Fprintln(w)
}

// scoreColumns heads a table of scores like s.
func scoreColumns(first string, s *evaluate.Score) []string {
	columns := []string{first, "trained", "untrained", "trained − untrained"}
	if s.Intensities != nil {
		columns = append(columns, "intensities")
	}
	if s.PositionOnly != nil {
		columns = append(columns, "position only")
	}
	return columns
}

func scoreRow(first string, s *evaluate.Score) []string {
	row := []string{first, intervalText(s.Trained, false), intervalText(s.Untrained, false), differenceText(s.Difference)}
	for _, i := range []*evaluate.Interval{s.Intensities, s.PositionOnly} {
		if i != nil {
			row = append(row, intervalText(*i, false))
		}
	}
	return row
}

// printCurve prints the label-fraction curve.
func printCurve(w io.Writer, curve []evaluate.Point) {
	if len(curve) == 0 {
		return
	}
	for i, s := range curve[0].Scores {
		rows := [][]string{scoreColumns("labels", &s)}
		for _, p := range curve {
			rows = append(rows, scoreRow(fmt.Sprintf("%g %%, %d samples", 100*p.Fraction, p.Samples), &p.Scores[i]))
		}
		fmt.Fprintf(w, "%s by share of the training labels\n", s.Metric)
		printColumns(w, rows)
		fmt.Fprintln(w)
	}
}

// printColumns prints rows of cells, each column as wide as its widest cell.
func printColumns(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// differenceText marks a difference whose interval does not hold 0.
func differenceText(d evaluate.Interval) string {
	star := " "
	if d.Low > 0 || d.High < 0 {
		star = "*"
	}
	return intervalText(d, true) + star
}

func intervalText(i evaluate.Interval, sign bool) string {
	if math.IsNaN(i.Value) {
		return "-" // such as the Dice of a class that neither occurs nor is predicted
	}
	if sign {
		return fmt.Sprintf("%+.3f (%+.3f to %+.3f)", i.Value, i.Low, i.High)
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", i.Value, i.Low, i.High)
}
