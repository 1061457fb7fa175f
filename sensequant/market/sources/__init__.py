"""Where bars come from, behind one small interface."""
