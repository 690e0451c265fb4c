"""The resolver: finds the commit of a ref, and fetches its files, which strangers wrote."""
