package transform

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTablesAreTheGeometry gathers by the tables what Apply computes.
func TestTablesAreTheGeometry(t *testing.T) {
	for _, size := range [][]int{{6, 6}, {5, 7}, {4, 4, 4}, {5, 4, 5}, {3, 6, 4}} {
		a := Augment{Scale: [2]float64{0.3, 1}, Flip: make([]float64, len(size)), Rotate: 0.7}
		for i := range a.Flip {
			a.Flip[i] = 0.5
		}
		n := three(size)
		voxels := n[0] * n[1] * n[2]
		x := make([]float32, 2*voxels)
		for i := range x {
			x[i] = float32(i*i%97) / 7
		}
		var table Tables
		for draw := range 60 {
			g := a.Draw(Rand(1, uint64(draw), 2), size)
			want, got := make([]float32, len(x)), make([]float32, len(x))
			g.Apply(want, x, 2, size)
			g.Tables(&table, size)
			out := [3]int{n[1] * n[2], n[2], 1}
			for i := range got {
				c, v := i/voxels, i%voxels
				var lo, hi [3]int
				var w [3]float32
				for s := range 3 {
					k := v / out[table.Axis[s]] % n[table.Axis[s]]
					lo[s], hi[s], w[s] = table.Low[s][k], table.High[s][k], table.Weight[s][k]
				}
				at := func(p, q, r int) float32 { return x[c*voxels+(p*n[1]+q)*n[2]+r] }
				row := func(r int) float32 {
					s := at(lo[0], lo[1], r) + w[1]*(at(lo[0], hi[1], r)-at(lo[0], lo[1], r))
					u := at(hi[0], lo[1], r) + w[1]*(at(hi[0], hi[1], r)-at(hi[0], lo[1], r))
					return s + w[0]*(u-s)
				}
				got[i] = row(lo[2]) + w[2]*(row(hi[2])-row(lo[2]))
			}
			require.InDeltaSlice(t, want, got, 1e-5, fmt.Sprint(size, g))
		}
	}
}
