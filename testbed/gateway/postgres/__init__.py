"""Postgres on the wire: the proxy before it, and the protocol."""
