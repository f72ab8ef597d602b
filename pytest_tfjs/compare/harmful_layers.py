"""Evidence on layers that are right themselves and make other layers wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_tfjs.compare.zero_division import zero_sign_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_tfjs.compare.diagnosis.evidence import Evidence
    from pytest_tfjs.compare.results import Comparison, LayerResult


def with_harm(
    comparison: Comparison, row: LayerResult, base: Evidence, inputs: Collection[str] = ()
) -> Evidence:
    """The evidence on a layer that is right and makes others wrong: how it does so, in words.

    `inputs`: the names of the model's inputs. What a layer takes beside them and other layers is a constant.
    """
    base = replace(base, layer=row.layer.name)
    if row.divided_by is None:
        known = {one.layer.name for one in comparison.layers}.union(inputs)
        later = "" if known >= set(row.overwrites) else ", or later runs, as it is a constant of the model"
        return replace(base, overwrites=_overwriting_text(base.target, row) + later)
    layers = {one.layer.name: one.layer for one in comparison.layers}
    return replace(base, divided=zero_sign_text(base.target, row.layer, layers[row.divided_by]))


def _overwriting_text(target: str, row: LayerResult) -> str:
    inputs = " and ".join(map(repr, row.overwrites))
    return (
        f"{target}'s kernel of {row.layer.op} computes the right values,"
        f" but writes into its input {inputs}. Other layers take the changed input"
    )
