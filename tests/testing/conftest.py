"""The fixtures as users have them; imported, because pytest knows the plugin only where the package is installed."""

from resilient_http.testing.plugin import inject_faults, scripted_upstream, virtual_clock

__all__ = ["inject_faults", "scripted_upstream", "virtual_clock"]
