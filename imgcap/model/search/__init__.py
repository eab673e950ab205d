"""Searches for captions, pure functions of `step` in the graph: greedy, beam, diverse and so on.

A caption is at most `max_length` words and then the end token. After the last word the end is
forced and its log-probability counts, so every caption returned is complete. Its length counts its
words and the end.

A token is legal unless it is suppressed, would end the caption before `min_length` words, or would
repeat an n-gram; from `min_length` words on the end is always legal. A caption that has no legal
token dies. Log-probabilities are `log_softmax` of the raw logits over the whole vocabulary. Illegal
tokens are ruled out after the softmax, so that a score equals the one that teacher forcing gives
the same tokens.

A caption that was not found is all padding with score -inf: fewer captions exist than were asked
for, every one died, or the logits are not numbers. A row's answer depends on no other row of its
batch, apart from rounding.
"""

from imgcap.model.search.beam import beam
from imgcap.model.search.captions import Bind, Captions, State, Step
from imgcap.model.search.choice import find_captions
from imgcap.model.search.diverse import diverse
from imgcap.model.search.mbr import least_risk
from imgcap.model.search.sampling import sample
from imgcap.model.search.walk import greedy

__all__ = [
    "Bind",
    "Captions",
    "State",
    "Step",
    "beam",
    "diverse",
    "find_captions",
    "greedy",
    "least_risk",
    "sample",
]
