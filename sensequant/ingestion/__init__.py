"""Bringing bars into the store: what is asked, what is known, what is left, what became of it.

Belongs here: requests, the ledger of chunks and calls, plans, and one chunk's way from a source
into the store. Does not belong here: sources, bars and their storage (`sensequant.market`), and
what starts or repeats a chunk (tasks and flows).
"""
