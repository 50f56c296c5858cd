from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from webbmosaic.errors import UsageError
from webbmosaic.simulate.charge import AFTERGLOW, Afterglow
from webbmosaic.simulate.detector import make_ramp
from webbmosaic.simulate.effects import EFFECTS, Effects, Streams
from webbmosaic.simulate.electronics import slope_weights
from webbmosaic.simulate.foreground import Levels, make_foreground, sky_noise
from webbmosaic.simulate.pixels import make_setup, pixel_maps

STREAMS = Streams(5, "jw01001001001_02101_00001_nrcb4")
SMALL = make_setup("NRCB4", "SUB160", "F200W", pattern="SHALLOW4", ngroups=6)
MIRI = make_setup("MIRIMAGE", "SUB64", "F770W", pattern="FASTR1", ngroups=8)

#: Effects that are no part of a NIRCam exposure that follows no other.
ABSENT = ("background_drift", "persistence", "pointing_error", "jitter")


def empty(setup):
    return np.zeros(setup.aperture.shape, np.float32)


def slope(exposure, setup):
    weights = slope_weights(setup.readout.ngroups, setup.readout.tgroup)
    return np.tensordot(weights, exposure.ramp[0].astype(np.float32), 1)


def expose(setup, effects, **options):
    flux = options.pop("flux", empty(setup))
    return make_ramp(flux, setup, STREAMS, effects=effects, **options)


def test_equal_seeds_give_equal_ramps_and_others_do_not():
    one, two = (expose(SMALL, Effects()).ramp for _ in range(2))
    assert_array_equal(one, two)
    other = make_ramp(empty(SMALL), SMALL, Streams(6, STREAMS.owner)).ramp
    assert (one != other).mean() > 0.9


@pytest.mark.parametrize("effect", [e for e in EFFECTS if e not in ABSENT])
def test_every_effect_can_be_seen(effect):
    flux = empty(SMALL)
    flux[80, 80] = 1e5
    full = expose(SMALL, Effects(), flux=flux).ramp
    less = expose(SMALL, Effects().without(effect), flux=flux).ramp
    assert (full != less).any()


@pytest.mark.parametrize(
    "effect",
    ["read_noise", "one_over_f", "odd_even", "cosmic_rays", "snowball", "bias"],
)
def test_switching_one_off_leaves_the_draws_of_the_others(effect):
    # What an effect adds is the same whether the others are there or not.
    quiet = Effects.only("sky", "dark", "reference_pixels", effect)
    loud = Effects().without("nonlinearity", "saturation")
    added = [
        expose(SMALL, effects).ramp.astype(int)
        - expose(SMALL, effects.without(effect)).ramp.astype(int)
        for effects in (quiet, loud)
    ]
    # Sums of rounded numbers: at most one DN apart, but where 16 bits end.
    fits = expose(SMALL, loud).ramp < 65_535
    assert np.abs(added[0] - added[1])[fits].max() <= 1
    assert np.abs(added[0]).max() > 1


def test_more_sky_leaves_the_noise_alone_but_for_its_scale():
    def noise(sky):
        levels = Levels(sky=sky)
        lit = expose(SMALL, Effects.only("sky", "poisson"), levels=levels).ramp
        calm = expose(SMALL, Effects.only("sky"), levels=levels).ramp
        return (lit.astype(float) - calm)[0, -1, 10:-10, 10:-10]

    faint, bright = noise(100.0), noise(400.0)
    assert np.corrcoef(faint.ravel(), bright.ravel())[0, 1] > 0.99
    assert bright.std() / faint.std() == pytest.approx(2, rel=0.02)


def test_shot_noise_has_the_variance_and_covariance_of_averaged_poisson_counts():
    gain, sky = SMALL.detector.gain, 400.0
    levels = Levels(sky=sky)
    lit = expose(SMALL, Effects.only("sky", "poisson"), levels=levels).ramp[0]
    calm = expose(SMALL, Effects.only("sky"), levels=levels).ramp[0]
    noise = (lit.astype(float) - calm)[:, 10:-10, 10:-10] * gain
    rate = sky / SMALL.filter.photmjsr * gain
    plan = SMALL.readout
    n, t = plan.nframes, plan.tframe
    # Var of a group average: lead + sum of squared weights; Cov with a later group: the
    # mean charge of the earlier average.
    first = rate * t * (1 + sum(((n - j) / n) ** 2 for j in range(1, n)))
    assert noise[0].var() == pytest.approx(first, rel=0.04)
    covariance = rate * t * (1 + sum((n - j) / n for j in range(1, n)))
    assert np.mean(noise[0] * noise[5]) == pytest.approx(covariance, rel=0.06)
    last = rate * (
        5 * plan.tgroup + t * (1 + sum(((n - j) / n) ** 2 for j in (1, 2, 3)))
    )
    assert noise[5].var() == pytest.approx(last, rel=0.04)


@pytest.mark.parametrize("setup", [SMALL, MIRI], ids=["nircam", "miri"])
def test_the_slope_is_the_sky_times_efficiency_and_area(setup):
    exposure = expose(
        setup, Effects.only("sky", "flat", "bias"), levels=Levels(sky=800.0)
    )
    maps = pixel_maps(setup, Effects.only("sky", "flat", "bias"), 5)
    expected = 800.0 / setup.filter.photmjsr * maps.efficiency * maps.area
    assert_allclose(slope(exposure, setup), expected, rtol=2e-3)


@pytest.mark.parametrize("setup", [SMALL, MIRI], ids=["nircam", "miri"])
def test_the_linearity_reference_undoes_the_non_linearity(setup):
    on = Effects.only("sky", "nonlinearity", "bias")
    levels = Levels(
        sky=0.7 * 40_000 * setup.filter.photmjsr / setup.readout.integration_time
    )
    bent = expose(setup, on, levels=levels).ramp[0].astype(float)
    straight = expose(setup, on.without("nonlinearity"), levels=levels).ramp[0]
    maps = pixel_maps(setup, on, 5)
    c2, c3 = setup.detector.nonlinearity
    x = bent if setup.aperture.instrument == "MIRI" else bent - maps.bias
    undone = x + c2 * x**2 + c3 * x**3
    steps = np.diff(undone, axis=0)
    assert_allclose(steps, np.diff(straight.astype(float), axis=0), atol=2.5)
    assert np.abs(bent - straight).max() > 300


def test_a_bright_star_saturates_and_leaves_an_afterglow():
    flux = empty(SMALL)
    flux[80, 80] = 1e6
    effects = Effects.only("sky", "saturation", "bias", "persistence", "poisson")
    first = expose(SMALL, effects, flux=flux)
    assert first.planted.saturated.sum() == 1
    assert first.planted.saturated[80, 80]
    level = first.ramp[0, :, 80, 80].astype(float)
    assert level[-1] == level[-2] < 65_535
    assert first.stimulus[80, 80] == 1
    assert first.stimulus.sum() == 1

    plain = expose(SMALL, effects)
    soon, later = (
        slope(expose(SMALL, effects, previous=Afterglow(first.stimulus, delay)), SMALL)
        - slope(plain, SMALL)
        for delay in (50.0, 500.0)
    )
    middle = 50 + SMALL.readout.integration_time / 2
    expected = 1000 * AFTERGLOW / middle / SMALL.detector.gain
    assert soon[80, 80] == pytest.approx(expected, rel=0.25)
    assert soon[80, 80] > 3 * later[80, 80] > 0
    assert np.count_nonzero(soon) == 1


def test_reference_pixels_see_no_light():
    exposure = expose(
        SMALL, Effects.only("sky", "reference_pixels"), levels=Levels(sky=500.0)
    )
    maps = pixel_maps(SMALL, Effects.only("sky", "reference_pixels"), 5)
    assert maps.reference.sum() == 160**2 - 156**2
    measured = slope(exposure, SMALL)
    assert not measured[maps.reference].any()
    assert measured[~maps.reference].min() > 200


def test_dead_and_hot_pixels():
    effects = Effects.only("sky", "bad_pixels", "dark")
    frame = make_setup("NRCB4", "SUB640", "F200W", pattern="SHALLOW4", ngroups=6)
    maps = pixel_maps(frame, effects, 5)
    measured = slope(expose(frame, effects, levels=Levels(sky=500.0)), frame)
    usual = np.median(measured)
    assert abs(measured[maps.dead]).max() < 0.1
    assert np.median(measured[maps.hot]) > usual + 1
    assert np.median(measured[maps.newly_hot]) > usual + 1
    assert not (maps.hot & maps.newly_hot).any()


def test_particles_hit_at_one_moment():
    calm = expose(SMALL, Effects.only("sky"), levels=Levels(sky=0.0)).ramp[0]
    hit = expose(
        SMALL, Effects.only("sky", "snowball", "cosmic_rays"), levels=Levels(sky=0.0)
    )
    added = hit.ramp[0].astype(float) - calm
    where = hit.planted.snowball & ~hit.planted.cosmic_rays & (added[-1] < 30_000)
    assert 100 < where.sum() < 4000
    steps = np.diff(added[:, where], axis=0, prepend=0)
    # A jump takes one group, or two where it fell between the frames of one.
    assert (np.sort(steps, axis=0)[-3] <= 1).all()


def test_integrations_differ_but_share_their_light():
    setup = make_setup("NRCB4", "SUB160", "F200W", pattern="RAPID", ngroups=4, nints=2)
    exposure = expose(setup, Effects())
    assert exposure.ramp.shape == (2, 4, 160, 160)
    assert (exposure.ramp[0] != exposure.ramp[1]).mean() > 0.8


def test_planted_light_is_what_the_ramp_holds():
    strong = Levels(sky=300.0, wisp=20.0, claw=20.0, tilted=5.0)
    for name in ("wisp", "claw", "tilted"):
        effect = {"tilted": "tilted_stripes"}.get(name, name)
        on = expose(SMALL, Effects.only("sky", effect), levels=strong)
        off = expose(SMALL, Effects.only("sky"), levels=strong)
        found = slope(on, SMALL) - slope(off, SMALL)
        maps = pixel_maps(SMALL, Effects.only("sky"), 5)
        planted = getattr(on.planted, name) * maps.area
        assert planted.std() > 0.5
        assert_allclose(found, planted, atol=0.25)


def test_claws_stay_in_place_in_a_visit():
    second = replace(STREAMS, owner=STREAMS.owner.replace("00001", "00002"))
    other = replace(STREAMS, owner=STREAMS.owner.replace("jw01", "jw02"))
    claws = [
        make_foreground(
            SMALL, streams, effects=Effects(), levels=Levels(), time=0.0
        ).claw
        for streams in (STREAMS, second, other)
    ]
    assert_array_equal(claws[0], claws[1])
    assert abs(claws[0] - claws[2]).max() > 0.1 * claws[0].max()


def test_predicted_noise_is_the_noise():
    effects = Effects.only("sky", "poisson", "read_noise", "bias")
    exposure = expose(SMALL, effects)
    measured = slope(exposure, SMALL)[10:-10, 10:-10].std()
    assert measured == pytest.approx(sky_noise(SMALL), rel=0.04)


def test_a_scene_of_the_wrong_shape_is_refused():
    with pytest.raises(UsageError, match=r"flux has the shape \(3, 3\), NRCB4 SUB160"):
        make_ramp(np.zeros((3, 3), np.float32), SMALL, STREAMS)


def test_truth_planes_have_the_frame_s_shape():
    planted = expose(SMALL, Effects()).planted
    for field in fields(planted):
        value = getattr(planted, field.name)
        assert np.ndim(value) == 0 or value.shape == (160, 160)
