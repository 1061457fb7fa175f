"""What is known beside the bars, with the time at which it was known: depth, headlines."""
