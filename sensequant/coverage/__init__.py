"""Coverage: which bars there should be, which there are, and what a run would make of them."""
