"""Random graphs after random rewrites: the plan has the right rows, inputs and coverage."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfjs.reference.graph import Node, parse_ref
from pytest_tfjs.reference.matching.graph_layers import plan_graph
from tests.support.graph_building import graph, node


@dataclass
class Conversion:
    """A source's graph and its converted graph, built together, and the expected plan.

    `places`: for each tensor of the source, its tensor in the converted graph and the rows that
    compute it.
    """

    source: list[Node] = field(default_factory=list)
    converted: list[Node] = field(default_factory=list)
    places: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    tails: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coverage: dict[str, str] = field(default_factory=dict)

    def name(self, op):
        return f"m/{op}_{len(self.source)}"

    def both(self, op, *taken, constants=()):
        """Adds an operation that the conversion leaves unchanged; `constants` precede its other inputs."""
        name = self.name(op)
        self.source.append(node(name, op, *constants, *taken))
        self.converted.append(node(name, op, *constants, *(self.places[t][0] for t in taken)))
        self.record([name], name, taken)
        self.places[name] = (name, (name,))
        return name

    def record(self, region, made, taken):
        """Expects `made` in the converted graph to match `region`, whose first operation names the row."""
        core, tail = region[0], region[-1]
        self.coverage |= dict.fromkeys(region, "fused") | {core: "compared"}
        self.tails[made] = tail
        behind = dict.fromkeys(row for t in taken for row in self.places[t][1])
        self.inputs[core] = tuple(behind)

    def identity(self, taken, *, dropped):
        name = self.name("Identity")
        self.source.append(node(name, "Identity", taken))
        place, behind = self.places[taken]
        if not dropped:
            self.converted.append(node(name, "Identity", place))
            place = name
        self.places[name] = (place, behind)
        self.coverage[name] = "eliminated"

    def folded_constant(self, taken):
        """Adds a product with a sum of constants, which the conversion folds into one constant."""
        total = self.name("Add")
        self.source.append(node(total, "Add", f"{total}/c", f"{total}/d"))
        self.coverage[total] = "eliminated"
        self.converted.append(node(total, "Const"))
        self.both("Mul", taken, constants=[total])

    def contraction(self, op, taken, *, bias, norm, activation, fused):
        name = self.name(op)
        chain = [node(name, op, taken, f"{name}/k")]
        if bias:
            chain.append(node(f"{name}/bias", "BiasAdd", chain[-1].name, f"{name}/b"))
        if norm:
            statistics = [f"{name}/{part}" for part in ("gamma", "beta", "mean", "variance")]
            chain.append(node(f"{name}/bn", "FusedBatchNormV3", chain[-1].name, *statistics))
        if activation:
            chain.append(node(f"{name}/act", activation, chain[-1].name))
        self.source += chain
        place = self.places[taken][0]
        if fused and (bias or norm):
            made = self.fused(op, name, chain, place, norm=norm, activation=activation)
            self.record([part.name for part in chain], made, [taken])
            self.places[chain[-1].name] = (made, (name,))
        else:
            self.unfused(chain, name, place, taken, norm=norm, bias=bias)

    def fused(self, op, name, chain, place, *, norm, activation):
        kept_name = op == "DepthwiseConv2dNative"
        made = name if kept_name else chain[-1].name
        weights = [f"{name}_weights", f"{name}_bn_offset"] if norm else [f"{name}/k", f"{name}/b"]
        ops = ["BiasAdd", activation] if activation else ["BiasAdd"]
        kind = "FusedDepthwiseConv2dNative" if kept_name else "_FusedConv2D"
        self.converted.append(node(made, kind, place, *weights, fused=ops))
        return made

    def unfused(self, chain, name, place, taken, *, norm, bias):
        """Adds the chain unfused; a folded batch-norm leaves the convolution without a match."""
        head = chain[: 1 + bias + norm] if norm else chain[:1]
        rest = chain[len(head) :]
        if norm:
            tail = head[-1].name
            self.converted.append(node(name, head[0].op, place, f"{name}_weights"))
            self.converted.append(node(tail, "BiasAdd", name, f"{name}_bn_offset"))
        else:
            tail = name
            self.converted.append(node(name, head[0].op, place, f"{name}/k"))
        self.record([part.name for part in head], tail, [taken])
        self.places[tail] = (tail, (name,))
        for part in rest:
            before = part.inputs[0][0]
            self.converted.append(part)
            self.record([part.name], part.name, [before])
            self.places[part.name] = (part.name, (part.name,))


@st.composite
def conversions(draw):
    made = Conversion(places={"x": ("x", ()), "y": ("y", ())})
    for _ in range(draw(st.integers(1, 9))):
        taken = [draw(st.sampled_from(sorted(made.places))) for _ in range(2)]
        kind = draw(
            st.sampled_from(["unary", "binary", "identity", "constant", "Conv2D", "DepthwiseConv2dNative"])
        )
        if kind == "unary":
            made.both(draw(st.sampled_from(["Relu", "Tanh", "Softmax"])), taken[0])
        elif kind == "binary":
            made.both(draw(st.sampled_from(["Sub", "AddV2", "Maximum"])), *taken)
        elif kind == "identity":
            made.identity(taken[0], dropped=draw(st.booleans()))
        elif kind == "constant":
            made.folded_constant(taken[0])
        else:
            made.contraction(
                kind,
                taken[0],
                bias=draw(st.booleans()),
                norm=draw(st.booleans()),
                activation=draw(st.sampled_from([None, "Relu", "Relu6"])),
                fused=draw(st.booleans()),
            )
    return made


def finished(made):
    """Both graphs, with an identity on each tensor that nothing uses as an output, as in real graphs."""
    taken = {name for entry in made.source for name, _ in entry.inputs}
    ends = [name for name in made.places if name not in taken and name not in ("x", "y")]
    outputs = [f"out_{number}" for number in range(len(ends))]
    ours = [node(name, "Identity", end) for name, end in zip(outputs, ends, strict=True)]
    theirs = [node(name, "Identity", made.places[end][0]) for name, end in zip(outputs, ends, strict=True)]
    return (
        graph(*made.source, *ours, outputs=" ".join(outputs)),
        graph(*made.converted, *theirs, outputs=" ".join(outputs)),
    )


@settings(max_examples=300, deadline=None)
@given(conversions())
def test_random_graphs_have_the_expected_rows_and_coverage(made):
    source, converted = finished(made)
    plan = plan_graph(source, converted)
    prefix = "" if any(row.name in made.coverage for row in plan.layers) else "m/"
    full = {prefix + row.name: row for row in plan.layers if prefix + row.name in made.coverage}
    assert {name: row.coverage for name, row in full.items()} == made.coverage
    rest = [row for row in plan.layers if prefix + row.name not in made.coverage]
    assert all(row.output and row.name.startswith("out_") for row in rest)
    for name, row in full.items():
        if row.coverage == "compared":
            tap, _ = parse_ref(row.tap["node"])
            assert plan.tensors[row.name] == f"{made.tails[tap]}:0"
            assert {prefix + i for i in row.inputs} == set(made.inputs[name])
    compared = {row.name for row in plan.layers if row.coverage == "compared"}
    assert plan.tensors.keys() == compared
    assert {row.into for row in plan.layers if row.coverage == "fused"} <= compared
