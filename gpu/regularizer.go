package gpu

import (
	"math"

	"wgjepa/internal/ref"
)

var (
	center = registerVectors("center", "center.wgsl", "x mean dst", func(p ref.CenterParams, b []ref.Buffer) {
		ref.Center(p, b[0].F, b[1].F, b[2].F)
	})
	varianceCovariance = register("variance_covariance", "variance_covariance.wgsl", nil, "product grad variance_terms covariance_terms", func(p ref.VarianceCovarianceParams, b []ref.Buffer) {
		ref.VarianceCovariance(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
	sigregMoments = register("sigreg_moments", "sigreg_moments.wgsl", nil, "x partial", func(p ref.SIGRegMomentsParams, b []ref.Buffer) {
		ref.SIGRegMoments(p, b[0].F, b[1].F)
	})
	sigregGrad = register("sigreg_grad", "sigreg_grad.wgsl", nil, "x moments dx terms", func(p ref.SIGRegGradParams, b []ref.Buffer) {
		ref.SIGRegGrad(p, b[0].F, b[1].F, b[2].F, b[3].F)
	})
)

// VarianceCovariance is VICReg's regulariser (Bardes et al. 2022) of features
// z (N, D), N ≥ 2. With the covariance C, over N − 1, loss (2) becomes
//
//	mean_j max(0, 1 − √(C_jj + 1e-4)),  Σ_{i≠j} C_ij²/D
//
// unweighted, and the gradient of their weighted sum is added to dz.
func (e *Encoder) VarianceCovariance(loss, dz, z Tensor, varWeight, covWeight float64) {
	n, d := z.Rows(), z.Cols()
	if n < 2 || loss.Len() != 2 || dz.Len() != z.Len() || dz.Cols() != d {
		panic(shapes("VarianceCovariance", "loss", loss, "dz", dz, "z", z))
	}
	mean := e.d.scratch("feature mean", d).Reshape(d)
	centred := e.d.scratch("centred features", n*d).Reshape(n, d)
	product := e.d.scratch("covariance", d*d).Reshape(d, d)
	grad := e.d.scratch("covariance gradient", d*d).Reshape(d, d)
	variance, covariance := e.d.scratch("variance terms", d), e.d.scratch("covariance terms", d)
	e.scaledColumnSums(mean, z, Tensor{}, 1/float64(n))
	launchElements(e, center, z.Len(), d, ref.CenterParams{Rows: uint32(n), Cols: uint32(d)}, z, mean, centred)
	e.MatMulTN(product, centred, centred)
	scale := 1 / float64(n-1)
	launch(e, varianceCovariance, [3]int{ceil(d, 64), 1, 1}, ref.VarianceCovarianceParams{
		D: uint32(d), Scale: scale, Variance: varWeight * scale / float64(d), Covariance: 4 * covWeight * scale / float64(d),
	}, product, grad, variance, covariance)
	e.sum(loss, 0, variance, d, 1/float64(d))
	e.sum(loss, 1, covariance, d, 1/float64(d))
	e.LinearGradInputAdd(dz.Reshape(n, d), centred, grad)
}

// SIGReg is the regulariser of LeJEPA (Balestriero & LeCun 2025): features z
// (N, D), projected on directions (D, S), whose columns are unit vectors that
// the caller draws, are held to the standard normal distribution by the
// Epps–Pulley statistic, with 17 knots on [−4, 4] and the trapezoid rule. loss
// (1) becomes the mean over the directions times min(N, 256), unweighted;
// weight times its gradient is added to dz.
func (e *Encoder) SIGReg(loss, dz, z, directions Tensor, weight float64) {
	n, d, s := z.Rows(), z.Cols(), directions.Cols()
	if loss.Len() != 1 || dz.Len() != z.Len() || dz.Cols() != d || directions.Rows() != d {
		panic(shapes("SIGReg", "loss", loss, "dz", dz, "z", z, "directions", directions))
	}
	const knots = ref.SIGRegKnots
	chunks := ceil(n, chunk(n))
	x := e.d.scratch("projections", n*s).Reshape(n, s)
	dx := e.d.scratch("projections' gradient", n*s).Reshape(n, s)
	partial := e.d.scratch("partial moments", mostChunks(z.cap/d)*s*knots*2)
	moments := e.d.scratch("moments", s*knots*2)
	terms := e.d.scratch("projections' terms", s)
	e.MatMul(x, z.Reshape(n, d), directions)
	launch(e, sigregMoments, [3]int{ceil(s, 64), chunks, 1},
		ref.SIGRegMomentsParams{Rows: uint32(n), Cols: uint32(s), Chunk: uint32(chunk(n))}, x, partial)
	e.reduce(moments, partial, 0, chunks, s*knots*2, false, 1/float64(n))
	factor := float64(min(n, 256)) / float64(s)
	launch(e, sigregGrad, e.groups1(ceil(n*s, 64)),
		ref.SIGRegGradParams{Rows: uint32(n), Cols: uint32(s), Scale: weight * factor / float64(n)}, x, moments, dx, terms)
	e.sum(loss, 0, terms, s, factor)
	p := nt(dz.Reshape(n, d), dx, directions)
	p.Epilogue = ref.EpilogueAdd
	e.multiply(p)
}

// regularizerShapes are N, D, directions.
var regularizerShapes = [][3]int{{2, 1, 1}, {3, 2, 1}, {17, 5, 3}, {64, 64, 32}, {65, 63, 7}, {300, 12, 65}}

func vicreg() Op {
	return Op{
		Name: "variance_covariance",
		Cases: []Case{
			{"loss and gradient", func(t *Trial) {
				t.variants(func() {
					for _, s := range regularizerShapes {
						// Deviations of 1/5 and 5 in turn, so that none is near 1, where the term bends.
						n, d := s[0], s[1]
						z := t.InFunc("z", func(i int) float64 {
							return 0.5 + []float64{0.2, 5}[i%d%2]*(float64(i/d%2)*2-1+0.1*t.Rand().NormFloat64())
						}, n, d)
						dz, loss := t.In("dz", n, d), t.Out("loss", 2)
						zs, before := t.Values(z), t.magnitudes(dz)
						const varWeight, covWeight = 0.7, 0.3
						t.E.VarianceCovariance(loss, dz, z, varWeight, covWeight)
						lossBound, bounds := varianceCovarianceBounds(zs, n, d, varWeight, covWeight)
						terms := t.Values(loss)
						t.Within(loss, func(i int) float64 { return lossBound[i] + 50*Epsilon*math.Abs(terms[i]) })
						t.Within(dz, func(i int) float64 { return bounds[i] + Epsilon*before[i] })
					}
				})
			}},
		},
		Bench: []Bench{
			{Shape: []int{4096, 384}, FLOP: 2 * 2 * 4096 * 384 * 384, Record: func(d *Device) func(*Encoder) {
				loss, dz, z := d.Tensor("loss", 2), d.Tensor("dz", 4096, 384), d.Tensor("z", 4096, 384)
				return func(e *Encoder) { e.VarianceCovariance(loss, dz, z, 1, 1) }
			}},
		},
	}
}

func sigreg() Op {
	return Op{
		Name: "sigreg",
		Cases: []Case{
			{"loss and gradient", func(t *Trial) {
				t.variants(func() {
					for _, s := range regularizerShapes {
						n, d, k := s[0], s[1], s[2]
						z, directions := t.In("z", n, d), t.directions(d, k)
						dz, loss := t.In("dz", n, d), t.Out("loss", 1)
						zs, as, before := t.Values(z), t.Values(directions), t.magnitudes(dz)
						const weight = 0.4
						t.E.SIGReg(loss, dz, z, directions, weight)
						lossBound, bounds := sigregBounds(zs, as, n, d, k, weight)
						t.Within(loss, func(int) float64 { return lossBound })
						t.Within(dz, func(i int) float64 { return bounds[i] + Epsilon*before[i] })
					}
				})
			}},
		},
		Bench: []Bench{
			{Shape: []int{4096, 384, 32}, FLOP: 2 * 2 * 4096 * 384 * 32, Record: func(d *Device) func(*Encoder) {
				loss, dz, z, directions := d.Tensor("loss", 1), d.Tensor("dz", 4096, 384), d.Tensor("z", 4096, 384), d.Tensor("directions", 384, 32)
				return func(e *Encoder) { e.SIGReg(loss, dz, z, directions, 1) }
			}},
		},
	}
}

// directions makes an input (d, n) of unit columns.
func (t *Trial) directions(d, n int) Tensor {
	x := make([]float64, d*n)
	for j := range n {
		sum := 0.0
		for i := range d {
			x[i*n+j] = t.values.NormFloat64()
			sum += x[i*n+j] * x[i*n+j]
		}
		for i := range d {
			x[i*n+j] /= math.Sqrt(sum)
		}
	}
	return t.InFunc("directions", func(i int) float64 { return x[i] }, d, n)
}

// varianceCovarianceBounds follows the errors of VarianceCovariance through the
// mean, the centred features, their product, and the product with its gradient.
func varianceCovarianceBounds(z []float64, n, d int, varWeight, covWeight float64) (loss [2]float64, dz []float64) {
	mean, size, off := make([]float64, d), make([]float64, d), make([]float64, d) // off: error of a centred feature
	for i, v := range z {
		mean[i%d] += v / float64(n)
		size[i%d] += math.Abs(v) / float64(n)
	}
	centred, sum := make([]float64, len(z)), make([]float64, d)
	for i, v := range z {
		centred[i] = math.Abs(v - mean[i%d])
		sum[i%d] += centred[i]
	}
	for j := range d {
		off[j] = (chain(n)+2)*Epsilon*size[j] + Epsilon*sum[j]
	}
	scale := 1 / float64(n-1)
	grad, gradOff := make([]float64, d*d), make([]float64, d*d) // magnitudes and errors
	for i := range d {
		for j := range d {
			var c, product float64
			for r := range n {
				c += scale * (z[r*d+i] - mean[i]) * (z[r*d+j] - mean[j])
				product += scale * centred[r*d+i] * centred[r*d+j]
			}
			e := float64(n+4)*Epsilon*product + scale*(off[i]*sum[j]+off[j]*sum[i])
			if i != j {
				grad[i*d+j] = 4 * covWeight * scale / float64(d) * math.Abs(c)
				gradOff[i*d+j] = 4*covWeight*scale/float64(d)*e + 4*Epsilon*grad[i*d+j]
				loss[1] += (2*math.Abs(c)*e + e*e) / float64(d)
				continue
			}
			std := math.Sqrt(c + 1e-4)
			loss[0] += (e/(2*std) + 4*Epsilon*(1+std)) / float64(d)
			if std < 1 {
				grad[i*d+j] = varWeight * scale / float64(d) / std
				gradOff[i*d+j] = grad[i*d+j] * (e/(2*std*std) + 10*Epsilon)
			}
		}
	}
	dz = make([]float64, len(z))
	for r := range n {
		for j := range d {
			for i := range d {
				x := centred[r*d+i]
				dz[r*d+j] += float64(d+4)*Epsilon*x*grad[i*d+j] + x*gradOff[i*d+j] + off[i]*grad[i*d+j]
			}
		}
	}
	return loss, dz
}

// sigregBounds follows the errors of SIGReg through the projection, the turns
// by t·x, their means and the product with the directions.
func sigregBounds(z, directions []float64, n, d, s int, weight float64) (loss float64, dz []float64) {
	p := ref.SIGRegMomentsParams{Rows: uint32(n), Cols: uint32(s), Chunk: uint32(n)}
	x, off := make([]float64, n*s), make([]float64, n*s) // off: error of cos(t·x) and sin(t·x)
	meanOff := make([]float64, s)
	for r := range n {
		for j := range s {
			size := 0.0
			for i := range d {
				x[r*s+j] += z[r*d+i] * directions[i*s+j]
				size += math.Abs(z[r*d+i] * directions[i*s+j])
			}
			// t = k/2 for k up to 8: the angle's error grows 8 times, and each of
			// the 8 turns adds its own, 4 roundings.
			angle := float64(d+2)*Epsilon*size/2 + 2*Epsilon*math.Abs(x[r*s+j])
			off[r*s+j] = 8 * (angle + 8*Epsilon)
			meanOff[j] += off[r*s+j] / float64(n)
		}
	}
	moments, dx, terms := make([]float64, s*2*ref.SIGRegKnots), make([]float64, n*s), make([]float64, s)
	ref.SIGRegMoments(p, x, moments)
	for i := range moments {
		moments[i] /= float64(n)
	}
	factor := float64(min(n, 256)) / float64(s)
	ref.SIGRegGrad(ref.SIGRegGradParams{Rows: uint32(n), Cols: uint32(s), Scale: weight * factor / float64(n)}, x, moments, dx, terms)
	dz = make([]float64, len(z))
	for j := range s {
		var size, window float64 // Σ weight·t·|means|, Σ weight·t
		e := meanOff[j] + (chain(n)+20)*Epsilon
		for k := range ref.SIGRegKnots {
			t := 0.5 * float64(k+1)
			normal := math.Exp(-t * t / 2)
			a, b := math.Abs(moments[(j*ref.SIGRegKnots+k)*2]-normal), math.Abs(moments[(j*ref.SIGRegKnots+k)*2+1])
			loss += factor * normal * (2*(a+b)*e + 2*e*e + 40*Epsilon*(a*a+b*b))
			size += normal * t * (a + b)
			window += normal * t
		}
		for r := range n {
			v := 2 * weight * factor / float64(n) * (2*window*e + size*off[r*s+j] + 40*Epsilon*size)
			for i := range d {
				a := math.Abs(directions[i*s+j])
				dz[r*d+i] += a*v + float64(s+2)*Epsilon*a*math.Abs(dx[r*s+j])
			}
		}
	}
	return loss + chain(s)*Epsilon*loss, dz
}
