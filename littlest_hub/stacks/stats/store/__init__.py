"""The database of figures, in sqlite: its tables, what is written, what is read.

Each sample is added to its minute, hour and day at once, in one transaction. So nothing has to be
summed later, and a sampler that ends at any moment leaves whole samples.
"""
