"""The stack without systemd, beside `littlest-hub run`: what its units do elsewhere."""
