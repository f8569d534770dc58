"""Upstreams: the services that we call, each with its settings and its state."""
