"""Which signature searches how, by the options that an export is given."""

import dataclasses

import pytest

from export.searches import choose_searches
from imgcap.config import DecodeConfig
from imgcap.errors import ConfigError

TRAINED = DecodeConfig(beam_width=4, top_p=0.9, block_ngrams=3)


def test_the_options_of_sampling_shape_sample() -> None:
    found = choose_searches(TRAINED, {"num_samples": 6, "temperature": 0.5, "min_length": 2})
    assert found.decode == dataclasses.replace(TRAINED, min_length=2)
    assert found.sample == dataclasses.replace(
        TRAINED, search="sample", num_samples=6, temperature=0.5, min_length=2
    )
    assert found.greedy == dataclasses.replace(TRAINED, beam_width=1, min_length=2)


def test_decode_has_those_it_chooses_by_and_sample_keeps_the_runs() -> None:
    found = choose_searches(TRAINED, {"search": "mbr", "num_samples": 6, "min_length": 2})
    assert found.decode == dataclasses.replace(
        TRAINED, search="mbr", beam_width=5, num_samples=6, temperature=0.7, min_length=2
    )
    assert found.sample == dataclasses.replace(TRAINED, search="sample", beam_width=5, min_length=2)
    assert found.greedy == dataclasses.replace(found.decode, search="beam", beam_width=1)
    assert choose_searches(found.decode, {}).decode == found.decode


def test_what_no_signature_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match="--diversity=2.0 changes nothing with --search=mbr"):
        choose_searches(TRAINED, {"search": "mbr", "diversity": 2.0})
