"""The server of a launch: its spawner, and what runs as the person before it."""
