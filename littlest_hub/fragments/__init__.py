"""Changes of fragments: edit, list, enable and disable."""
