"""Trials side by side: processes that train, while the search and its records stay where they are.

Importing this package must stay cheap: a worker does so before it ties itself to its parent's life.
"""
