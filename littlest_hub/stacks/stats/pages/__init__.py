"""The pages: figures of the hub, of a group, and of a person, as HTML, JSON and CSV."""
