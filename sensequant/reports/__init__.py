"""HTML pages for people; no figure is computed here."""
