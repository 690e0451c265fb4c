"""Public repositories that Binder launches, launched here (`make launches`)."""
