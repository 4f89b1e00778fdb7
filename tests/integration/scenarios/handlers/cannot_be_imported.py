"""A function that does not even load."""

import a_module_that_nobody_has  # noqa: F401  # the point of it


def handler(_event: object, _context: object) -> None:
    """Never reached."""
