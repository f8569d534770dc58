"""Engines: the httpx transports that move the bytes, and what makes them keep to a deadline."""
