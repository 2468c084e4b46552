"""The judge: metrics, thresholds, intervals, audit, report."""
