"""The faults, one small module each."""
