"""The code tier of builds: code of strangers, which somebody has approved, in a unit of its own."""
