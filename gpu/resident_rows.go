package gpu

import (
	"fmt"
	"math"
	"slices"

	"wgjepa/internal/ref"
)

var (
	rowChunks = register("row_chunks", "row_chunks.wgsl", nil, "x above about partial", func(p ref.RowChunksParams, b []ref.Buffer) {
		ref.RowChunks(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
	rowMoment = register("row_moment", "row_moment.wgsl", nil, "x partial rescales", func(p ref.RowMomentParams, b []ref.Buffer) {
		ref.RowMoment(p, b[0].F, b[1].F, b[2].F)
	})
	rowPercentiles = register("row_percentiles", "row_percentiles.wgsl", nil, "x rescales", func(p ref.RowPercentilesParams, b []ref.Buffer) {
		ref.RowPercentiles(p, b[0].F, b[1].F)
	})
	rescale = register("rescale", "rescale.wgsl", nil, "rescales x", func(p ref.RescaleParams, b []ref.Buffer) {
		ref.Rescale(p, b[0].F, b[1].F)
	})
)

// Rescale replaces each row of x (rows, cols) by (min(max(x, r₀), r₁) − r₂)/r₃, r the
// row of rescales (rows, 4). Every normalisation is a rescaling; what follows makes
// one of a row's values. With a mean alone, r₂, the others stay what they were.
func (e *Encoder) Rescale(x, rescales Tensor) {
	e.checkRows("Rescale", rescales, x)
	launch(e, rescale, [3]int{min(ceil(x.Cols(), 64), 1<<12), x.Rows(), 1}, ref.RescaleParams{Rows: uint32(x.Rows()), Cols: uint32(x.Cols())}, rescales, x)
}

func (e *Encoder) checkRows(what string, rescales, x Tensor) {
	if rescales.Len() < 4*x.Rows() || x.Cols() == 0 {
		panic(shapes(what, "rescales", rescales, "x", x))
	}
}

// RowMeans sets the mean of each row of x (rows, cols) in rescales (rows, 4).
func (e *Encoder) RowMeans(rescales, x Tensor) { e.moments("RowMeans", rescales, x, Tensor{}, -1) }

// RowMoments makes rescales (rows, 4) what standardises each row of x (rows, cols):
// its mean and its population standard deviation + eps.
func (e *Encoder) RowMoments(rescales, x Tensor, eps float64) {
	e.moments("RowMoments", rescales, x, Tensor{}, eps)
}

// ForegroundMoments is RowMoments of the elements above the row's mean. They differ
// from those of another device by a whole element where one lies within rounding
// of the mean.
func (e *Encoder) ForegroundMoments(rescales, x Tensor, eps float64) {
	above := e.d.scratch("row means", 4*max(1, x.cap/max(1, x.Cols())))
	e.moments("ForegroundMoments", above, x, Tensor{}, -1)
	e.moments("ForegroundMoments", rescales, x, above, eps)
}

// moments sets the mean of each row, of the elements above a given mean where above
// is not nil, and with eps ≥ 0 the deviation about it.
func (e *Encoder) moments(what string, rescales, x, above Tensor, eps float64) {
	e.checkRows(what, rescales, x)
	rows, cols := x.Rows(), x.Cols()
	size := max(256, int(math.Sqrt(float64(cols))))
	chunks := ceil(cols, size)
	partial := e.d.scratch("row sums", 2*chunks*max(1, x.cap/cols))
	masked := flag(!above.IsNil())
	above = e.orNone(above, true)
	moment := func(about Tensor, square uint32) {
		launch(e, rowChunks, e.groups1(ceil(rows*chunks, 64)), ref.RowChunksParams{Rows: uint32(rows), Cols: uint32(cols), Chunk: uint32(size), Square: square, Masked: masked}, x, above, about, partial)
		launch(e, rowMoment, [3]int{ceil(rows, 64), 1, 1}, ref.RowMomentParams{Rows: uint32(rows), Chunks: uint32(chunks), Cols: uint32(cols), Square: square, Eps: max(eps, 0)}, x, partial, rescales)
	}
	moment(e.orNone(Tensor{}, true), 0)
	if eps >= 0 {
		moment(rescales, 1)
	}
}

// RowPercentiles makes rescales (rows, 4) what maps two percentiles (0 to 100, linear
// interpolation as NumPy) of each row of x (rows, cols) to 0 and 1, and clips; a row
// whose percentiles coincide becomes 0.
func (e *Encoder) RowPercentiles(rescales, x Tensor, percentiles [2]float64) {
	e.checkRows("RowPercentiles", rescales, x)
	if !(0 <= percentiles[0] && percentiles[0] <= percentiles[1] && percentiles[1] <= 100) {
		panic(fmt.Sprintf("gpu: RowPercentiles: percentiles %v must rise within 0 to 100", percentiles))
	}
	p := ref.RowPercentilesParams{Rows: uint32(x.Rows()), Cols: uint32(x.Cols())}
	low, lowPart := math.Modf(percentiles[0] / 100 * float64(x.Cols()-1))
	high, highPart := math.Modf(percentiles[1] / 100 * float64(x.Cols()-1))
	p.LowRank, p.LowPart, p.HighRank, p.HighPart = uint32(low), lowPart, uint32(high), highPart
	launch(e, rowPercentiles, e.groups1(x.Rows()), p, x, rescales)
}

func residentRows() Op {
	shapes := [][2]int{{1, 1}, {1, 255}, {2, 256}, {3, 257}, {5, 4000}, {2, 70001}, {130, 9}}
	// rows have a mean of twice their deviation; the second is constant, of a value
	// whose multiples are rounded.
	rows := func(t *Trial, rows, cols int) Tensor {
		return t.InFunc("x", func(i int) float64 {
			if i/cols == 1 {
				return 37.1
			}
			return 100 + 50*t.values.NormFloat64()
		}, rows, cols)
	}
	// sums bounds the error of a sum of cols values near 1, relative.
	sums := func(cols int) float64 {
		return Epsilon * float64(max(256, int(math.Sqrt(float64(cols))))+ceil(cols, 256)+16)
	}
	standard := func(t *Trial, of func(rescales, x Tensor)) {
		for _, s := range shapes {
			x, rescales := rows(t, s[0], s[1]), t.Out("rescales", s[0], 4)
			of(rescales, x)
			t.E.Rescale(x, rescales)
			v := t.Values(x)
			// The mean is near twice the deviation, whose error it brings in.
			t.Within(x, func(i int) float64 { return 8 * sums(s[1]) * (4 + math.Abs(v[i])) })
		}
	}
	return Op{
		Name: "rows of resident data",
		Cases: []Case{
			{"mean", func(t *Trial) {
				for _, s := range shapes {
					x := rows(t, s[0], s[1])
					rescales := t.InFunc("rescales", func(i int) float64 { return float64(i) }, s[0], 4)
					t.E.RowMeans(rescales, x)
					t.Within(rescales, func(i int) float64 {
						if i%4 != 2 {
							return 0
						}
						return 300 * sums(s[1])
					})
				}
			}},
			{"standardize", func(t *Trial) {
				standard(t, func(rescales, x Tensor) { t.E.RowMoments(rescales, x, 1e-8) })
			}},
			{"standardize by the foreground", func(t *Trial) {
				standard(t, func(rescales, x Tensor) { t.E.ForegroundMoments(rescales, x, 1e-8) })
			}},
			{"percentiles", func(t *Trial) {
				const rows = 5
				for _, n := range []int{1, 2, 9, 255, 257, 16384, 30001} {
					for _, percentiles := range [][2]float64{{1, 99}, {0, 100}, {5, 90}, {49.99, 50}} {
						x := t.InFunc("x", func(i int) float64 {
							switch i / n {
							case 0:
								return t.values.NormFloat64()
							case 1: // of all exponents
								return math.Ldexp(t.values.NormFloat64(), t.values.IntN(200)-100)
							case 2: // many equal ones, as in the background of a scan
								return math.Max(0, float64(t.values.IntN(500)-300))
							case 3: // neighbours among floats
								return 1000 + float64(t.values.IntN(3))/(1<<13)
							}
							return 37.1
						}, rows, n)
						rescales := t.Out("rescales", rows, 4)
						t.E.RowPercentiles(rescales, x, percentiles)
						// Order statistics are exact; the two beside a percentile are mixed.
						sorted := t.Values(x)
						for row := range rows {
							slices.Sort(sorted[row*n : (row+1)*n])
						}
						size := func(row int, q float64) float64 {
							rank, part := math.Modf(q / 100 * float64(n-1))
							if part == 0 {
								return 0
							}
							return math.Abs(sorted[row*n+int(rank)]) + math.Abs(sorted[row*n+int(rank)+1])
						}
						v := t.Values(rescales)
						t.Within(rescales, func(i int) float64 {
							low, high := size(i/4, percentiles[0]), size(i/4, percentiles[1])
							if rounding := 2 * Epsilon * (low + high); i%4 == 3 && v[i] <= rounding {
								return 1 // the two may coincide
							}
							return 2 * Epsilon * [4]float64{low, high, low, low + high + math.Abs(v[i])}[i%4]
						})
					}
				}
			}},
			{"rescale", func(t *Trial) {
				for _, s := range [][2]int{{3, 1001}, {2, 64<<12 + 70}} {
					x := t.In("x", s[0], s[1])
					rescales := t.InFunc("rescales", func(i int) float64 { return []float64{-0.5, 1, 0.25, 3}[i%4] * float64(1+i/4) }, s[0], 4)
					t.E.Rescale(x, rescales)
					t.Within(x, func(int) float64 { return 8 * Epsilon })
				}
			}},
		},
		Bench: []Bench{
			{Shape: []int{16, 64, 64, 64}, Bytes: 4 * 4 * 16 << 18, Record: func(d *Device) func(*Encoder) {
				x, rescales := d.Tensor("x", 16, 1<<18), d.Tensor("rescales", 16, 4)
				return func(e *Encoder) {
					e.RowMoments(rescales, x, 1e-8)
					e.Rescale(x, rescales)
				}
			}},
			{Shape: []int{16, 64, 64, 64, 5}, Bytes: 4 * 5 * 16 << 18, Record: func(d *Device) func(*Encoder) {
				x, rescales := d.Tensor("x", 16, 1<<18), d.Tensor("rescales", 16, 4)
				v := make([]float32, x.Len())
				for i := range v {
					v[i] = float32(i*2654435761>>8&0xffff) / (1 << 16)
				}
				d.Write(x, v)
				return func(e *Encoder) { e.RowPercentiles(rescales, x, [2]float64{1, 99}) }
			}},
		},
	}
}
