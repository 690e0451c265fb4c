"""Generated fragments: what `check` passes, a reload and a boot have to accept."""
