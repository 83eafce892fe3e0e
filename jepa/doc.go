// Package jepa trains I-JEPA (Assran et al., "Self-Supervised Learning from
// Images with a Joint-Embedding Predictive Architecture", CVPR 2023): from the
// visible part of an image or volume, predict the representations that a
// slowly moving copy of the encoder gives the hidden blocks.
//
// Config says everything about a run, in the terms of nidl's IJEPA class; a
// file of it is TOML. Trainer.Step is one iteration, Run a whole training with
// checkpoints, Trainer.Embed the frozen features. The three presets:
//
//	default  nidl's parameters, with its defects mended
//	nidl     exactly what nidl does, for parity and for its models
//	paper    what the paper and its released code do
//
// Everything is a function of the seed: masks, initial weights, stochastic
// depth. The same seed on the same device gives the same bits, and a resumed
// run equals an uninterrupted one.
package jepa
