"""How matches by words and by meaning become one list: reciprocal rank fusion.

As in Qdrant, a match at rank r of a query, from 1, adds 1 / (RANK_CONSTANT + r / weight - 1) to its
score. Imports no Django, which the process of the embedded store lacks.
"""

RANK_CONSTANT = 2
"""Qdrant's default. With the usual 60, what is in both rankings comes before the best of one, and
`benchmarks.retrieval` finds less."""
MIN_MATCHES = 100
"""The least number of matches of each query."""
