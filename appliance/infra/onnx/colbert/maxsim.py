"""MaxSim: each token of a query finds its best match in a document, and the matches add up.

Source: Khattab and Zaharia, ColBERT (2020).  float32 throughout: numpy multiplies float16 three
hundred times more slowly.  Pure.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def maxsim(query: Matrix, documents: Matrix, kept: NDArray[np.bool_]) -> Matrix:
    """[texts]: between minus and plus the number of the query's tokens.

    `query` [tokens, dimensions] and `documents` [texts, tokens, dimensions] are of unit length;
    tokens that are not `kept` [texts, tokens] match nothing.  One product for all.
    """
    texts, tokens, dimensions = documents.shape
    products = documents.reshape(texts * tokens, dimensions) @ query.T
    similarities = products.reshape(texts, tokens, len(query))
    similarities[~kept] = -1.0  # as far away as a unit vector can be
    scores: Matrix = similarities.max(axis=1).sum(axis=1)
    return scores


def unit(vectors: Matrix) -> Matrix:
    """Every vector along the last axis at length 1; one of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return scaled
