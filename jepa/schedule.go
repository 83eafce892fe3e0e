package jepa

import "math"

// Schedule gives what changes over training as functions of the update t,
// counted from 0.
type Schedule struct {
	c             *Config
	Total         int // T, updates of the whole training
	StepsPerEpoch int // updates
}

// Values are what one update uses.
type Values struct {
	LR, WeightDecay float64
	Momentum        float64 // λ of θ̄ ← λθ̄ + (1−λ)θ
}

// NewSchedule lays the schedules of c out over epochs of stepsPerEpoch
// updates.
func NewSchedule(c *Config, stepsPerEpoch int) *Schedule {
	total := c.MaxEpochs * stepsPerEpoch
	if c.MaxSteps > 0 {
		total = c.MaxSteps
	}
	return &Schedule{c, total, stepsPerEpoch}
}

// At is what update t (from 0) uses.
func (s *Schedule) At(t int) Values {
	return Values{LR: s.lr(t), WeightDecay: s.weightDecay(t), Momentum: s.Momentum(t)}
}

// epochs of the whole training, fractional where max_steps cuts one.
func (s *Schedule) epochs() float64 { return float64(s.Total) / float64(s.StepsPerEpoch) }

func (s *Schedule) lr(t int) float64 {
	c := s.c
	if c.LRScheduler == "none" {
		return c.LearningRate
	}
	T := float64(s.Total) * c.ScheduleScale
	if c.Preset == "paper" {
		// The released code moves the rate before each update, so t counts from 1,
		// and rounds the length of the schedule down.
		return paperWarmupCosine(float64(t+1), c.WarmupEpochs*float64(s.StepsPerEpoch), math.Floor(T), c)
	}
	if c.Interval == "epoch" {
		return warmupCosine(math.Floor(float64(t)/float64(s.StepsPerEpoch)), c.WarmupEpochs, s.epochs()*c.ScheduleScale, c)
	}
	return warmupCosine(float64(t), c.WarmupEpochs*float64(s.Total)/s.epochs(), T, c)
}

// warmupCosine rises linearly over W steps and falls by a cosine until T
// (nidl's LinearWarmupCosineAnnealing).
func warmupCosine(t, W, T float64, c *Config) float64 {
	switch {
	case t < W:
		if W <= 1 {
			return c.WarmupStartLR
		}
		return c.WarmupStartLR + t*(c.LearningRate-c.WarmupStartLR)/(W-1)
	case t == W:
		return c.LearningRate
	}
	return c.MinLR + (c.LearningRate-c.MinLR)*(1+math.Cos(math.Pi*(t-W)/(T-W)))/2
}

func paperWarmupCosine(t, W, T float64, c *Config) float64 {
	if t < W {
		return c.WarmupStartLR + t/W*(c.LearningRate-c.WarmupStartLR)
	}
	progress := (t - W) / math.Max(1, T-W)
	return math.Max(c.MinLR, c.MinLR+(c.LearningRate-c.MinLR)*(1+math.Cos(math.Pi*progress))/2)
}

func (s *Schedule) weightDecay(t int) float64 {
	c := s.c
	if c.WeightDecay == c.WeightDecayEnd {
		return c.WeightDecay
	}
	progress := float64(t+1) / math.Floor(float64(s.Total)*c.ScheduleScale)
	return c.WeightDecayEnd + (c.WeightDecay-c.WeightDecayEnd)*(1+math.Cos(math.Pi*progress))/2
}

// Momentum is λ after update t; the first update uses ema_start.
func (s *Schedule) Momentum(t int) float64 {
	c := s.c
	progress := float64(t) / (float64(s.Total) * c.ScheduleScale)
	if c.EMASchedule == "linear" {
		return c.EMAStart + progress*(c.EMAEnd-c.EMAStart)
	}
	return c.EMAEnd - (c.EMAEnd-c.EMAStart)*(math.Cos(math.Pi*progress)+1)/2
}
