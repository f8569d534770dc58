"""Telemetry: what traces, metrics and logs learn about calls."""
