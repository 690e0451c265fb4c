"""Root's part of a hub that does not run as root."""
