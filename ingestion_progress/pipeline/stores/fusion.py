"""How matches by words and by meaning become one list: reciprocal rank fusion.

As in Qdrant, a match at rank r of a query, from 1, adds 1 / (RANK_CONSTANT + r / weight - 1) to its
score. Imports no Django, which the process of the embedded store lacks.
"""

RANK_CONSTANT = 60
MIN_MATCHES = 100
"""Of each query, at least."""
