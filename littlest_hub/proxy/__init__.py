"""The proxy's unit: traefik, its supervisor and the files that it reads."""
