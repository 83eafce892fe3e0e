package jepa

import (
	"fmt"
	"math"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
	"wgjepa/maskgen"
	"wgjepa/model"
)

// surpriseSeed separates the masks of Surprise from training's.
const surpriseSeed = 0x73757270

// Surprise says where the predictor errs: what of a sample cannot be told from
// the rest of it.
type Surprise struct {
	Config Config

	device          *gpu.Device
	masks           *maskgen.Sampler
	context, target *model.Encoder
	predictor       *model.PredictorRunner

	x                         gpu.Tensor // (1, C, …)
	contextIndex, targetIndex gpu.Tensor // (1, K), (M, 1, L)
	zTarget                   gpu.Tensor // (M, L, D)
	m                         maskgen.Masks
	targetsAt, predictedAt    []float32
	sum                       []float64 // (P)
	count                     []int     // (P)
}

// Surprise reads the trainer's own networks. It shares the trainer's workspace
// and belongs between updates, which it does not change.
func (t *Trainer) Surprise() *Surprise {
	return &Surprise{
		Config: t.Config, device: t.device, masks: t.masks, context: t.context, target: t.target, predictor: t.predictor,
		x: t.x, contextIndex: t.contextIndex, targetIndex: t.targetIndex, zTarget: t.zTarget,
	}
}

// LoadSurprise opens the three networks of a state or weights file.
func LoadSurprise(d *gpu.Device, f *checkpoint.File) (*Surprise, error) {
	c, err := ReadConfig(f)
	if err != nil {
		return nil, err
	}
	sampler, err := maskgen.New(c.Masks())
	if err != nil {
		return nil, fmt.Errorf("jepa: %s: %w", f.Path(), err)
	}
	arenas := func(d *gpu.Device) (*model.EncoderWeights, *model.EncoderWeights, *model.PredictorWeights, []network) {
		context := model.NewEncoderWeights(d, "context encoder", c.Encoder, false)
		target := model.NewEncoderWeights(d, "target encoder", c.Encoder, false)
		predictor := model.NewPredictorWeights(d, c.Predictor(), false)
		return context, target, predictor, []network{{ContextEncoder, context.Arena}, {TargetEncoder, target.Arena}, {predictorName, predictor.Arena}}
	}
	_, _, _, list := arenas(gpu.Estimate(d.Info()))
	for _, n := range list {
		if err := n.isIn(f); err != nil {
			return nil, err
		}
	}
	context, target, predictor, list := arenas(d)
	for _, n := range list {
		if err := n.load(f); err != nil {
			return nil, err
		}
	}
	M, K, L := c.NumTargetBlocks, sampler.MaxContext(), sampler.MaxTarget()
	return &Surprise{
		Config: c, device: d, masks: sampler,
		context: model.NewEncoder(context, "context encoder", 1, K, false), target: model.NewEncoder(target, "target encoder", 1, c.Encoder.Patches(), false),
		predictor:    model.NewPredictorRunner(predictor, 1, M, K, L, false),
		x:            d.Tensor("x", c.Encoder.SampleLen()),
		contextIndex: d.Indices("context indices", K), targetIndex: d.Indices("target indices", M*L), zTarget: d.Tensor("targets", M*L, c.Encoder.EmbedDim),
	}, d.Err()
}

// Patches writes the error of each patch of the sample x (C, …) to dst (P): the
// smooth L1 loss of its predicted features, the mean over all draws of masks
// that had it as a target, NaN where none had. Masks are a function of (seed,
// draw), so that samples can be compared.
func (s *Surprise) Patches(x []float32, draws int, dst []float32) error {
	c := &s.Config
	P, D := c.Encoder.Patches(), c.Encoder.EmbedDim
	n := c.Encoder.SampleLen()
	if len(x) != n || len(dst) != P || draws < 1 {
		panic(fmt.Sprintf("jepa: Surprise: %d draws of a sample of %d numbers into %d patches, not of %d into %d", draws, len(x), len(dst), n, P))
	}
	if s.sum == nil {
		s.sum, s.count = make([]float64, P), make([]int, P)
	}
	clear(s.sum)
	clear(s.count)
	s.device.Write(s.x, x)
	sample := s.x.Reshape(1, n)
	var h gpu.Tensor
	for draw := range draws {
		if err := s.masks.Sample(&s.m, c.Seed^surpriseSeed, uint64(draw), 1); err != nil {
			return fmt.Errorf("jepa: surprise: %w", err)
		}
		s.device.WriteIndices(s.contextIndex, s.m.Context)
		s.device.WriteIndices(s.targetIndex, s.m.Target)
		contextIndex, targetIndex := s.contextIndex.Reshape(1, s.m.K), s.targetIndex.Reshape(s.m.M, 1, s.m.L)
		e := s.device.Begin()
		if draw == 0 { // the target encoder sees the whole sample, whatever the masks
			h = s.target.Forward(e, sample, gpu.Tensor{})
		}
		zTarget := s.zTarget.Reshape(s.m.M, s.m.L, D)
		e.TargetNorm(zTarget, h, targetIndex, targetNormEps)
		s.context.SetTraining(false)
		z := s.context.Forward(e, sample, contextIndex)
		s.context.SetTraining(true)
		p := s.predictor.Forward(e, z, contextIndex, targetIndex)
		if err := e.Submit(); err != nil {
			return fmt.Errorf("jepa: surprise: %w", err)
		}
		if err := s.add(zTarget, p, D); err != nil {
			return fmt.Errorf("jepa: surprise: %w", err)
		}
	}
	for i := range dst {
		dst[i] = float32(s.sum[i] / float64(s.count[i])) // 0/0 is NaN
	}
	return nil
}

// add reads the target features and the predictions (M, L, D) of a draw and adds
// the errors of its patches.
func (s *Surprise) add(zTarget, p gpu.Tensor, D int) error {
	n := p.Len()
	if len(s.targetsAt) < n {
		s.targetsAt, s.predictedAt = make([]float32, n), make([]float32, n)
	}
	if err := gpu.ReadAll(s.device, []gpu.Tensor{zTarget, p}, [][]float32{s.targetsAt[:n], s.predictedAt[:n]}); err != nil {
		return err
	}
	for row, patch := range s.m.Target { // (M, 1, L)
		sum := 0.0
		for i := row * D; i < (row+1)*D; i++ {
			if d := math.Abs(float64(s.predictedAt[i]) - float64(s.targetsAt[i])); d < 1 {
				sum += d * d / 2
			} else {
				sum += d - 0.5
			}
		}
		s.sum[patch] += sum / float64(D)
		s.count[patch]++
	}
	return nil
}
