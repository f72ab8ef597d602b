"""Tables that classify graph operations: synonyms, activations, contractions and others.

Names are those of graph nodes (`NodeDef.op`), both in TensorFlow's graphs and in a converted `model.json`;
the layers of a layers model have the names of Keras classes instead. A set "by `same_operation`" holds one
name for each group of operations that compute the same: test `same_operation(op) in SET`.
"""

from __future__ import annotations

import re

# Names


FUSED_CONTRACTIONS = {
    "_FusedConv2D": "Conv2D",
    "_FusedMatMul": "MatMul",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
}
"""Contractions with a bias and an activation fused in by the converter: the contraction alone."""

_SAME = {
    "AddV2": "Add",
    "BiasAdd": "Add",
    "AddN": "Add",
    "BatchMatMulV2": "BatchMatMul",
    "BatchMatMulV3": "BatchMatMul",
    "FusedBatchNorm": "FusedBatchNormV3",
    "FusedBatchNormV2": "FusedBatchNormV3",
    "Div": "RealDiv",
    "Select": "SelectV2",
    "PadV2": "Pad",
    **FUSED_CONTRACTIONS,
}


def same_operation(op: str) -> str:
    """One name for operations that compute the same, but for what is fused in and what PadV2 pads with."""
    return _SAME.get(op, op)


# Operations that compute nothing


PASS_THROUGH = frozenset(
    {"Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics", "ReadVariableOp"}
)
"""The output is the first input, unchanged."""

RESHAPES = frozenset({"Reshape", "Squeeze", "ExpandDims"})
"""The output has the elements of the first input in the same order, in another shape."""

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderWithDefault"})
"""Nodes that are fed."""

CONTROL_FLOW = frozenset({"Enter", "Exit", "Merge", "Switch", "NextIteration", "LoopCond"})
"""Nodes that loops and branches are lowered to."""

WITHOUT_VALUE = CONTROL_FLOW - {"Exit", "Merge"}
"""Those of `CONTROL_FLOW` whose outputs cannot be read."""

COPIES_ELEMENTS = PASS_THROUGH | RESHAPES | {
    "IdentityN", "Transpose", "Pad", "PadV2", "MirrorPad", "Slice", "StridedSlice", "ConcatV2", "Concat",
    "Pack", "Unpack", "Split", "SplitV", "GatherV2", "Gather", "GatherNd", "Tile", "BroadcastTo", "Reverse",
    "ReverseV2", "ReverseSequence", "SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace",
    "ScatterNd", "TensorScatterUpdate", "Select", "SelectV2", "MatrixDiag", "Diag", "MatrixBandPart", "Roll",
    "ResizeNearestNeighbor", "SparseToDense", "InvertPermutation", "Fill", "ZerosLike", "OnesLike",
    "ExtractImagePatches", "MatrixDiagV3", "MatrixDiagPartV3", "EnsureShape", "DynamicStitch",
}  # fmt: skip
"""Each element of the output is one of an input, or a constant; nothing is rounded."""

FILLS = frozenset({"Const", "Fill", "OnesLike", "ZerosLike"})
"""Every element may be the same by design."""

PARTS = frozenset({"GatherV2", "Slice", "Split", "SplitV", "StridedSlice", "Unpack"})
"""The output is a part of the input."""

PADS = frozenset({"Pad", "PadV2", "MirrorPad"})
"""The output is the input with a border."""


# Sums of products


MATRIX_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
"""Products of matrices, of one pair or of many."""

IMAGE_CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2dNative"})
"""Convolutions over images."""

TRANSPOSED_CONVOLUTIONS = frozenset({"Conv2DBackpropInput", "Conv3DBackpropInputV2"})
"""Transposed convolutions: Keras's Conv2DTranspose and Conv3DTranspose."""

CONTRACTIONS = (
    MATRIX_PRODUCTS
    | IMAGE_CONVOLUTIONS
    | TRANSPOSED_CONVOLUTIONS
    | {"Conv3D", "DepthwiseConv2dNativeBackpropInput", "Einsum"}
)
"""Each element of the output is a sum of products of elements of two inputs."""

FOLDING_CONTRACTIONS = frozenset(
    {"Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput"}
)
"""Contractions into whose weights and bias the converter moves constant factors and summands."""


# Arithmetic


ADDITIVE = frozenset({"Add", "Sub"})
"""Sums and differences, by `same_operation`: the converter may move a constant one into a bias."""

SUMS = ADDITIVE | {"AddV2", "AddN", "BiasAdd"}
"""All operations that `same_operation` names as one of `ADDITIVE`."""

MULTIPLICATIVE = frozenset({"Mul", "RealDiv", "Neg"})
"""Constant factors, by `same_operation`: the converter may move one into weights."""

PRODUCTS = frozenset({"Mul", "MulNoNan"})
"""Products of two elements: one factor of 0 decides."""

QUOTIENTS = frozenset({"RealDiv", "Div", "DivNoNan", "Xdivy"})
"""Quotients of two elements."""

COMMUTATIVE = frozenset(
    {"Add", "Mul", "Maximum", "Minimum", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "SquaredDifference"}
)
"""The order of the two inputs does not matter; by `same_operation`."""

REDUCTIONS = frozenset({"Mean", "Sum", "Prod", "Max", "Min"})
"""One number for all elements along some axes."""


# Layers


BATCH_NORM = "FusedBatchNormV3"
"""The name that `same_operation` gives the batch-norms."""

BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
"""(x - mean)·scale/√(variance + ε) + offset, with the inputs x, scale, offset, mean, variance."""

IMAGE_POOLS = frozenset({"MaxPool", "AvgPool"})
"""Pooling over windows of an image."""

RESIZES = frozenset({"ResizeBilinear", "ResizeNearestNeighbor"})
"""Resizing of images."""

ACTIVATIONS = frozenset(
    {"Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Softmax"}
)
"""Activation functions that are one operation of one input."""

FUSED_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid"})
"""What TF.js 4.22 computes within a fused contraction; on every backend it refuses all others."""

SATURATING = frozenset({"Sigmoid", "Softmax", "Tanh"})
"""Activations that tend to 0 and 1, or to -1 and 1."""

PIECEWISE_LINEAR = frozenset({"Relu", "Relu6", "Abs", "Neg", "Conj", "Real", "Imag", "ClipByValue"})
"""Functions of slope 1, 0 or -1, which round nothing."""


# Operations with few values, or with chance


ROUNDS_TO_FEW = frozenset({"Cast", "Ceil", "Floor", "OneHot", "Rint", "Round", "Sign"})
"""The output has few values, in any dtype: all elements are often the same."""

DISCONTINUOUS = frozenset({
    "Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "LogicalAnd", "LogicalOr",
    "LogicalNot", "Floor", "Ceil", "Round", "Rint", "Sign", "ArgMax", "ArgMin", "IsNan",
    "IsInf", "IsFinite", "Where", "OneHot", "Range", "Shape", "ShapeN", "Size", "Rank", "All", "Any",
    "TopKV2", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4",
    "NonMaxSuppressionV5", "Unique", "UniqueV2", "DenseBincount", "Bincount", "LookupTableFind",
    "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2", "StaticRegexReplace", "StringSplitV2",
    "StringToHashBucketFast", "Bucketize", "LowerBound", "UpperBound", "BitwiseAnd", "BitwiseOr",
    "BitwiseXor", "BroadcastArgs", "LeftShift", "RightShift", "InTopKV2", "StringNGrams",
    "MaxPoolWithArgmax",
})  # fmt: skip
"""Discontinuous: exact on exact inputs; otherwise no error bound exists."""

RANDOM = frozenset(
    {
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "TruncatedNormal",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "Multinomial",
        "StatefulRandomBinomial",
        "StatefulStandardNormal",
        "StatefulStandardNormalV2",
        "StatefulTruncatedNormal",
        "StatefulUniform",
        "StatefulUniformFullInt",
        "StatefulUniformInt",
    }
)
"""The output does not follow from the inputs."""

_SEEDED_RANDOM = re.compile(r"Stateless(Random|Truncated|Parameterized|Multinomial|Shuffle|Sample)")


def is_random(op: str) -> bool:
    """Whether an operation draws random numbers, also where it takes the seed as an input."""
    return op in RANDOM or _SEEDED_RANDOM.match(op) is not None
