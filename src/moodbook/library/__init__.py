"""A music library: the catalogue of what it holds, what can be asked of it, and what is written into its files."""
