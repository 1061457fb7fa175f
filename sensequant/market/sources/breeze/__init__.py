"""Bars out of the Breeze API, through the vendor's own SDK."""
