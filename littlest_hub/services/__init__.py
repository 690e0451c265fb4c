"""What runs on the machine: the units of hub and proxy, and the proxy's system user."""
