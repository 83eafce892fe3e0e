package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

var crossEntropyKernel = register("cross_entropy", "cross_entropy.wgsl", nil, "z label weight dz partial", func(p ref.CrossEntropyParams, b []ref.Buffer) {
	ref.CrossEntropy(p, b[0].F, b[1].U, b[2].F, b[3].F, b[4].F)
})

// CrossEntropy sets loss (1) to scale times the sum over the rows of logits z
// (B, K) of the cross entropy with classes label (B), and dz, unless it is nil,
// to its gradient. weight (K) weighs classes; smoothing ε moves that share of
// each label to all classes. With scale 1/Σ w_y it is torch's cross_entropy.
func (e *Encoder) CrossEntropy(loss, dz, z, label, weight Tensor, smoothing, scale float64) {
	rows, classes := z.Rows(), z.Cols()
	if loss.Len() != 1 || label.Len() != rows || weight.Len() != classes || !dz.IsNil() && dz.Len() != z.Len() {
		panic(shapes("CrossEntropy", "loss", loss, "dz", dz, "z", z, "label", label, "weight", weight))
	}
	partial := e.d.scratch("lanes", rows)
	launch(e, crossEntropyKernel, [3]int{ceil(rows, 64), 1, 1},
		ref.CrossEntropyParams{Rows: uint32(rows), Classes: uint32(classes), Grad: flag(!dz.IsNil()), Smoothing: smoothing, Scale: scale},
		z, label, weight, e.orNone(dz, true), partial)
	e.sum(loss, 0, partial, rows, scale)
}

func crossEntropy() Op {
	return Op{
		Name: "cross entropy",
		Cases: []Case{{"loss and gradient", func(t *Trial) {
			for _, s := range [][2]int{{1, 1}, {1, 2}, {63, 3}, {64, 10}, {65, 11}, {300, 257}} {
				rows, classes := s[0], s[1]
				for _, smoothing := range []float64{0, 0.1} {
					z, label := t.In("z", rows, classes), t.Indices("label", func(int) uint32 { return uint32(t.values.IntN(classes)) }, rows)
					weight := t.positive("weight", classes)
					loss, dz := t.Out("loss", 1), t.Out("dz", rows, classes)
					t.E.CrossEntropy(loss, dz, z, label, weight, smoothing, 0.25)
					// Logits lie within ±6 and WGSL's exp(x) is within 3 + 2|x| ulp, its log
					// within 3 ulp: each probability is off by that and by a sum of classes.
					wild := float64(classes) + 2*12 + 16
					v := t.Values(loss)[0]
					t.Within(loss, func(int) float64 {
						return Epsilon * (wild + lanesChain(rows)) * math.Max(math.Abs(v), float64(rows)*0.25)
					})
					t.Within(dz, func(int) float64 { return 2 * 0.25 * wild * Epsilon })
					alone := t.Out("alone", 1)
					t.E.CrossEntropy(alone, Tensor{}, z, label, weight, smoothing, 0.25)
					t.Within(alone, func(int) float64 {
						return Epsilon * (wild + lanesChain(rows)) * math.Max(math.Abs(v), float64(rows)*0.25)
					})
				}
			}
		}}},
		Bench: []Bench{{Shape: []int{256, 1000}, Bytes: 4 * 3 * 256000, Record: func(d *Device) func(*Encoder) {
			loss, dz, z, weight := d.Tensor("loss", 1), d.Tensor("dz", 256, 1000), d.Tensor("z", 256, 1000), d.Tensor("weight", 1000)
			label := d.Indices("label", 256)
			return func(e *Encoder) { e.CrossEntropy(loss, dz, z, label, weight, 0, 1) }
		}}},
	}
}
