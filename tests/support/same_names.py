"""Graphs in which a converted node has the name of an unrelated source tensor.

Matching by name alone would compare such a node with the wrong tensor. The names are those of real converted
graphs, without common scopes.
"""

from __future__ import annotations

from tests.support.graph_building import Case, graph, node


def _prelu(name, x):
    """As Keras writes it out; the last operation is `name/add`."""
    return (
        node(f"{name}/Relu", "Relu", x),
        node(f"{name}/Neg_1", "Neg", x),
        node(f"{name}/Relu_1", "Relu", f"{name}/Neg_1"),
        node(f"{name}/mul", "Mul", f"{name}/Neg", f"{name}/Relu_1"),
        node(f"{name}/add", "AddV2", f"{name}/Relu", f"{name}/mul"),
    )


def _convolution(name, x):
    """A convolution of Keras 3 with bias and activation, the last of which is `name/Relu`."""
    return (
        node(f"{name}/convolution", "Conv2D", x, f"{name}/convolution/ReadVariableOp"),
        node(f"{name}/BiasAdd", "BiasAdd", f"{name}/convolution", f"{name}/Squeeze"),
        node(f"{name}/Relu", "Relu", f"{name}/BiasAdd"),
    )


def _fused(name, x):
    weights = (f"{name}/convolution/ReadVariableOp", f"{name}/Squeeze")
    return node(f"{name}/Relu", "_FusedConv2D", x, *weights, fused=["BiasAdd", "Relu"])


_DEPTHWISE_BN = (
    node("expand/depthwise", "DepthwiseConv2dNative", "x", "expand/ReadVariableOp"),
    node("bn/FusedBatchNormV3", "FusedBatchNormV3", "expand/depthwise", "gamma", "beta", "mean", "variance"),
)
_FOLDED = ("x", "expand/depthwise_weights", "expand/depthwise_bn_offset")

SAME_NAMES = {
    "MobileNetV2 depthwise convolution that computes its Relu6": Case(
        graph(
            *_DEPTHWISE_BN,
            node("relu/Relu6", "Relu6", "bn/FusedBatchNormV3"),
            node("project/Conv2D", "Conv2D", "relu/Relu6", "project/ReadVariableOp"),
            node("project_bn", "FusedBatchNormV3", "project/Conv2D", "gamma2", "beta2", "mean2", "variance2"),
        ),
        graph(
            node("expand/depthwise", "FusedDepthwiseConv2dNative", *_FOLDED, fused=["BiasAdd", "Relu6"]),
            node(
                "project_bn",
                "_FusedConv2D",
                "expand/depthwise",
                "project/Conv2D_weights",
                "project/Conv2D_bn_offset",
                fused=["BiasAdd"],
            ),
        ),
        {"expand/depthwise": "relu/Relu6", "project_bn": "project_bn"},
    ),
    "Keras 3 depthwise convolution that computes its BiasAdd": Case(
        graph(
            node("d_1/depthwise", "DepthwiseConv2dNative", "x", "d_1/depthwise/ReadVariableOp"),
            node("d_1/BiasAdd", "BiasAdd", "d_1/depthwise", "d_1/Squeeze"),
            node("bn_1/batchnorm/mul_1", "Mul", "d_1/BiasAdd", "bn_1/batchnorm/mul"),
            node("bn_1/batchnorm/add_1", "AddV2", "bn_1/batchnorm/mul_1", "bn_1/batchnorm/sub"),
        ),
        graph(
            node(
                "d_1/depthwise",
                "FusedDepthwiseConv2dNative",
                "x",
                "d_1/depthwise/ReadVariableOp",
                "d_1/Squeeze",
                fused=["BiasAdd"],
            ),
            node("bn_1/batchnorm/mul_1", "Mul", "d_1/depthwise", "bn_1/batchnorm/mul"),
            node("bn_1/batchnorm/add_1", "AddV2", "bn_1/batchnorm/mul_1", "bn_1/batchnorm/sub"),
        ),
        {
            "d_1/depthwise": "d_1/BiasAdd",
            "bn_1/batchnorm/mul_1": "bn_1/batchnorm/mul_1",
            "bn_1/batchnorm/add_1": "bn_1/batchnorm/add_1",
        },
    ),
    "batch-norm folded into a depthwise convolution": Case(
        graph(*_DEPTHWISE_BN, node("s/Softmax", "Softmax", "bn/FusedBatchNormV3")),
        graph(
            node("expand/depthwise", "FusedDepthwiseConv2dNative", *_FOLDED, fused=["BiasAdd"]),
            node("s/Softmax", "Softmax", "expand/depthwise"),
        ),
        {"expand/depthwise": "bn/FusedBatchNormV3", "s/Softmax": "s/Softmax"},
    ),
    "folded batch-norm whose activation has another reader": Case(
        graph(
            *_DEPTHWISE_BN,
            node("relu/Relu", "Relu", "bn/FusedBatchNormV3"),
            node("skip/add", "AddV2", "bn/FusedBatchNormV3", "relu/Relu"),
        ),
        graph(
            node("expand/depthwise", "FusedDepthwiseConv2dNative", *_FOLDED, fused=["BiasAdd"]),
            node("relu/Relu", "Relu", "expand/depthwise"),
            node("skip/add", "AddV2", "expand/depthwise", "relu/Relu"),
        ),
        {"expand/depthwise": "bn/FusedBatchNormV3", "relu/Relu": "relu/Relu", "skip/add": "skip/add"},
    ),
    "PReLU fused into a convolution under the bias's name": Case(
        graph(
            node("c1/Conv2D", "Conv2D", "x", "c1/k"),
            node("c1/BiasAdd", "BiasAdd", "c1/Conv2D", "c1/b"),
            *_prelu("p1", "c1/BiasAdd"),
            node("c2/Conv2D", "Conv2D", "p1/add", "c2/k"),
            node("c2/BiasAdd", "BiasAdd", "c2/Conv2D", "c2/b"),
            *_prelu("p2", "c2/BiasAdd"),
        ),
        graph(
            node("c1/BiasAdd", "_FusedConv2D", "x", "c1/k", "c1/b", "p1/Neg", fused=["BiasAdd", "Prelu"]),
            node(
                "c2/BiasAdd",
                "_FusedConv2D",
                "c1/BiasAdd",
                "c2/k",
                "c2/b",
                "p2/Neg",
                fused=["BiasAdd", "Prelu"],
            ),
        ),
        {"c1/BiasAdd": "p1/add", "c2/BiasAdd": "p2/add"},
    ),
    "PReLU fused into a depthwise convolution": Case(
        graph(
            node("d/depthwise", "DepthwiseConv2dNative", "x", "d/k"),
            node("d/BiasAdd", "BiasAdd", "d/depthwise", "d/b"),
            *_prelu("p", "d/BiasAdd"),
        ),
        graph(
            node(
                "d/depthwise",
                "FusedDepthwiseConv2dNative",
                "x",
                "d/k",
                "d/b",
                "p/Neg",
                fused=["BiasAdd", "Prelu"],
            )
        ),
        {"d/depthwise": "p/add"},
    ),
    "Keras 3 scopes that differ between traces": Case(
        graph(*_convolution("conv", "x"), *_convolution("conv_1", "conv/Relu")),
        graph(_fused("conv_1", "x"), _fused("conv_1_2", "conv_1/Relu")),
        {"conv_1/Relu": "conv/Relu", "conv_1_2/Relu": "conv_1/Relu"},
    ),
    "renamed scopes of different layers": Case(
        graph(
            node("dense/MatMul", "MatMul", "x", "dense/k"),
            node("dense/Tanh", "Tanh", "dense/MatMul"),
            node("dense_1/MatMul", "MatMul", "dense/Tanh", "dense_1/k"),
            node("dense_1/Sigmoid", "Sigmoid", "dense_1/MatMul"),
            node("dense_2/MatMul", "MatMul", "dense_1/Sigmoid", "dense_2/k"),
        ),
        graph(
            node("dense_1/MatMul", "MatMul", "x", "dense_1/k"),
            node("dense_1/Tanh", "Tanh", "dense_1/MatMul"),
            node("dense_2/MatMul", "MatMul", "dense_1/Tanh", "dense_2/k"),
            node("dense_2/Sigmoid", "Sigmoid", "dense_2/MatMul"),
            node("dense_3/MatMul", "MatMul", "dense_2/Sigmoid", "dense_3/k"),
        ),
        {
            "dense_1/MatMul": "dense/MatMul",
            "dense_1/Tanh": "dense/Tanh",
            "dense_2/MatMul": "dense_1/MatMul",
            "dense_2/Sigmoid": "dense_1/Sigmoid",
            "dense_3/MatMul": "dense_2/MatMul",
        },
    ),
    "renamed scopes of equal branches with different weights": Case(
        graph(
            *_convolution("conv", "x"),
            *_convolution("conv_1", "x"),
            node("join", "ConcatV2", "conv/Relu", "conv_1/Relu", "axis"),
            values={"conv/convolution/ReadVariableOp": "K", "conv_1/convolution/ReadVariableOp": "L"},
        ),
        graph(
            _fused("conv_1", "x"),
            _fused("conv_1_2", "x"),
            node("join", "ConcatV2", "conv_1/Relu", "conv_1_2/Relu", "axis"),
            values={"conv_1/convolution/ReadVariableOp": "K", "conv_1_2/convolution/ReadVariableOp": "L"},
        ),
        {"conv_1/Relu": "conv/Relu", "conv_1_2/Relu": "conv_1/Relu", "join": "join"},
    ),
    "swapped names": Case(
        graph(node("sub", "Sub", "x", "y"), node("sub_1", "Sub", "y", "x")),
        graph(node("sub_1", "Sub", "x", "y"), node("sub", "Sub", "y", "x")),
        {"sub_1": "sub", "sub": "sub_1"},
    ),
    "functions inlined under a prefix already in use": Case(
        graph(
            node("PartitionedCall/MatMul", "MatMul", "x", "k"),
            node("PartitionedCall/Relu", "Relu", "PartitionedCall/MatMul"),
            node("PartitionedCall_1/MatMul", "MatMul", "PartitionedCall/Relu", "k2"),
            node("PartitionedCall_1/Relu", "Relu", "PartitionedCall_1/MatMul"),
        ),
        graph(
            node("PartitionedCall_1/MatMul", "MatMul", "x", "a"),
            node("PartitionedCall_1/Relu", "Relu", "PartitionedCall_1/MatMul"),
            node("PartitionedCall_2/MatMul", "MatMul", "PartitionedCall_1/Relu", "c"),
            node("PartitionedCall_2/Relu", "Relu", "PartitionedCall_2/MatMul"),
        ),
        {
            "PartitionedCall_1/MatMul": "PartitionedCall/MatMul",
            "PartitionedCall_1/Relu": "PartitionedCall/Relu",
            "PartitionedCall_2/MatMul": "PartitionedCall_1/MatMul",
            "PartitionedCall_2/Relu": "PartitionedCall_1/Relu",
        },
    ),
    "element-wise operation moved after a concatenation": Case(
        graph(
            node("Exp", "Exp", "x"),
            node("Exp_1", "Exp", "y"),
            node("concat", "ConcatV2", "Exp", "Exp_1", "concat/axis"),
        ),
        graph(node("concat", "ConcatV2", "x", "y", "concat/axis"), node("Exp", "Exp", "concat")),
        {"Exp": "concat"},
    ),
    "TensorFlow 1 loop with fused input and output": Case(
        graph(
            node("before/depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("before/Relu", "Relu", "before/depthwise"),
            node("while/Enter", "Enter", "before/Relu", frame="f"),
            node("while/Merge", "Merge", "while/Enter", "while/NextIteration"),
            node("while/Less", "Less", "while/Merge", "limit"),
            node("while/LoopCond", "LoopCond", "while/Less"),
            node("while/Switch", "Switch", "while/Merge", "while/LoopCond"),
            node("while/body", "Sigmoid", "while/Switch:1"),
            node("while/NextIteration", "NextIteration", "while/body"),
            node("while/Exit", "Exit", "while/Switch"),
            node("after", "Tanh", "while/Exit"),
        ),
        graph(
            node("before/depthwise", "FusedDepthwiseConv2dNative", "x", "k", fused=["Relu"]),
            node("while/Enter", "Enter", "before/depthwise", frame="f"),
            node("while/Merge", "Merge", "while/Enter", "while/NextIteration"),
            node("while/Less", "Less", "while/Merge", "limit"),
            node("while/LoopCond", "LoopCond", "while/Less"),
            node("while/Switch", "Switch", "while/Merge", "while/LoopCond"),
            node("while/body", "Sigmoid", "while/Switch:1"),
            node("while/NextIteration", "NextIteration", "while/body"),
            node("while/Exit", "Exit", "while/Switch"),
            node("after", "Tanh", "while/Exit"),
        ),
        {"before/depthwise": "before/Relu", "while/Exit": "while/Exit", "after": "after"},
    ),
    "TensorFlow 2 branch on a fused operation": Case(
        graph(
            node("d/depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("d/BiasAdd", "BiasAdd", "d/depthwise", "b"),
            node("Sum", "Sum", "d/BiasAdd", "axes"),
            node("Greater", "Greater", "Sum", "zero"),
            node("cond", "StatelessIf", "Greater", "d/BiasAdd", "y"),
            node("add", "AddV2", "cond", "y"),
        ),
        graph(
            node("d/depthwise", "FusedDepthwiseConv2dNative", "x", "k", "b", fused=["BiasAdd"]),
            node("Sum", "Sum", "d/depthwise", "axes"),
            node("Greater", "Greater", "Sum", "zero"),
            node("cond", "StatelessIf", "Greater", "d/depthwise", "y"),
            node("add", "AddV2", "cond", "y"),
        ),
        {"d/depthwise": "d/BiasAdd", "Sum": "Sum", "Greater": "Greater", "cond": "cond", "add": "add"},
    ),
}
