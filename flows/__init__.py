"""One file per flow: they compose tasks, compute nothing and touch no file.

Their parameters are described in Google's style, because that is the one which Prefect reads for
the form that it shows to a person.
"""
