"""Which settings belong to which stage, jwst's own steps among them."""

from __future__ import annotations

from webbmosaic.settings import JWST, Settings

__all__ = ["JWST_STEPS", "SKIPPABLE", "STAGE_SECTIONS", "jwst_stages"]

#: The steps of jwst that each stage runs; a test compares them with its pipelines.
JWST_STEPS: dict[str, tuple[str, ...]] = {
    "stage1": (
        *("group_scale", "dq_init", "emicorr", "saturation", "ipc", "superbias"),
        *("refpix", "rscd", "firstframe", "lastframe", "linearity", "dark_current"),
        *("reset", "persistence", "charge_migration", "jump", "picture_frame"),
        *("clean_flicker_noise", "ramp_fit", "gain_scale", "flat_field"),
    ),
    "stage2": ("bkg_subtract", "assign_wcs", "flat_field", "photom"),
    "stage3": ("source_catalog",),
}

_OURS: dict[str, tuple[str, ...]] = {
    "stage1": ("detector1", "flat", "masks", "snowballs", "wisps", "stripes"),
    "persistence": ("persistence",),
    "badpixels": ("badpixels",),
    "stage2": ("sky",),
    "stage3": (
        *("members", "alignment", "skymatch", "outliers", "resample", "catalogue"),
    ),
}

#: The settings that decide what a stage makes.
STAGE_SECTIONS: dict[str, tuple[str, ...]] = {
    stage: (*sections, *(JWST + step for step in JWST_STEPS.get(stage, ())))
    for stage, sections in _OURS.items()
}

#: Steps that may be left out, by command: name of the step -> section.
SKIPPABLE: dict[str, dict[str, str]] = {
    "stage1": {
        "flat": "flat",
        "claws": "masks",
        "masks": "masks",
        "snowballs": "snowballs",
        "wisps": "wisps",
        "stripes": "stripes",
    },
    "stage2": {
        "persistence": "persistence",
        "badpixels": "badpixels",
        "sky": "sky",
    },
    "stage3": {
        "alignment": "alignment",
        "skymatch": "skymatch",
        "outliers": "outliers",
        "catalogue": "catalogue",
    },
}


def jwst_stages(settings: Settings) -> dict[str, tuple[str, ...]]:
    """
    Say which of jwst's steps the user gives parameters of, and where they run.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    steps : dict
        Step -> the stages that run it; none where the step is not run at all.
    """
    given = [s.removeprefix(JWST) for s in settings.narrowed if s.startswith(JWST)]
    return {
        step: tuple(stage for stage, steps in JWST_STEPS.items() if step in steps)
        for step in given
    }
