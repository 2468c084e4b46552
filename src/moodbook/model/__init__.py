"""A trained tagger: the bundle on disk, the engine that runs it, and `Tagger`."""
