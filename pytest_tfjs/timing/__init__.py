"""Inference times in the browser: samples and their statistics."""

from __future__ import annotations

from pytest_tfjs.timing.samples import Timing

__all__ = ["Timing"]
