"""One file per flow: they compose tasks, compute nothing and touch no file."""
