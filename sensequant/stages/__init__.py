"""The eight stages as plain functions of a run folder: load, one step of the method, save.

Belongs here: which files a unit or a stage reads and writes. Does not belong here: the method
itself, and how units are scheduled, retried or shown (`tasks`).
"""
