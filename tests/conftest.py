"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("book", deadline=None)  # the first example pays for what torch sets up
settings.load_profile("book")
