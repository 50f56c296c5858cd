"""Every default, once, with its unit and meaning.

A setting lives in a section, such as ``[stripes]``. Command line > TOML > default. Any
section may be narrowed: ``[stripes.instrument.MIRI]``, ``[stripes.filter.F200W]`` and
``[stripes.detector.nrcb4]`` win over ``[stripes]``, in this order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webbmosaic.settings_field import setting

__all__ = [
    "BUILT_IN",
    "JWST",
    "KINDS",
    "SECTIONS",
    "Settings",
]

#: By what a section may be narrowed, the last one winning.
KINDS = ("instrument", "filter", "detector")


@dataclass(frozen=True)
class Detector1:
    """Raw ramps to count rates: calwebb_detector1."""

    snowballs: bool = setting(True, "Find and flag snowballs in the ramps.")
    min_jump_area: float = setting(
        100.0, "Smallest area of a large event.", unit="pixels", low=1
    )
    expand_factor: float = setting(
        1.5, "How far a large event is grown.", low=0, high=10
    )
    sat_required_snowball: bool = setting(
        False, "Take only events with a saturated core for snowballs."
    )
    maximum_cores: str = setting(
        "none",
        "Cores that one ramp fit may use; several exposures at once (-j) are faster.",
        choices=("none", "quarter", "half", "all"),
        affects="speed",
    )
    suppress_one_group: bool = setting(
        False,
        "Give up pixels that saturate after their first group, as the pipeline does;"
        " without it the cores of brighter stars are kept.",
    )
    min_usable: float = setting(
        0.02,
        "An exposure with a smaller fraction of usable pixels is unusable.",
        low=0,
        high=1,
    )
    save_ramp: bool = setting(
        False, "Keep the calibrated ramp (large).", affects="outputs"
    )


@dataclass(frozen=True)
class Flat:
    """Division of the count rates by the flat, before stripes and wisps are fitted."""

    enabled: bool = setting(True, "Divide the rate by the flat in stage 1.")


@dataclass(frozen=True)
class Stripes:
    """Removal of 1/f noise: stripes along rows, columns and tilted lines."""

    enabled: bool = setting(True, "Remove stripes (off for MIRI and NIRISS).")
    rows: bool = setting(True, "Along rows, for each amplifier.")
    columns: bool = setting(True, "Along columns.")
    angles: tuple[float, ...] = setting(
        (30.0, -30.0),
        "Angles of tilted stripes, from the x axis towards y; an empty list for none.",
        unit="degrees",
        low=-90,
        high=90,
    )
    find_angles: bool = setting(False, "Find the angles of tilted stripes in the data.")
    mask: str = setting(
        "",
        "A FITS image, non-zero on sources, instead of the automatic source mask.",
        affects="place",
        reads="file",
    )
    save_diagnostics: str = setting(
        "",
        "Folder for DATASET_stripes.fits: the pattern of each family and the mask;"
        " empty: none is written.",
        affects="place",
    )


@dataclass(frozen=True)
class Masks:
    """Claws, dragon's breath and bad areas: masks that people drew or accepted."""

    enabled: bool = setting(True, "Flag the pixels of masks.")
    mask_dir: str = setting(
        "",
        "Folder of the masks; empty: masks in the work folder.",
        affects="place",
        reads="folder",
    )
    threshold: float = setting(
        5.0,
        "From where on a fixed residual is proposed as a mask.",
        unit="sigma",
        affects="proposals",
        low=0,
    )
    min_area: int = setting(
        1500,
        "Smallest area that is proposed.",
        unit="pixels",
        affects="proposals",
        low=1,
    )


@dataclass(frozen=True)
class Wisps:
    """Subtraction of wisps with templates (NIRCam A3, A4, B3 and B4)."""

    enabled: bool = setting(True, "Subtract wisps where there is a template.")
    template_dir: str = setting(
        "",
        "Folder of the templates, wisps_{detector}_{FILTER}.fits; empty:"
        " NIRCAM_WISP_TEMPLATES, else wisp_templates in the work folder.",
        affects="place",
        reads="folder",
    )
    template_file: str = setting(
        "",
        "This template, whatever the detector and filter of the exposure.",
        affects="place",
        reads="file",
    )
    min_significance: float = setting(
        5.0,
        "A wisp less bright than this many times its error stays.",
        unit="sigma",
        low=0,
    )


@dataclass(frozen=True)
class Snowballs:
    """Leftover snowballs: what the jump step has not flagged of large events."""

    enabled: bool = setting(True, "Flag what snowballs have left (not in MIRI's).")
    expand_factor: float = setting(
        1.5,
        "How far out a halo is looked for.",
        unit="radii of the snowball",
        low=1,
        high=10,
    )
    threshold: float = setting(
        3.0, "From where on a ring of a halo is flagged.", unit="sigma", low=0
    )


@dataclass(frozen=True)
class Persistence:
    """What a saturated pixel still glows with in later exposures."""

    enabled: bool = setting(True, "Flag persistence.")
    window: float = setting(
        2500.0, "How long a saturated pixel is flagged afterwards.", unit="s", low=0
    )
    partly: float = setting(
        0.3,
        "Level of a pixel that saturated only late in the ramp; it is over sooner.",
        low=0,
        high=1,
    )
    do_not_use: bool = setting(True, "Flag it DO_NOT_USE as well as PERSISTENCE.")


@dataclass(frozen=True)
class BadPixels:
    """Hot, warm and unstable pixels, from all exposures of a detector."""

    enabled: bool = setting(True, "Find and flag them.")
    threshold: float = setting(
        5.0, "From where on a pixel deviates from its neighbours.", unit="sigma", low=0
    )
    share: float = setting(
        0.6, "Of its pointings, in which a bad pixel deviates.", low=0, high=1
    )
    min_pointings: int = setting(3, "Fewer dithered pointings say nothing.", low=2)


@dataclass(frozen=True)
class Sky:
    """The constant sky of one calibrated exposure."""

    enabled: bool = setting(True, "Measure the sky.")
    subtract: bool = setting(True, "Subtract it; --keep-sky leaves it in.")


@dataclass(frozen=True)
class Grouping:
    """Which exposures become one mosaic."""

    combine_visits: bool = setting(
        True, "All visits of an observation together.", affects="place"
    )
    combine_observations: bool = setting(
        False, "All observations of a program.", affects="place"
    )
    combine_programs: bool = setting(False, "All programs.", affects="place")
    combine_filters: bool = setting(
        False, "All filters of an instrument.", affects="place"
    )
    exclude: tuple[str, ...] = setting(
        (),
        "Exposures that no mosaic has: names or wildcards, each with a reason behind a"
        " colon, such as jw01345002001_*_nrcb4: scattered light.",
        affects="place",
    )


@dataclass(frozen=True)
class Members:
    """What the exposures of a mosaic must have in common."""

    one_group: bool = setting(
        False, "Combine ramps of one group, too; their ERR is far too small."
    )
    moving_target: str = setting(
        "follow",
        "What stands still in the mosaic of a moving target: it, or the sky.",
        choices=("follow", "sky"),
    )
    max_gap: float = setting(
        30.0, "An exposure farther from all others is left out.", unit="arcmin", low=0
    )


@dataclass(frozen=True)
class Alignment:
    """Relative and absolute astrometry."""

    enabled: bool = setting(True, "Align the exposures of a mosaic.")
    fwhm: float = setting(
        0.0,
        "Width of a star (FWHM); 0: that of the filter.",
        unit="pixels",
        low=0,
        high=20,
    )
    snr_threshold: float = setting(10.0, "Detection threshold.", unit="sigma", low=0)
    custom_catalogues: bool = setting(
        True, "Use CAL_cat_for_tweakreg.csv (x, y) beside a cal, where there is one."
    )
    custom_origin: int = setting(
        0,
        "What those catalogues call the centre of the first pixel, 0 or 1 (of x, y;"
        " X_IMAGE and the like count from 1).",
    )
    minobj: int = setting(4, "Fewest matched sources of an exposure.", low=1)
    fit: str = setting(
        "auto",
        "What may change of a visit; auto: shift, and rotation as far as it is"
        " significant.",
        choices=("auto", "shift", "rshift", "rscale", "general"),
    )
    enforce_order: bool = setting(
        False, "The first exposure sets the frame, where there is no catalogue."
    )
    offsets: str = setting(
        "",
        "Table of visits or exposures and how far to move them first; empty: none.",
        affects="place",
        reads="file",
    )
    searchrad: float = setting(
        25.0, "How far visits and the catalogue may be apart.", unit="arcsec"
    )
    tolerance: float = setting(
        0.1,
        "Largest distance of a match after the coarse alignment; it narrows.",
        unit="arcsec",
        low=0,
    )
    abs_refcat: str = setting(
        "",
        "Catalogue that sets the absolute frame: a file (positions under any usual"
        " name) or gaia; empty: none.",
        affects="place",
        reads="file",
    )
    abs_minobj: int = setting(3, "Fewest matches with the catalogue.", low=1)
    max_chance: float = setting(
        1e-4,
        "Matches that are more likely to be chance than this are none.",
        low=0,
        high=1,
    )
    max_shift: float = setting(
        30.0, "An exposure that moves further is misaligned.", unit="arcsec", low=0
    )
    max_rotation: float = setting(
        0.2, "An exposure that turns further is misaligned.", unit="degrees", low=0
    )
    max_residual: float = setting(
        30.0, "Largest rms of the matches of a good fit.", unit="mas", low=0
    )
    on_misaligned: str = setting(
        "fail",
        "What becomes of a misaligned exposure.",
        choices=("fail", "keep", "drop"),
    )
    write_cals: bool = setting(
        False, "Write the aligned exposures beside the mosaic, too.", affects="outputs"
    )


@dataclass(frozen=True)
class Skymatch:
    """Levelling the skies of the exposures of a mosaic."""

    enabled: bool = setting(True, "Level the sky between exposures.")
    model: str = setting(
        "constant",
        "What is taken out of each exposure: a constant, or a tilted plane. The mean of"
        " all stays.",
        choices=("constant", "plane"),
    )


@dataclass(frozen=True)
class Outliers:
    """Rejection of what only one exposure has."""

    enabled: bool = setting(True, "Compare the exposures and flag outliers.")
    threshold: float = setting(4.25, "Detection threshold.", unit="sigma", low=0)
    beside: float = setting(
        3.0, "Threshold of pixels that touch an outlier.", unit="sigma", low=0
    )
    sharpness: float = setting(
        0.4,
        "Allowance for undersampled stars, by curvature; below 0.3 eats them.",
        low=0,
    )
    max_rejected: float = setting(
        0.05,
        "The mosaic fails if more than this fraction of an exposure is rejected.",
        low=0,
        high=1,
    )


@dataclass(frozen=True)
class Resample:
    """Drizzling onto one grid."""

    kernel: str = setting(
        "square",
        "How the light of a pixel is spread.",
        choices=("square", "gaussian", "point", "turbo", "lanczos2", "lanczos3"),
    )
    pixfrac: float = setting(
        1.0, "Size of the drop, in input pixels.", low=0.01, high=2
    )
    pixel_scale: float = setting(
        0.0, "Output pixel; 0: the ratio decides.", unit="arcsec", low=0, high=10
    )
    pixel_scale_ratio: float = setting(
        1.0, "Output pixel over input pixel.", low=0.05, high=20
    )
    weight_type: str = setting(
        "exptime",
        "exptime keeps the cores of stars that lost groups; ivm loses 16-24 % there.",
        choices=("exptime", "ivm"),
    )
    north_up: bool = setting(False, "Turn the mosaic's y axis to the north.")


@dataclass(frozen=True)
class Catalogue:
    """The source catalogue of a mosaic."""

    enabled: bool = setting(True, "Make the source catalogue.", affects="outputs")


@dataclass(frozen=True)
class Settings:
    """
    Every section with its default values.

    Attributes
    ----------
    narrowed : mapping
        What the user gave: ``{section: {"all": {key: value}, KIND: {name: {key:
        value}}}}``, where KIND is one of `KINDS`.
    jwst : mapping
        ``{step: {parameter: value}}`` of jwst's own steps, narrowed; given in
        sections such as ``[jwst.jump]``.
    """

    detector1: Detector1 = Detector1()
    flat: Flat = Flat()
    masks: Masks = Masks()
    wisps: Wisps = Wisps()
    stripes: Stripes = Stripes()
    snowballs: Snowballs = Snowballs()
    persistence: Persistence = Persistence()
    badpixels: BadPixels = BadPixels()
    sky: Sky = Sky()
    grouping: Grouping = Grouping()
    members: Members = Members()
    alignment: Alignment = Alignment()
    skymatch: Skymatch = Skymatch()
    outliers: Outliers = Outliers()
    resample: Resample = Resample()
    catalogue: Catalogue = Catalogue()
    narrowed: Mapping[str, Any] = field(default_factory=dict)
    jwst: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_exposure(
        self, *, instrument: str = "", filter_name: str = "", detector: str = ""
    ) -> Settings:
        """
        Apply what was narrowed to one instrument, filter or detector.

        Parameters
        ----------
        instrument, filter_name, detector : str, optional
            Such as ``NIRCAM``, ``F200W`` and ``nrcb4``.

        Returns
        -------
        settings : Settings
            With nothing narrowed left.
        """
        wanted = {"instrument": instrument, "filter": filter_name, "detector": detector}
        changes: dict[str, Any] = {}
        for section in SECTIONS:
            given = self.narrowed.get(section, {})
            values = {
                key: value
                for key, value in _narrow(BUILT_IN.get(section, {}), wanted).items()
                if key not in given.get("all", {})
            }
            values |= _narrow(given, wanted)
            changes[section] = dataclasses.replace(getattr(self, section), **values)
        jwst = {
            section.removeprefix(JWST): given.get("all", {}) | _narrow(given, wanted)
            for section, given in self.narrowed.items()
            if section.startswith(JWST)
        }
        jwst = {step: values for step, values in jwst.items() if values}
        return dataclasses.replace(self, **changes, narrowed={}, jwst=jwst)

    def as_dict(self, *sections: str) -> dict[str, Any]:
        """Give the values of some sections (all by default) as plain types."""
        return {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(getattr(self, name)).items()
            }
            for name in sections or SECTIONS
        }


SECTIONS: dict[str, type[Any]] = {
    f.name: f.default.__class__
    for f in dataclasses.fields(Settings)
    if f.name not in ("narrowed", "jwst")
}
#: Sections of jwst's own steps start with this.
JWST = "jwst."

#: Defaults that differ between instruments. 1/f stripes are worth fitting in NIRCam's.
BUILT_IN: dict[str, Any] = {
    "stripes": {
        "instrument": {"MIRI": {"enabled": False}, "NIRISS": {"enabled": False}}
    },
    "snowballs": {"instrument": {"MIRI": {"enabled": False}}},
}


def _narrow(given: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Collect the values given for these names, whatever their case."""
    values: dict[str, Any] = {}
    for kind in KINDS:
        for name, narrow in given.get(kind, {}).items():
            if name.lower() == wanted[kind].lower():
                values |= narrow
    return values
