// Package model is the Vision Transformer of I-JEPA: the encoder that turns an
// image or a volume into patch features, and the predictor that fills in the
// features of hidden blocks.
//
// Letters, here and in every comment: B batch, C channels, P patches of a
// sample, K context tokens kept, L target tokens of a block, M target blocks,
// R prefix tokens (class and register), D encoder width, D′ predictor width,
// H heads, T tokens of a sequence.
//
// Semantics and parameter names are timm's VisionTransformer (2-D) and nidl's
// VisionTransformer3D (3-D); the predictor's names are nidl's. A network's
// parameters lie in one flat Arena, those that take weight decay first, so
// that the optimizer and the momentum update are one dispatch each. A network
// is its arena's weights and a workspace of activations, sized once for the
// longest sequence; shorter ones reuse it.
//
// Forward and Backward record launches and compute nothing themselves.
package model
