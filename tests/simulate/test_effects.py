import numpy as np
import pytest

from webbmosaic.errors import UsageError
from webbmosaic.simulate.effects import EFFECTS, Effects, Streams


def test_equal_names_give_equal_numbers():
    one, two = (Streams(7, "a").of("sky").random(5) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("other", [Streams(8, "a"), Streams(7, "b")])
def test_other_seeds_and_owners_give_other_numbers(other):
    mine = Streams(7, "a").of("sky").random(5)
    assert not np.any(mine == other.of("sky").random(5))


def test_every_effect_has_numbers_of_its_own():
    first = {Streams(7, "a").of(effect).random() for effect in EFFECTS}
    assert len(first) == len(EFFECTS)


def test_the_visit_is_what_exposures_share():
    a, b = (Streams(1, f"jw01001001001_02101_0000{k}_nrcb4") for k in (1, 2))
    assert a.visit == b.visit == "jw01001001001"


def test_switches():
    assert Effects.only("sky", "flat").sky
    assert not Effects.only("sky", "flat").dark
    assert not Effects().without("wisp").wisp
    assert Effects().without("wisp").having("wisp") == Effects()


def test_an_unknown_effect_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="effect 'rain' is not one of sky, wisp"):
        Effects().without("rain")
