"""How the detectors are read: patterns of frames and groups, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass

from webbmosaic.errors import UsageError
from webbmosaic.simulate.geometry import Aperture

__all__ = ["PATTERNS", "TICK", "Readout", "readout", "row_overhead"]

#: READPATT -> frames averaged into a group, frames dropped between groups (JDox,
#: "NIRCam Detector Readout Patterns", "MIRI Detector Readout Overview", "NIRISS
#: Detector Readout Patterns").
PATTERNS = {
    "NIRCAM": {
        "RAPID": (1, 0),
        "BRIGHT1": (1, 1),
        "BRIGHT2": (2, 0),
        "SHALLOW2": (2, 3),
        "SHALLOW4": (4, 1),
        "MEDIUM2": (2, 8),
        "MEDIUM8": (8, 2),
        "DEEP2": (2, 18),
        "DEEP8": (8, 12),
    },
    "MIRI": {"FASTR1": (1, 0), "SLOWR1": (1, 0)},
    "NIRISS": {"NISRAPID": (1, 0), "NIS": (4, 0)},
}

#: Seconds that one pixel takes (JDox, "NIRCam Detector Readout").
TICK = 1e-5

#: Seconds per frame (JDox, "MIRI Detector Subarrays", FASTR1).
_MIRI_FRAMES = {
    "FULL": 2.77504,
    "BRIGHTSKY": 0.86528,
    "SUB256": 0.29952,
    "SUB128": 0.11904,
    "SUB64": 0.08500,
}

#: SLOWR1 samples each pixel nine times; a full frame takes 23.88992 s.
_SLOW = 23.88992 / 2.77504


@dataclass(frozen=True)
class Readout:
    """
    The ramp of one exposure.

    Attributes
    ----------
    pattern : str
        The READPATT keyword.
    ngroups, nints : int
    nframes, groupgap : int
        Frames averaged into a group, and dropped between groups.
    tframe, tgroup : float
        Seconds.
    """

    pattern: str
    ngroups: int
    nframes: int
    groupgap: int
    tframe: float
    tgroup: float
    nints: int = 1

    @property
    def group_times(self) -> tuple[float, ...]:
        """Mean time since the reset of the frames in each group, s."""
        first = self.tframe * (self.nframes + 1) / 2
        return tuple(first + k * self.tgroup for k in range(self.ngroups))

    @property
    def integration_time(self) -> float:
        """Time from the reset to the last frame, s."""
        return self.tframe * self.nframes + (self.ngroups - 1) * self.tgroup

    @property
    def exposure_time(self) -> float:
        """Time in which light was collected: the EFFEXPTM keyword, s."""
        return self.nints * self.integration_time


def readout(
    aperture: Aperture, pattern: str, ngroups: int, *, nints: int = 1
) -> Readout:
    """
    Plan the ramp of a subarray.

    Parameters
    ----------
    aperture : Aperture
    pattern : str
        Such as ``SHALLOW4``.
    ngroups, nints : int, optional

    Returns
    -------
    readout : Readout

    Raises
    ------
    UsageError
        If the instrument has no such pattern, or a count is not positive.

    Notes
    -----
    An H2RG reads a row in its pixels plus 12 ticks, and a frame in its rows plus one
    (four outputs; one more tick) or two (JDox, "NIRCam Detector Subarrays": 10.73677 s
    for FULL, 0.27864 s for SUB160).
    """
    patterns = PATTERNS[aperture.instrument]
    if pattern not in patterns:
        known = ", ".join(patterns)
        msg = f"{aperture.instrument} has no pattern '{pattern}'; it has {known}"
        raise UsageError(msg)
    if ngroups < 1 or nints < 1:
        msg = f"an exposure needs groups and integrations, not {ngroups} and {nints}"
        raise UsageError(msg)
    nframes, groupgap = patterns[pattern]
    tframe = _frame_time(aperture, pattern)
    tgroup = tframe * (nframes + groupgap)
    return Readout(pattern, ngroups, nframes, groupgap, tframe, tgroup, nints)


def _frame_time(aperture: Aperture, pattern: str) -> float:
    if aperture.instrument == "MIRI":
        fast = _MIRI_FRAMES[aperture.subarray]
        return fast * _SLOW if pattern == "SLOWR1" else fast
    fast_pixels = aperture.nx // aperture.noutputs
    four = aperture.noutputs == 4
    rows = aperture.ny + (1 if four else 2)
    ticks = (fast_pixels + row_overhead(aperture)) * rows + (1 if four else 0)
    return ticks * TICK


def row_overhead(aperture: Aperture) -> int:
    """Ticks that pass at the end of each row without a pixel."""
    return 13 if aperture.instrument == "MIRI" else 12
