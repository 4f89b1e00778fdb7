"""The Lambda data plane: execution environments, invokes and event source pollers."""
