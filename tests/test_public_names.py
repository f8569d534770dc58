"""What is public is listed, sorted; and importing it pulls in nothing that its user has not asked for."""

from __future__ import annotations

import importlib
import importlib.resources
import subprocess
import sys
from types import ModuleType

import pytest

import resilient_http
import resilient_http.httpx2

PACKAGES = ["resilient_http", "resilient_http_django", "resilient_http_fastapi"]
HEAVY = ["asgiref", "django", "fastapi", "httpx2", "opentelemetry.sdk", "pydantic_settings", "starlette", "trio"]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_equals_what_is_public(name):
    package = importlib.import_module(name)
    assert all(getattr(package, each) is not None for each in package.__all__)  # loads them
    public = {
        key for key, value in vars(package).items() if not key.startswith("_") and not isinstance(value, ModuleType)
    }
    assert package.__all__ == sorted(public)


def test_the_names_over_httpx2_are_the_same():
    assert resilient_http.httpx2.__all__ == resilient_http.__all__
    for name in resilient_http.__all__:
        assert getattr(resilient_http.httpx2, name).__name__ == getattr(resilient_http, name).__name__


@pytest.mark.parametrize("name", PACKAGES)
def test_types_are_told_to_users(name):
    package = importlib.import_module(name)
    assert importlib.resources.files(package).joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from resilient_http import *", HEAVY),
        ("import resilient_http_fastapi", ["asgiref", "django", "httpx2", "opentelemetry.sdk", "trio"]),
        ("import resilient_http_django", ["fastapi", "httpx2", "opentelemetry.sdk", "starlette", "trio"]),
        # httpcore2 imports trio itself, where that is installed.
        ("import resilient_http.httpx2", ["asgiref", "django", "fastapi", "opentelemetry.sdk", "starlette"]),
    ],
    ids=["core", "fastapi", "django", "httpx2"],
)
def test_import_is_light(statement, unwanted):
    assert set(_imported_by(statement)) & set(unwanted) == set()


def test_names_are_loaded_when_they_are_asked_for():
    assert "resilient_http.settings" not in _imported_by("import resilient_http")
    assert "resilient_http.settings" not in _imported_by("from resilient_http import deadline, detached")
    assert "resilient_http.settings" in _imported_by("from resilient_http import Resilience")
    assert set(resilient_http.__all__) <= set(dir(resilient_http))
    with pytest.raises(AttributeError, match="module 'resilient_http' has no attribute 'Resilence'"):
        resilient_http.Resilence  # noqa: B018


def test_unwanted_imports_would_be_seen():
    assert set(HEAVY) & set(_imported_by(f"import {', '.join(HEAVY)}")) == set(HEAVY)


def _imported_by(statement):
    """The names of all modules that are loaded after the statement, in a fresh interpreter."""
    code = f"{statement}; import sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
