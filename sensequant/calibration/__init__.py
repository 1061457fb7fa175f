"""How often the verdict errs: the whole pipeline on many worlds whose truth is known."""
