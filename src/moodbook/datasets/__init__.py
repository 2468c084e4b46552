"""Data sets: index, validation, splits, fetching, feature and code caches."""

from __future__ import annotations

from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track
from moodbook.datasets.registry import open_dataset

__all__ = ["SPLITS", "Dataset", "Split", "Track", "open_dataset"]
