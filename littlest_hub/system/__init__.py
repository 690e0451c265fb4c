"""Linux, systemd and Python: each outside program or interface is wrapped once."""
