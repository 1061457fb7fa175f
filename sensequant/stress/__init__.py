"""How candidate and method behave in dated crises."""
