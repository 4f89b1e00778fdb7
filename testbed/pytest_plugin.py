"""The testbed in other people's tests: fixtures, options and markers (entry point ``pytest11``)."""
