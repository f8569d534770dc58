"""Builds: the library as it stands, or compiled; see docs/compiled.md."""

from __future__ import annotations

import pytest

from resilient_http import call

IS_COMPILED = not call.__file__.endswith(".py")

# For what steps into a decision half way, by a double that compiled code takes for no number, or for no such object.
as_it_stands = pytest.mark.skipif(IS_COMPILED, reason="compiled code lets nobody in between")

# mypyc throws into coroutines in the way that CPython deprecates since 3.12.
THROWS_AS_MYPYC = r"ignore:the \(type, exc, tb\) signature of throw:DeprecationWarning"
