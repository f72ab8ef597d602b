"""Graphs before and after the converter fuses nodes into one, for `test_graph_matching.py`."""

from __future__ import annotations

from tests.support.graph_building import Case, graph, node

CONV_BN = (
    node("conv", "Conv2D", "x", "kernel"),
    node("bn", "FusedBatchNormV3", "conv", "gamma", "beta", "mean", "variance"),
    node("relu6", "Relu6", "bn"),
)
CONV_BIAS_BN = (
    node("conv", "Conv2D", "x", "kernel"),
    node("bias", "BiasAdd", "conv", "b"),
    node("bn", "FusedBatchNormV3", "bias", "gamma", "beta", "mean", "variance"),
    node("relu", "Relu", "bn"),
)

FUSIONS = {
    "convolution named after its last fused operation": Case(
        graph(
            node("conv", "Conv2D", "x", "k"), node("bias", "BiasAdd", "conv", "b"), node("r", "Relu6", "bias")
        ),
        graph(node("r", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd", "Relu6"])),
        {"r": "r"},
        names_suffice=True,
    ),
    "depthwise convolution with its own name": Case(
        graph(
            node("depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("bias", "BiasAdd", "depthwise", "b"),
            node("r", "Relu6", "bias"),
        ),
        graph(node("depthwise", "FusedDepthwiseConv2dNative", "x", "k", "b", fused=["BiasAdd", "Relu6"])),
        {"depthwise": "r"},
    ),
    "depthwise convolution with a fused batch-norm": Case(
        graph(
            node("depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("bn", "FusedBatchNormV3", "depthwise", "gamma", "beta", "mean", "variance"),
            node("r", "Relu6", "bn"),
            node("next", "Conv2D", "r", "k2"),
        ),
        graph(
            node(
                "depthwise",
                "FusedDepthwiseConv2dNative",
                "x",
                "depthwise_weights",
                "depthwise_bn_offset",
                fused=["BiasAdd", "Relu6"],
            ),
            node("next", "Conv2D", "depthwise", "k2"),
        ),
        {"depthwise": "r", "next": "next"},
    ),
    "matrix product": Case(
        graph(node("mm", "MatMul", "x", "k"), node("bias", "BiasAdd", "mm", "b"), node("r", "Relu", "bias")),
        graph(node("mm", "_FusedMatMul", "x", "k", "b", fused=["BiasAdd", "Relu"])),
        {"mm": "r"},
    ),
    "batch-norm folded into a convolution": Case(
        graph(*CONV_BN),
        graph(
            node("conv", "Conv2D", "x", "conv_weights"),
            node("bn", "BiasAdd", "conv", "conv_bn_offset"),
            node("relu6", "Relu6", "bn"),
        ),
        {"bn": "bn", "relu6": "relu6"},
    ),
    "batch-norm folded into a convolution with a bias": Case(
        graph(*CONV_BIAS_BN),
        graph(node("relu", "_FusedConv2D", "x", "conv_weights", "conv_bn_offset", fused=["BiasAdd", "Relu"])),
        {"relu": "relu"},
        names_suffice=True,
    ),
    "folded batch-norm under the convolution's name": Case(
        graph(*CONV_BIAS_BN),
        graph(
            node("conv", "_FusedConv2D", "x", "conv_weights", "conv_bn_offset", fused=["BiasAdd"]),
            node("relu", "Relu", "conv"),
        ),
        {"conv": "bn", "relu": "relu"},
    ),
    "batch-norm not folded": Case(
        graph(
            node("bn", "FusedBatchNormV3", "x", "gamma", "beta", "mean", "variance"), node("r", "Relu", "bn")
        ),
        graph(
            node("bn/Mul", "Mul", "x", "bn/Scaled"),
            node("bn", "Add", "bn/Mul", "bn/Offset"),
            node("r", "Relu", "bn"),
        ),
        {"bn": "bn", "r": "r"},
        names_suffice=True,
    ),
    "product folded into a convolution's weights": Case(
        graph(
            node("conv", "Conv2D", "x", "k"),
            node("mul", "Mul", "conv", "c"),
            node("add", "AddV2", "mul", "d"),
        ),
        graph(node("mul", "Conv2D", "x", "merged_input"), node("add", "AddV2", "mul", "d")),
        {"mul": "mul", "add": "add"},
        names_suffice=True,
    ),
    "PReLU": Case(
        graph(
            node("relu", "Relu", "x"),
            node("neg", "Neg", "x"),
            node("relu_1", "Relu", "neg"),
            node("mul", "Mul", "neg_alpha", "relu_1"),
            node("add", "AddV2", "relu", "mul"),
        ),
        graph(node("relu", "Prelu", "x", "neg_alpha")),
        {"relu": "add"},
    ),
    "PReLU fused into a convolution": Case(
        graph(
            node("conv", "Conv2D", "x", "k"),
            node("bias", "BiasAdd", "conv", "b"),
            node("relu", "Relu", "bias"),
            node("neg", "Neg", "bias"),
            node("relu_1", "Relu", "neg"),
            node("mul", "Mul", "neg_alpha", "relu_1"),
            node("add", "AddV2", "relu", "mul"),
        ),
        graph(node("bias", "_FusedConv2D", "x", "k", "b", "neg_alpha", fused=["BiasAdd", "Prelu"])),
        {"bias": "add"},
    ),
}
