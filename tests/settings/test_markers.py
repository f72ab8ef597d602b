from __future__ import annotations

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.markers import ARGUMENTS, apply_markers, expected_failure
from pytest_tfjs.settings.settings import Settings
from tests.support.setting_values import INVALID, VALUES

pytestmark = pytest.mark.usefixtures("only_this_plugin")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_marker_sets_each_of_its_arguments(name):
    settings = apply_markers(Settings(), [pytest.mark.tfjs(**{name: VALUES[name][0]}).mark])
    assert getattr(settings, name) == VALUES[name][1]
    assert settings.origin(name) == "marker"


def test_a_marker_accepts_lists_and_numbers():
    settings = apply_markers(Settings(), [pytest.mark.tfjs(backends=["wasm:simd", "cpu"], rtol=1e-3).mark])
    assert settings.backends == ("wasm:simd", "cpu")
    assert settings.rtol == 0.001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((f"{name}={value!r}", message) for name, value, message in INVALID if name in ARGUMENTS),
        ("backends=5", "expected names, separated by commas or as a list"),
        ("backends=[]", "expected at least one name"),
        ("rtol=True", "expected a number"),
        ("backend='cpu'", "has no argument 'backend': expected one of backends, browsers, layers"),
        ("headed=True", "has no argument 'headed'"),
        ("'cpu'", "takes keyword arguments only, such as backends='wasm'; got ('cpu',)"),
    ],
)
def test_an_invalid_marker_is_a_collection_error_that_names_the_test(pytester, arguments, message):
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.tfjs({arguments})
        def test_wrong(tfjs): pass
        """
    )
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    output = result.stdout.str()
    assert "::test_wrong: @pytest.mark.tfjs " in output
    assert message in output
    assert "Traceback" not in output
    assert "settings.py" not in output


def test_tfjs_xfail_has_a_target_and_a_reason():
    mark = pytest.mark.tfjs_xfail(target="firefox/*", reason="0/0 is 1 there").mark
    assert expected_failure(mark) == ("firefox/*", "0/0 is 1 there")


@pytest.mark.parametrize(
    ("args", "arguments", "shown"),
    [
        ((), {}, "got no arguments"),
        (("firefox/*",), {"reason": "x"}, "'firefox/*', reason='x'"),
        ((), {"target": "firefox/*"}, "target='firefox/*'"),
        ((), {"target": "firefox/*", "reason": " "}, "reason=' '"),
        ((), {"target": "firefox/*", "reason": "x", "strict": "y"}, "strict='y'"),
    ],
)
def test_invalid_arguments_of_tfjs_xfail_are_rejected(args, arguments, shown):
    with pytest.raises(
        SettingsError, match="needs exactly two keyword arguments, both non-empty strings"
    ) as caught:
        expected_failure(pytest.mark.tfjs_xfail.with_args(*args, **arguments).mark)
    assert shown in str(caught.value)
