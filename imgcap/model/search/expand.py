"""One step of the model within a search: the log-probabilities of all legal next tokens."""

import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search.captions import State, Step
from imgcap.model.search.rules import rule_out_illegal


def expand(
    step: Step,
    last: tf.Tensor,
    state: State,
    tokens: tf.Tensor,
    time: tf.Tensor,
    options: DecodeConfig,
) -> tuple[tf.Tensor, State]:
    """Runs the model one token further and rules out illegal tokens.

    Args:
        step: the model.
        last: int32 [N], the token to feed.
        state: N rows.
        tokens: int32 [N, T], written so far.
        time: int32 [], how many tokens are written.
        options: what is legal.

    Returns:
        Log-probabilities, float32 [N, V], -inf if illegal or if the row's logits are not numbers;
        and the new state.
    """
    logits, new_state = step(last, state)
    # A loop keeps its shapes; a step that loses a static one (by a reshape, say) is given it back.
    tf.nest.map_structure(lambda new, old: new.set_shape(old.shape), new_state, state)
    return rule_out_illegal(logits, tokens, time, options), new_state
