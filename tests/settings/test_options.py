from __future__ import annotations

import pytest

from pytest_tfjs.settings.options import FLAGS, OPTIONS, option_of
from pytest_tfjs.settings.settings import Settings
from tests.support.setting_values import VALUES

pytestmark = pytest.mark.usefixtures("only_this_plugin")


def test_options_and_settings_have_the_same_fields():
    assert set(Settings._fields) - {"variants", "origins"} == OPTIONS.keys()


def test_every_option_has_a_value_in_the_tests():
    assert VALUES.keys() == OPTIONS.keys()


def test_help_lists_every_option_with_its_metavar(pytester):
    text = pytester.runpytest_inprocess("--help").stdout.str()
    for name, option in OPTIONS.items():
        flag = option_of(name)
        assert (flag if option.metavar is None else f"{flag}={option.metavar}") in text
        assert f"tfjs_{name} " in text or f"tfjs_{name}:" in text


def test_flags_are_the_options_without_a_value():
    assert {"--tfjs-headed", "--tfjs-sensitivity", "--tfjs-strict-targets"} == FLAGS
