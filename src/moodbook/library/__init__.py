"""A music library: the catalogue of what it holds, and what can be asked of it."""
