"""A hub in one file: backup and restore."""
