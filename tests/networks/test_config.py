from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from moodbook.datasets import cache
from moodbook.networks import config
from moodbook.networks.config import VQVAEConfig
from moodbook.training.recipe import StepConfig


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_dial_is_a_number(number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        VQVAEConfig(commitment_weight=number)
    with pytest.raises(ValidationError, match="finite number"):
        StepConfig(learning_rate=number)


def test_codes_on_disk_are_as_long_as_the_latents_of_the_networks() -> None:
    assert cache.LATENT_FRAMES == config.LATENT_FRAMES
