"""A balena API for tests: answers as the real one, can be told to fail, remembers what it was told."""
