"""Property tests run on machines that are busy with something else: none fails because an example took long."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
