"""systemd units as data: hub, proxy and user servers."""
