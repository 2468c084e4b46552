"""A trained tagger: the bundle on disk, the engine that runs it, and `Tagger`."""

DEFAULT_MODEL = "open"
"""The model that tags where none is named."""
