"""Bars out of files that a person has fetched: NSE's layouts and the replaced system's cache."""
