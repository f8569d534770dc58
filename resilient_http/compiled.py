"""Compiled: what the compiled build asks of the process that it runs in; see docs/compiled.md."""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414 - to be had from here
else:

    def mypyc_attr(**_: object) -> Any:
        """What tells mypyc how to compile a class: which reads it, by the name that it has for type checkers."""
        return lambda kind: kind


def keep_modules() -> None:
    """Have what is compiled outlive the interpreter.

    It knows the names of its modules by references that it does not own. Calls that are still under way when the
    interpreter ends are closed after those are gone, and would look there.
    """
    compiled = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(f"{__package__}.") and isinstance(module.__loader__, ExtensionFileLoader)
    ]
    if compiled:
        import ctypes  # noqa: PLC0415 - only where something is compiled

        for module in compiled:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(vars(module)))
