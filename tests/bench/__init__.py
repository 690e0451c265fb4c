"""Measurements: ratios of values measured side by side in one run. No test asserts on them."""
