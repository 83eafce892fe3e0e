package gpu

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUpdateIsTorch holds every optimizer to three updates by torch.optim
// (torch 2.15.0, float64): six parameters sin(i+1), of which the last two take
// no decay, with gradients cos((i+1)s) at step s, a tenth of that at the third.
func TestUpdateIsTorch(t *testing.T) {
	adam := Update{LR: 0.1, WeightDecay: 0.3, Beta1: 0.8, Beta2: 0.9, Eps: 1e-4}
	with := func(o Optimizer, change func(u *Update)) Update {
		u := adam
		u.Optimizer, u.Decayed = o, 4
		if change != nil {
			change(&u)
		}
		return u
	}
	for _, c := range []struct {
		u    Update
		clip float64
		want []float64
	}{
		{with(AdamW, nil), 0, []float64{0.6812654435376195, 1.0838967062711449, 0.21128373166148964, -0.46891715273947016, -0.9602405694664273, -0.5563177083323481}},
		{with(AdamW, func(u *Update) { u.AMSGrad = true }), 0, []float64{0.680903324557061, 1.0811445364159311, 0.2113958476936007, -0.474222288172671, -0.9623952362001882, -0.5524561344096949}},
		{with(Adam, nil), 0, []float64{0.6561518801855248, 1.0973006061324109, 0.2155790328502805, -0.49565790085364086, -0.9602405694664273, -0.5563177083323481}},
		{with(Adam, func(u *Update) { u.AMSGrad = true }), 0, []float64{0.6595372660518168, 1.0973006061324109, 0.21610004661563012, -0.49902580216998943, -0.9623952362001882, -0.5524561344096949}},
		{with(SGD, nil), 0, []float64{0.7674169722695214, 0.9228481946412628, 0.13791959993492037, -0.6235369118210049, -0.8957864611732276, -0.46642108981965247}},
		{with(SGD, func(u *Update) { u.Momentum, u.Dampening = 0.8, 0.3 }), 0, []float64{0.6636450355502367, 0.9648105814172967, 0.24379798468202435, -0.49215626649032623, -0.9170970198625208, -0.6246448638996177}},
		{with(SGD, func(u *Update) { u.Momentum, u.Nesterov = 0.8, true }), 0, []float64{0.638660723750521, 0.9707555196377052, 0.17030565802427042, -0.40661319234623633, -0.8242535162857696, -0.7806438334972354}},
		{with(AdamW, nil), 0.5, []float64{0.7017614832154841, 1.0589682921645458, 0.22386850227523344, -0.4940560246617743, -0.9484534592473223, -0.5637824950515469}},
	} {
		t.Run(fmt.Sprintf("%+v", c.u), func(t *testing.T) {
			d, err := Open("cpu")
			require.NoError(t, err)
			defer d.Close()
			const n = 6
			p, g, m, v, vmax, target := d.Tensor("p", n), d.Tensor("g", n), d.Tensor("m", n), d.Tensor("v", n), d.Tensor("vmax", n), d.Tensor("target", n)
			norm, clip := d.Tensor("norm", 1), Tensor{}
			if c.clip > 0 {
				clip = d.Tensor("clip", 1)
			}
			start, grad, average, got := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
			for i := range start {
				start[i] = math.Sin(float64(i + 1))
			}
			d.WriteFloat64(p, start)
			for s := range 3 {
				for i := range grad {
					grad[i] = math.Cos(float64((i + 1) * (s + 1)))
					if s == 2 {
						grad[i] *= 0.1
					}
				}
				d.WriteFloat64(g, grad)
				e := d.Begin()
				if c.clip > 0 {
					e.GradNorm(norm, g)
					e.ClipScale(clip, norm, c.clip)
				}
				c.u.Step, c.u.EMA = s+1, 0.75
				e.Update(p, g, m, v, vmax, target, clip, c.u)
				require.NoError(t, e.Submit())
				require.NoError(t, d.ReadFloat64(p, got))
				for i := range average {
					average[i] = 0.75*average[i] + 0.25*got[i]
				}
			}
			require.InDeltaSlice(t, c.want, got, 1e-14)
			require.NoError(t, d.ReadFloat64(target, got))
			require.InDeltaSlice(t, average, got, 1e-14)
			require.NoError(t, d.ReadFloat64(g, got))
			require.Equal(t, make([]float64, n), got)
		})
	}
}

func TestUpdateRefusesMissingMoments(t *testing.T) {
	d, err := Open("cpu")
	require.NoError(t, err)
	defer d.Close()
	p, g, m := d.Tensor("p", 3), d.Tensor("g", 3), d.Tensor("m", 3)
	e := d.Begin()
	require.PanicsWithValue(t, "gpu: Update: p is [3], g is [3], m is [3], v is none, vmax is none, target is none", func() {
		e.Update(p, g, m, Tensor{}, Tensor{}, Tensor{}, Tensor{}, Update{Optimizer: AdamW, Step: 1})
	})
	require.PanicsWithValue(t, `gpu: Update: no optimizer is called "lion": adamW, adam or sgd`, func() {
		e.Update(p, g, m, m, m, Tensor{}, Tensor{}, Update{Optimizer: "lion", Step: 1})
	})
}
