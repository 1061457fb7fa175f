"""Typed configuration of a deployment; a block never runs work."""
