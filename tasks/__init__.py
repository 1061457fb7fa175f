"""Thin steps: load by reference, one call of the library, save, return a reference."""
