package gpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRegularizersAreTorch holds losses and gradients to torch's (2.15.0,
// float64, autograd of the formulas) on z = sin(1+3i+j)(0.3+j), 7×3, and two
// directions cos(1+2i+j), normalised.
func TestRegularizersAreTorch(t *testing.T) {
	const n, dim, s = 7, 3, 2
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	z, dz, directions, loss := d.Tensor("z", n, dim), d.Tensor("dz", n, dim), d.Tensor("directions", dim, s), d.Tensor("loss", 2)
	features, columns := make([]float64, n*dim), make([]float64, dim*s)
	for i := range features {
		features[i] = math.Sin(float64(1+3*(i/dim)+i%dim)) * (0.3 + float64(i%dim))
	}
	for j := range s {
		sum := 0.0
		for i := range dim {
			columns[i*s+j] = math.Cos(float64(1 + 2*i + j))
			sum += columns[i*s+j] * columns[i*s+j]
		}
		for i := range dim {
			columns[i*s+j] /= math.Sqrt(sum)
		}
	}
	d.WriteFloat64(z, features)
	d.WriteFloat64(directions, columns)
	run := func(record func(e *Encoder)) (losses, grad []float64) {
		e := d.Begin()
		e.Fill(dz, 0)
		record(e)
		require.NoError(t, e.Submit())
		losses, grad = make([]float64, 2), make([]float64, n*dim)
		require.NoError(t, d.ReadFloat64(loss, losses))
		require.NoError(t, d.ReadFloat64(dz, grad))
		return losses, grad
	}

	losses, grad := run(func(e *Encoder) { e.VarianceCovariance(loss, dz, z, 1, 0) })
	require.InDeltaSlice(t, []float64{0.2719046636516564, 1.9789767913425405}, losses, 1e-14)
	require.InDeltaSlice(t, []float64{-0.06990327303038948, 0, 0, 0.07464319294009389, 0, 0, -0.0532186653160813, 0, 0, 0.05539942926344164, 0, 0, -0.03180090973791362, 0, 0, 0.03223635830727721, 0, 0, -0.007356132426428333, 0, 0}, grad, 1e-14)

	_, grad = run(func(e *Encoder) { e.VarianceCovariance(loss, dz, z, 0, 1) })
	require.InDeltaSlice(t, []float64{0.057183484406937345, 0.07544148691582209, 0.39338691051257557, -0.10046205860080692, -0.31383469349789817, -0.5420787076275343, 0.08587574863929405, 0.308117819967901, 0.430614092669293, -0.12542477035432192, -0.5340626427642361, -0.5598374367728662, 0.10660927906849654, 0.5114895215465783, 0.42854892771865216, -0.14151413770670188, -0.7165076106654092, -0.5379897120167808, 0.11773245454710277, 0.6693561184972422, 0.38735592551666054}, grad, 1e-14)

	losses, grad = run(func(e *Encoder) { e.SIGReg(loss.Reshape(1), dz, z, directions, 1) })
	require.InDelta(t, 0.6883472769663551, losses[0], 1e-14)
	require.InDeltaSlice(t, []float64{-0.09939208168606777, -0.25924521121298894, 0.31516023075863, -0.026052246490978485, 0.2563721716116422, -0.18732468989883355, 0.012444350772106625, -0.057815103268708694, 0.03567479388773233, -0.15855612198602262, 0.051192091300321506, 0.11594926828430004, 0.11405951078259773, 0.1687201374492535, -0.2544842137052095, -0.2518076973929269, -0.09017280474364686, 0.3268579522662305, 0.13991967348073275, 0.3055297485178367, -0.3942101501142161}, grad, 1e-14)

	losses, _ = run(func(e *Encoder) { e.FeatureStd(loss.Reshape(1), z) })
	require.InDelta(t, 0.9004502750366141, losses[0], 1e-14)
}
