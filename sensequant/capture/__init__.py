"""Context that is captured while it happens: order books of a running session."""
