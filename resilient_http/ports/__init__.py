"""Ports: the three implementations of `call.Port`, the only thing that waits or does I/O for the policies."""
