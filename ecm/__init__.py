"""ecm: evidence-centric image indexing and search.

Importing this package loads neither Ray nor torch; the version is the only thing it knows.
"""

__version__ = "0.1.0"
