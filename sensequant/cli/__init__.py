"""The terminal's face; the only part of the library that prints, and the root that starts flows."""
