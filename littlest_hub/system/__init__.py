"""Linux, systemd and Python, each outside thing wrapped once."""
