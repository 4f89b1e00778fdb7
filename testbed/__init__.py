"""A local testbed that finds out what happens to data when a serverless architecture is overloaded or breaks."""

__all__: list[str] = []
