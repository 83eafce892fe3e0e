package gpu

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"wgjepa/internal/ref"
	"wgjepa/wgsl"
)

// matmulKernels are the kernels of every tile and epilogue, for operands
// transposed or not, in fours or scalar; nil where nothing needs one.
var matmulKernels = func() (all [tiles][epilogues][2][2][2]*kernel) {
	for tile, chosen := range [tiles]wgsl.Defines{
		sharedRegisters: {"LANES": "8", "GROUP": "8", "COLS": "1", "SUBGROUPS": "1"},
		quadRegisters:   {"LANES": "4", "GROUP": "4", "COLS": "1", "SUBGROUPS": "1"},
		registers:       {"LANES": "8", "GROUP": "4", "COLS": "2"},
		squareTile:      {"TILE": "1", "FOURS": "1", "TILE_A": "272"},
		tallTile:        {"TILE": "1", "FOURS": "2", "TILE_A": "528"},
	} {
		for epilogue, layouts := range [epilogues][]string{plain: {"nn", "nt", "tn"}, mixed: {"nn", "nt", "tn"}, gelu: {"nt"}, geluGradient: {"nn"}} {
			for _, layout := range layouts {
				for scalar := range 2 {
					d := wgsl.Defines{"TILE": "0", "FOURS": "0", "TILE_A": "0", "LANES": "0", "GROUP": "0", "COLS": "0", "SUBGROUPS": "0",
						"PLAIN": "0", "MIXED": "0", "GELU": "0", "GELU_GRADIENT": "0", "TRANSPOSE_A": "0", "TRANSPOSE_B": "0",
						"SCALAR": strconv.Itoa(scalar), "ELEMENT": [2]string{"vec4<f32>", "f32"}[scalar], "ROW_G": chosen["GROUP"], "ROW_I": "1"}
					maps.Copy(d, chosen)
					d[epilogueNames[epilogue]] = "1"
					ta, tb := strings.Index(layout, "tn")+1, strings.Index(layout, "nt")+1
					d["TRANSPOSE_A"], d["TRANSPOSE_B"] = strconv.Itoa(ta), strconv.Itoa(tb)
					if tile >= squareTile {
						d["ROW_G"] = "0"
					} else if ta == 1 && d["SUBGROUPS"] == "1" {
						d["ROW_G"], d["ROW_I"] = "1", "4" // one read of a spans four rows
					}
					name := fmt.Sprintf("matmul_%s_%s_%dx%d%s", layout, strings.ToLower(epilogueNames[epilogue]), tileSize[tile][0], tileSize[tile][1], [2]string{"", "_scalar"}[scalar])
					all[tile][epilogue][ta][tb][scalar] = register(name, "matmul.wgsl", d, "a b c vector extra", func(p ref.MatmulParams, b []ref.Buffer) {
						ref.Matmul(p, b[0].F, b[1].F, b[2].F, b[3].F, b[4].F)
					})
				}
			}
		}
	}
	return all
}()

// The epilogues that are kernels of their own.
const (
	plain = iota // bias, row scale
	mixed        // the others
	gelu
	geluGradient
	epilogues
)

var epilogueNames = [epilogues]string{"PLAIN", "MIXED", "GELU", "GELU_GRADIENT"}

// epilogueKernel says which of them computes an epilogue.
func epilogueKernel(epilogue uint32) int {
	switch {
	case epilogue&ref.EpilogueGELU != 0:
		return gelu
	case epilogue&ref.EpilogueGELUGrad != 0:
		return geluGradient
	case epilogue&^(ref.EpilogueBias|ref.EpilogueRowScale) != 0:
		return mixed
	}
	return plain
}

// The variants of matmul.wgsl by what one workgroup computes.
const (
	sharedRegisters = iota // 32×32, in registers, reading a by subgroups of 8
	quadRegisters          // 16×16, in registers, reading a by subgroups of 4
	registers              // 16×64, in registers
	squareTile             // 64×64, through workgroup memory
	tallTile               // 128×64
	tiles
)

// tileSize is the rows and columns of c that one workgroup computes.
var tileSize = [tiles][2]int{{32, 32}, {16, 16}, {16, 64}, {64, 64}, {128, 64}}

// chunkSums moves elements one by one, or four at a time.
var chunkSums = [2]*kernel{
	chunkSumsKernel("chunk_sums", "f32", "1"),
	chunkSumsKernel("chunk_sums_4", "vec4<f32>", "4"),
}

func chunkSumsKernel(name, element, width string) *kernel {
	return register(name, "chunk_sums.wgsl", wgsl.Defines{"ELEMENT": element, "WIDTH": width}, "x dst", func(p ref.ChunkSumsParams, b []ref.Buffer) {
		ref.ChunkSums(p, b[0].F, b[1].F)
	})
}

// product is a matrix product to launch. Absent tensors are nil.
type product struct {
	ref.MatmulParams
	c, a, b, vector, extra Tensor
	turnA, turnB           bool // a's columns, b's columns lie along memory
	padded                 bool // rows of c end in elements that are no one's
}

// The three layouts of operands that lie whole and row-major in memory.

func nn(c, a, b Tensor) product { return dense("MatMul", c, a, b, false, false) }
func nt(c, a, b Tensor) product { return dense("MatMulNT", c, a, b, false, true) }
func tn(c, a, b Tensor) product { return dense("MatMulTN", c, a, b, true, false) }

func dense(name string, c, a, b Tensor, transposeA, transposeB bool) product {
	m, k := a.Rows(), a.Cols()
	p := product{c: c, a: a, b: b, turnA: transposeA, turnB: transposeB}
	p.RowA, p.ColA = uint32(k), 1
	if transposeA {
		m, k = k, m
		p.RowA, p.ColA = p.ColA, p.RowA
	}
	kb, n := b.Rows(), b.Cols()
	p.RowB, p.ColB = uint32(n), 1
	if transposeB {
		kb, n = n, kb
		p.RowB, p.ColB = p.ColB, p.RowB
	}
	if kb != k || c.Rows() != m || c.Cols() != n {
		panic(fmt.Sprintf("gpu: %s: c is %v, a is %v, b is %v", name, c, a, b))
	}
	p.M, p.N, p.K, p.RowC = uint32(m), uint32(n), uint32(k), uint32(n)
	return p
}

// strided is a matrix for every sample and head inside a tensor.
type strided struct {
	Tensor
	offset, row, col, sample, head int
	turned                         bool // columns lie along memory
}

func (s strided) transposed() strided {
	s.row, s.col, s.turned = s.col, s.row, !s.turned
	return s
}

// batched is the product of m×k by k×n matrices for every sample and head.
func batched(m, n, k, samples, heads int, c, a, b strided) product {
	p := product{c: c.Tensor, a: a.Tensor, b: b.Tensor, turnA: a.turned, turnB: b.turned}
	p.M, p.N, p.K = uint32(m), uint32(n), uint32(k)
	p.Batches, p.Heads = uint32(samples*heads), uint32(heads)
	p.OffsetA, p.RowA, p.ColA, p.BatchA, p.HeadA = uint32(a.offset), uint32(a.row), uint32(a.col), uint32(a.sample), uint32(a.head)
	p.OffsetB, p.RowB, p.ColB, p.BatchB, p.HeadB = uint32(b.offset), uint32(b.row), uint32(b.col), uint32(b.sample), uint32(b.head)
	p.OffsetC, p.RowC, p.BatchC, p.HeadC = uint32(c.offset), uint32(c.row), uint32(c.sample), uint32(c.head)
	return p
}

// multiply launches p, one batch unless it says how many.
func (e *Encoder) multiply(p product) {
	if p.Batches == 0 {
		p.Batches, p.Heads = 1, 1
	}
	if p.LastK == 0 {
		p.LastK = p.K
	}
	if p.Scale == 0 {
		p.Scale = 1
	}
	// extra is bound for writing, so its stand-in may not be vector's.
	vector, extra := p.vector, p.extra
	if vector.IsNil() {
		vector = e.d.none(true)
	}
	if extra.IsNil() {
		extra = e.d.scratch("no extra", Align)
	}
	ta, tb, scalar := 0, 0, 1
	alongA, alongB := p.RowA, p.RowB
	if p.turnA {
		ta, alongA = 1, p.ColA
	}
	if p.turnB {
		tb, alongB = 1, p.ColB
	}
	strides := p.OffsetA | alongA | p.BatchA | p.HeadA | p.OffsetB | alongB | p.BatchB | p.HeadB | p.OffsetC | p.RowC | p.BatchC | p.HeadC
	if strides%4 == 0 && (p.N%4 == 0 || p.padded) {
		scalar = 0
	}
	tile := e.d.tuning.tile(int(p.M), int(p.N), int(p.Batches))
	size := tileSize[tile]
	groups := e.groups1(ceil(int(p.M), size[0]))
	groups[1], groups[2] = groups[1]*ceil(int(p.N), size[1]), int(p.Batches)
	launch(e, matmulKernels[tile][epilogueKernel(p.Epilogue)][ta][tb][scalar], groups, p.MatmulParams, p.a, p.b, p.c, vector, extra)
}

// MatMul computes c (m, n) = a (m, k)·b (k, n).
func (e *Encoder) MatMul(c, a, b Tensor) { e.multiply(nn(c, a, b)) }

// MatMulNT computes c (m, n) = a (m, k)·bᵀ, b (n, k).
func (e *Encoder) MatMulNT(c, a, b Tensor) { e.multiply(nt(c, a, b)) }

// MatMulTN computes c (m, n) = aᵀ·b, a (k, m), b (k, n).
func (e *Encoder) MatMulTN(c, a, b Tensor) { e.multiply(tn(c, a, b)) }

// linearProduct is x·wᵀ + bias, after checking that bias fits.
func linearProduct(name string, y, x, w, bias Tensor) product {
	if x.Cols() != w.Cols() || y.Rows() != x.Rows() || y.Cols() != w.Rows() || !bias.IsNil() && bias.Len() != w.Rows() {
		panic(fmt.Sprintf("gpu: %s: y is %v, x is %v, w is %v, bias is %v", name, y, x, w, bias))
	}
	p := nt(y, x, w)
	if !bias.IsNil() {
		p.vector, p.Epilogue = bias, ref.EpilogueBias
	}
	return p
}

func sameShape(name, what string, a, b Tensor) {
	if a.Rows() != b.Rows() || a.Cols() != b.Cols() {
		panic(fmt.Sprintf("gpu: %s: %s is %v, the result is %v", name, what, b, a))
	}
}

// Linear computes y (…, out) = x (…, in)·wᵀ + bias; w (out, in), bias (out) or nil.
func (e *Encoder) Linear(y, x, w, bias Tensor) { e.multiply(linearProduct("Linear", y, x, w, bias)) }

// LinearGELU keeps pre = x·wᵀ + bias and computes y = GELU(pre), the exact one.
func (e *Encoder) LinearGELU(y, pre, x, w, bias Tensor) {
	p := linearProduct("LinearGELU", y, x, w, bias)
	sameShape("LinearGELU", "pre", y, pre)
	p.Epilogue, p.extra = p.Epilogue|ref.EpilogueGELU, pre
	e.multiply(p)
}

// LinearResidual computes y = residual + x·wᵀ + bias; y may not be the residual.
func (e *Encoder) LinearResidual(y, x, w, bias, residual Tensor) {
	p := linearProduct("LinearResidual", y, x, w, bias)
	sameShape("LinearResidual", "residual", y, residual)
	if y.buf == residual.buf && y.off == residual.off {
		panic(fmt.Sprintf("gpu: LinearResidual: y and the residual are both %s", y.label()))
	}
	p.Epilogue, p.extra = p.Epilogue|ref.EpilogueResidual, residual
	e.multiply(p)
}

func linearGradInput(name string, dx, dy, w Tensor) product {
	if dy.Cols() != w.Rows() || dx.Cols() != w.Cols() || dx.Rows() != dy.Rows() {
		panic(fmt.Sprintf("gpu: %s: dx is %v, dy is %v, w is %v", name, dx, dy, w))
	}
	return nn(dx, dy, w)
}

// LinearGradInput computes dx (…, in) = dy (…, out)·w (out, in).
func (e *Encoder) LinearGradInput(dx, dy, w Tensor) {
	e.multiply(linearGradInput("LinearGradInput", dx, dy, w))
}

// LinearGradInputAdd computes dx += dy·w.
func (e *Encoder) LinearGradInputAdd(dx, dy, w Tensor) {
	p := linearGradInput("LinearGradInputAdd", dx, dy, w)
	p.Epilogue = ref.EpilogueAdd
	e.multiply(p)
}

// LinearGradInputGELU computes dx = (dy·w) ∘ GELU′(pre), the gradient of the
// pre-activation that LinearGELU kept.
func (e *Encoder) LinearGradInputGELU(dx, dy, w, pre Tensor) {
	p := linearGradInput("LinearGradInputGELU", dx, dy, w)
	sameShape("LinearGradInputGELU", "pre", dx, pre)
	p.Epilogue, p.extra = ref.EpilogueGELUGrad, pre
	e.multiply(p)
}

// LinearGradWeight computes dw (out, in) += dyᵀ·x; dy (…, out), x (…, in).
// Where dw is small and the rows are many, chunks of rows are summed apart, so
// that there is work for the whole device, and then together.
func (e *Encoder) LinearGradWeight(dw, dy, x Tensor) {
	if dw.Rows() != dy.Cols() || dw.Cols() != x.Cols() || dy.Rows() != x.Rows() {
		panic(fmt.Sprintf("gpu: LinearGradWeight: dw is %v, dy is %v, x is %v", dw, dy, x))
	}
	p := tn(dw, dy, x)
	rows, size := dy.Rows(), dw.Len()
	splits := e.d.tuning.splits(size, rows)
	if splits <= 1 {
		p.Epilogue = ref.EpilogueAdd
		e.multiply(p)
		return
	}
	chunk := ceil(rows, splits)
	splits = ceil(rows, chunk)
	partial := e.d.scratch("partial weight gradients", e.d.tuning.parallel).Reshape(splits, size)
	p.c = partial
	p.Batches, p.Heads = uint32(splits), 1
	p.K, p.LastK = uint32(chunk), uint32(rows-(splits-1)*chunk)
	p.BatchA, p.BatchB, p.BatchC = uint32(chunk)*p.ColA, uint32(chunk)*p.RowB, uint32(size)
	e.multiply(p)
	e.sumChunks(dw, partial, splits, true)
}

// LinearGradBias computes db (out) += column sums of dy (…, out).
func (e *Encoder) LinearGradBias(db, dy Tensor) {
	rows, cols := dy.Rows(), dy.Cols()
	if db.Len() != cols {
		panic(shapes("LinearGradBias", "db", db, "dy", dy))
	}
	chunk := chunk(rows)
	if chunks := ceil(rows, chunk); chunks > 1 {
		partial := e.d.scratch("partial column sums", mostChunks(dy.cap/cols)*cols).Reshape(chunks, cols)
		e.sumChunks(partial, dy, chunk, false)
		dy, chunk = partial, chunks
	}
	e.sumChunks(db, dy, chunk, true)
}

// sumChunks sums every chunk rows of x into one of dst.
func (e *Encoder) sumChunks(dst, x Tensor, chunk int, add bool) {
	p := ref.ChunkSumsParams{Rows: uint32(x.Rows()), Cols: uint32(x.Cols()), Chunk: uint32(chunk)}
	if add {
		p.Add = 1
	}
	k, sums := chunkSums[0], ceil(max(1, x.Rows()), chunk)*x.Cols()
	if x.Cols()%4 == 0 {
		k, sums = chunkSums[1], sums/4
	}
	launch(e, k, e.groups1(ceil(sums, 64)), p, x, dst)
}

// productSizes are sizes around the tiles of the kernels: m, n, k.
var productSizes = [][3]int{
	{1, 1, 1}, {1, 5, 3}, {5, 1, 9}, {7, 8, 9}, {8, 12, 4}, {15, 17, 16}, {16, 16, 16}, {17, 15, 5}, {32, 36, 20},
	{63, 64, 65}, {64, 64, 64}, {65, 63, 7}, {65, 68, 8}, {127, 132, 36}, {128, 128, 128}, {129, 260, 12}, {3, 516, 33},
}

// variants runs f with every variant of the kernels that the device can run.
func (t *Trial) variants(f func()) {
	kept := t.d.tuning
	defer func() { t.d.tuning = kept }()
	for _, v := range []tuning{
		{registers: true, subgroups: 8, scores: kept.scores, parallel: kept.parallel},
		{registers: true, subgroups: 4, scores: kept.scores, parallel: kept.parallel},
		{registers: true, scores: kept.scores, parallel: kept.parallel},
		{tall: math.MaxInt, scores: kept.scores, parallel: kept.parallel},
		{scores: kept.scores, parallel: kept.parallel},
	} {
		if v.subgroups > t.under.subgroups || t.under.alone && (v.registers != t.under.registers || v.subgroups != t.under.subgroups) {
			continue
		}
		t.d.tuning = v
		f()
	}
}

// sums bounds the rounding of c = a·b and a few operations more on other:
// element by element (k + 4)·2⁻²⁴·(Σ|aᵢbᵢ| + |other|).
func (t *Trial) sums(p product, other ...Tensor) func(i int) float64 {
	magnitude := make([]float64, p.M*p.N)
	absolute := func(x Tensor) []float64 {
		v := t.Values(x)
		for i := range v {
			v[i] = math.Abs(v[i])
		}
		return v
	}
	q := p.MatmulParams
	q.Batches, q.Heads, q.LastK, q.Scale, q.Epilogue = 1, 1, q.K, 1, 0
	ref.Matmul(q, absolute(p.a), absolute(p.b), magnitude, nil, nil)
	for _, x := range other {
		v := absolute(x)
		for i := range magnitude {
			magnitude[i] += v[i%len(v)] // a bias repeats
		}
	}
	return func(i int) float64 { return float64(p.K+4) * Epsilon * magnitude[i] }
}

// plus adds to bound c·2⁻²⁴ of the values of x.
func (t *Trial) plus(bound func(int) float64, slope, c float64, x Tensor) func(int) float64 {
	v := t.Values(x)
	return func(i int) float64 { return slope*bound(i) + c*Epsilon*math.Abs(v[i]) }
}

// gelu is how much the error of the exact GELU's distribution function and the
// device's exp may be: 4·2⁻²⁴ and, for exp, 3 + 2|x²/2| units in the last
// place of x·φ(x), at most 4·2⁻²⁴ too.
const (
	geluError = 8
	geluSlope = 1.13 // largest derivative of GELU
)

func matmulCase(name string, run func(t *Trial, m, n, k int)) Case {
	return Case{name, func(t *Trial) {
		t.variants(func() {
			for _, s := range productSizes {
				run(t, s[0], s[1], s[2])
			}
		})
	}}
}

func matmulBench(n int, record func(e *Encoder, c, a, b Tensor)) Bench {
	return Bench{Shape: []int{n, n, n}, FLOP: 2 * float64(n) * float64(n) * float64(n), Bytes: 12 * float64(n) * float64(n),
		Record: func(d *Device) func(*Encoder) {
			c, a, b := d.Tensor("c", n, n), d.Tensor("a", n, n), d.Tensor("b", n, n)
			return func(e *Encoder) { record(e, c, a, b) }
		}}
}

// linearBench measures a layer of rows × in → out.
func linearBench(rows, out, in int, record func(e *Encoder, y, x, w, bias Tensor)) Bench {
	m, n, k := float64(rows), float64(out), float64(in)
	return Bench{Shape: []int{rows, out, in}, FLOP: 2 * m * n * k, Bytes: 4 * (m*n + m*k + n*k),
		Record: func(d *Device) func(*Encoder) {
			y, x, w, bias := d.Tensor("y", rows, out), d.Tensor("x", rows, in), d.Tensor("w", out, in), d.Tensor("bias", out)
			return func(e *Encoder) { record(e, y, x, w, bias) }
		}}
}

func linearGradBiasBench(rows, out int) Bench {
	n := float64(rows) * float64(out)
	return Bench{Shape: []int{rows, out}, FLOP: n, Bytes: 4 * n,
		Record: func(d *Device) func(*Encoder) {
			db, dy := d.Tensor("db", out), d.Tensor("dy", rows, out)
			return func(e *Encoder) { e.LinearGradBias(db, dy) }
		}}
}

func matmul() Op {
	return Op{
		Name: "matmul",
		Cases: []Case{matmulCase("nn", func(t *Trial, m, n, k int) {
			c, a, b := t.Out("c", m, n), t.In("a", m, k), t.In("b", k, n)
			t.E.MatMul(c, a, b)
			t.Within(c, t.sums(nn(c, a, b)))
		})},
		Bench: []Bench{
			matmulBench(256, (*Encoder).MatMul), matmulBench(512, (*Encoder).MatMul),
			matmulBench(1024, (*Encoder).MatMul), matmulBench(2048, (*Encoder).MatMul),
		},
	}
}

func matmulNT() Op {
	return Op{
		Name: "matmul_nt",
		Cases: []Case{matmulCase("nt", func(t *Trial, m, n, k int) {
			c, a, b := t.Out("c", m, n), t.In("a", m, k), t.In("b", n, k)
			t.E.MatMulNT(c, a, b)
			t.Within(c, t.sums(nt(c, a, b)))
		})},
		Bench: []Bench{matmulBench(1024, (*Encoder).MatMulNT)},
	}
}

func matmulTN() Op {
	return Op{
		Name: "matmul_tn",
		Cases: []Case{matmulCase("tn", func(t *Trial, m, n, k int) {
			c, a, b := t.Out("c", m, n), t.In("a", k, m), t.In("b", k, n)
			t.E.MatMulTN(c, a, b)
			t.Within(c, t.sums(tn(c, a, b)))
		})},
		Bench: []Bench{matmulBench(1024, (*Encoder).MatMulTN)},
	}
}

func linearGELU() Op {
	return Op{
		Name: "linear_gelu",
		Bench: []Bench{linearBench(3136, 768, 192, func(e *Encoder, y, x, w, bias Tensor) {
			e.LinearGELU(y, e.d.scratch("pre", y.Len()).Reshape(y.Dims()...), x, w, bias)
		})},
	}
}

func linearGradWeight() Op {
	return Op{
		Name:  "linear_grad_weight",
		Bench: []Bench{linearBench(3136, 768, 192, func(e *Encoder, y, x, w, bias Tensor) { e.LinearGradWeight(w, y, x) })},
	}
}

func linearGradBias() Op {
	return Op{
		Name:  "linear_grad_bias",
		Bench: []Bench{linearGradBiasBench(3136, 768)},
	}
}

func linear() Op {
	return Op{
		Name: "linear",
		Bench: []Bench{ // as in a small vision transformer
			linearBench(1000, 192, 192, func(e *Encoder, y, x, w, bias Tensor) { e.Linear(y, x, w, bias) }),
			linearBench(3136, 768, 192, func(e *Encoder, y, x, w, bias Tensor) { e.Linear(y, x, w, bias) }),
		},
		Cases: []Case{
			matmulCase("bias", func(t *Trial, m, n, k int) {
				y, x, w, bias := t.Out("y", m, n), t.In("x", m, k), t.In("w", n, k), t.In("bias", n)
				t.E.Linear(y, x, w, bias)
				t.Within(y, t.sums(nt(y, x, w), bias))
			}),
			matmulCase("no bias", func(t *Trial, m, n, k int) {
				y, x, w := t.Out("y", m, n), t.In("x", m, k), t.In("w", n, k)
				t.E.Linear(y, x, w, Tensor{})
				t.Within(y, t.sums(nt(y, x, w)))
			}),
			matmulCase("gelu", func(t *Trial, m, n, k int) {
				y, pre, x, w, bias := t.Out("y", m, n), t.Out("pre", m, n), t.In("x", m, k), t.In("w", n, k), t.In("bias", n)
				t.E.LinearGELU(y, pre, x, w, bias)
				bound := t.sums(nt(y, x, w), bias)
				t.Within(pre, bound)
				t.Within(y, t.plus(bound, geluSlope, geluError, pre))
				t.E.LinearGELU(y, pre, x, w, Tensor{})
				bound = t.sums(nt(y, x, w))
				t.Within(pre, bound)
				t.Within(y, t.plus(bound, geluSlope, geluError, pre))
			}),
			matmulCase("residual", func(t *Trial, m, n, k int) {
				y, x, w, bias, residual := t.Out("y", m, n), t.In("x", m, k), t.In("w", n, k), t.In("bias", n), t.In("residual", m, n)
				t.E.LinearResidual(y, x, w, bias, residual)
				t.Within(y, t.sums(nt(y, x, w), bias, residual))
			}),
			matmulCase("grad input", func(t *Trial, m, n, k int) {
				dx, dy, w := t.Out("dx", m, n), t.In("dy", m, k), t.In("w", k, n)
				t.E.LinearGradInput(dx, dy, w)
				t.Within(dx, t.sums(nn(dx, dy, w)))
			}),
			matmulCase("grad input add", func(t *Trial, m, n, k int) {
				dx, dy, w, before := t.Out("dx", m, n), t.In("dy", m, k), t.In("w", k, n), t.In("before", m, n)
				t.E.MatMul(dx, dy, w) // whatever it is, added to once more
				t.E.LinearGradInputAdd(dx, dy, w)
				bound := t.sums(nn(dx, dy, w))
				t.Within(dx, func(i int) float64 { return 3 * bound(i) })
				bound = t.sums(nn(before, dy, w), before)
				t.E.LinearGradInputAdd(before, dy, w)
				t.Within(before, bound)
			}),
			matmulCase("grad input gelu", func(t *Trial, m, n, k int) {
				dx, dy, w, pre := t.Out("dx", m, n), t.In("dy", m, k), t.In("w", k, n), t.In("pre", m, n)
				t.E.LinearGradInputGELU(dx, dy, w, pre)
				plain := t.Out("plain", m, n)
				t.E.LinearGradInput(plain, dy, w)
				t.Within(dx, t.plus(t.sums(nn(dx, dy, w)), geluSlope, geluError, plain))
			}),
			matmulCase("grad weight", func(t *Trial, m, n, k int) {
				dw, dy, x := t.In("dw", m, n), t.In("dy", k, m), t.In("x", k, n)
				bound := t.sums(tn(dw, dy, x), dw)
				t.E.LinearGradWeight(dw, dy, x)
				t.Within(dw, bound)
			}),
			{"more rows than workgroups", func(t *Trial) {
				limits := t.d.info.Limits
				defer func() { t.d.info.Limits = limits }()
				t.d.info.Limits.Workgroups = 30
				t.variants(func() {
					for _, s := range [][3]int{{3905, 20, 8}, {2001, 68, 5}} { // more than 30 of the tallest tile, two of the widest
						y, x, w, bias := t.Out("y", s[0], s[1]), t.In("x", s[0], s[2]), t.In("w", s[1], s[2]), t.In("bias", s[1])
						t.E.Linear(y, x, w, bias)
						t.Within(y, t.sums(nt(y, x, w), bias))
						c, a := t.Out("c", s[0], s[1]), t.In("a", s[2], s[0])
						b := t.In("b", s[2], s[1])
						t.E.MatMulTN(c, a, b)
						t.Within(c, t.sums(tn(c, a, b)))
					}
				})
			}},
			{"grad weight of many rows", func(t *Trial) {
				t.variants(func() {
					for _, s := range [][3]int{{16, 20, 1024}, {7, 5, 1537}, {1, 1, 5000}, {24, 64, 511}} {
						dw, dy, x := t.In("dw", s[0], s[1]), t.In("dy", s[2], s[0]), t.In("x", s[2], s[1])
						bound := t.sums(tn(dw, dy, x), dw)
						t.E.LinearGradWeight(dw, dy, x)
						t.Within(dw, bound)
					}
				})
			}},
			{"grad bias", func(t *Trial) {
				for _, s := range [][2]int{{1, 1}, {15, 3}, {16, 64}, {17, 65}, {1000, 7}, {4097, 192}} {
					db, dy, ones := t.In("db", s[1]), t.In("dy", s[0], s[1]), t.InFunc("ones", func(int) float64 { return 1 }, s[0], 1)
					bound := t.sums(tn(db.Reshape(1, s[1]), ones, dy), db)
					t.E.LinearGradBias(db, dy)
					t.Within(db, bound)
				}
			}},
		},
	}
}
