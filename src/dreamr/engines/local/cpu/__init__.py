"""A decoder in NumPy, for float32 on a CPU."""
