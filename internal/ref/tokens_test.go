package ref

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPatchesInOrder(t *testing.T) {
	// Two channels of 2×4×2 voxels, patches 1×2×2: a grid of 2×2×1.
	x := make([]float64, 2*2*4*2)
	for i := range x {
		x[i] = float64(i)
	}
	p := PatchesParams{Batch: 1, Kept: 4, Channels: 2, Height: 2, Width: 4, Depth: 2, PatchH: 1, PatchW: 2, PatchD: 2}
	dst := poisoned(4 * 8)
	Patches(p, x, nil, dst)
	require.Equal(t, []float64{0, 1, 2, 3, 16, 17, 18, 19}, dst[:8])
	require.Equal(t, []float64{4, 5, 6, 7, 20, 21, 22, 23}, dst[8:16])
	require.Equal(t, []float64{12, 13, 14, 15, 28, 29, 30, 31}, dst[24:])
	p.Kept, p.Indexed = 2, 1
	Patches(p, x, []uint32{3, 0}, dst)
	require.Equal(t, []float64{12, 13, 14, 15, 28, 29, 30, 31, 0, 1, 2, 3, 16, 17, 18, 19}, dst[:16])
}

func TestTokensGrad(t *testing.T) {
	const batch, kept, total, width, prefix = 2, 2, 4, 3, 3 // one class and two register tokens
	index := []uint32{2, 0, 1, 2}
	inverse := []uint32{1, Absent, 0, Absent, Absent, 0, 1, Absent}
	for _, prefixPos := range []uint32{0, 1} {
		r := rand.New(rand.NewPCG(1, 7))
		patches, cls, reg := normals(r, batch*kept*width), normals(r, width), normals(r, 2*width)
		pos, dtokens := normals(r, (prefix+total)*width), normals(r, batch*(prefix+kept)*width)
		dst := poisoned(len(dtokens))
		loss := func() float64 {
			Tokens(TokensParams{Batch: batch, Kept: kept, Width: width, Classes: 1, Prefix: prefix, Pos: 1, PrefixPos: prefixPos, Indexed: 1}, patches, cls, reg, pos, index, dst)
			return dot(dst, dtokens)
		}
		p := TokensGradParams{Batch: batch, Tokens: prefix + kept, Width: width, Patches: total}
		dcls, dreg, dpos := make([]float64, len(cls)), make([]float64, len(reg)), make([]float64, len(pos))
		p.Rows = 1
		TokensGrad(p, dtokens, nil, dcls)
		p.First, p.Rows = 1, 2
		TokensGrad(p, dtokens, nil, dreg)
		p.First, p.Rows, p.Indexed = prefix, total, 1
		if prefixPos != 0 {
			p.Row = prefix
			q := p
			q.First, q.Rows, q.Row, q.Indexed = 0, prefix, 0, 0
			TokensGrad(q, dtokens, nil, dpos)
		}
		TokensGrad(p, dtokens, inverse, dpos)
		dpatches := poisoned(len(patches))
		Window(WindowParams{Batch: batch, Tokens: prefix + kept, Width: width, First: prefix, Kept: kept}, dtokens, dpatches)
		requireDerivative(t, "cls", loss, cls, dcls)
		requireDerivative(t, "reg", loss, reg, dreg)
		requireDerivative(t, "pos", loss, pos, dpos)
		requireDerivative(t, "patches", loss, patches, dpatches)
	}
}

func TestWindowGrad(t *testing.T) {
	p := WindowParams{Batch: 2, Tokens: 4, Width: 2, First: 1, Kept: 2}
	r := rand.New(rand.NewPCG(1, 8))
	src, ddst := normals(r, 16), normals(r, 8)
	dst, dsrc := poisoned(8), poisoned(16)
	WindowGrad(p, ddst, dsrc)
	requireDerivative(t, "src", func() float64 {
		Window(p, src, dst)
		return dot(dst, ddst)
	}, src, dsrc)
}

func TestPredictorTokensGrad(t *testing.T) {
	const blocks, batch, k, l, width = 2, 2, 3, 2, 2
	p := PredictorTokensParams{Blocks: blocks, Batch: batch, Context: k, PerBlock: l, Width: width}
	r := rand.New(rand.NewPCG(1, 9))
	z, mask, pos := normals(r, batch*k*width), normals(r, width), normals(r, 9*width)
	context, targets := []uint32{0, 2, 4, 1, 3, 8}, []uint32{5, 6, 7, 8, 0, 1, 2, 3}
	dtokens := normals(r, blocks*batch*(k+l)*width)
	dst := poisoned(len(dtokens))
	loss := func() float64 {
		PredictorTokens(p, z, mask, pos, context, targets, dst)
		return dot(dst, dtokens)
	}
	loss()
	// Sequence 2 is block 1 of sample 0; its first target patch is targets[4].
	require.Equal(t, z[0]+pos[0], dst[2*(k+l)*width])
	require.Equal(t, mask[1]+pos[1], dst[(2*(k+l)+k)*width+1])
	dz, partial, dmask := poisoned(len(z)), poisoned(3*width), poisoned(width)
	PredictorTokensGrad(p, dtokens, dz)
	ColumnChunks(ColumnChunksParams{Rows: blocks * batch * l, Cols: width, Chunk: 3, Take: l, Stride: k + l, First: k}, dtokens, nil, partial)
	Reduce(ReduceParams{Chunks: 3, Cols: width, Scale: 1}, partial, dmask)
	requireDerivative(t, "z", loss, z, dz)
	requireDerivative(t, "mask", loss, mask, dmask)
}
