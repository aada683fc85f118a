"""The algorithms, written once on the array operations that a framework brings (`arrays.ArrayOps`)."""
