"""Which effects a simulated exposure has, and the random numbers of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np

from webbmosaic.errors import UsageError

__all__ = ["EFFECTS", "Effects", "Streams"]


@dataclass(frozen=True)
class Effects:
    """
    One switch per effect; all are on unless said otherwise.

    Attributes
    ----------
    sky, wisp, claw, tilted_stripes, background_drift : bool
        Light: the uniform sky; scattered light at a fixed place of the detector; lines
        at +-30 degrees; MIRI's structured background, which drifts with time.
    flat, bad_pixels : bool
        Sensitivity of the pixels; dead and hot ones.
    poisson, dark, cosmic_rays, snowball, persistence : bool
        Charge: its noise, and what is not light of this exposure.
    ktc, nonlinearity, saturation : bool
        What the pixel makes of the charge.
    bias, read_noise, one_over_f, odd_even, amplifier_offsets, reference_pixels : bool
        Electronics. Without ``reference_pixels`` the border sees light.
    pointing_error, jitter : bool
        The telescope: an offset and roll of each visit, the settling of each dither.
    """

    sky: bool = True
    wisp: bool = True
    claw: bool = True
    tilted_stripes: bool = True
    background_drift: bool = True
    flat: bool = True
    bad_pixels: bool = True
    poisson: bool = True
    dark: bool = True
    cosmic_rays: bool = True
    snowball: bool = True
    persistence: bool = True
    ktc: bool = True
    nonlinearity: bool = True
    saturation: bool = True
    bias: bool = True
    read_noise: bool = True
    one_over_f: bool = True
    odd_even: bool = True
    amplifier_offsets: bool = True
    reference_pixels: bool = True
    pointing_error: bool = True
    jitter: bool = True

    @classmethod
    def only(cls, *names: str) -> Effects:
        """Switch all effects off but these."""
        return cls(**dict.fromkeys(EFFECTS, False)).having(*names)

    def having(self, *names: str) -> Effects:
        """Switch these effects on."""
        return replace(self, **dict.fromkeys(_known(names), True))

    def without(self, *names: str) -> Effects:
        """Switch these effects off."""
        return replace(self, **dict.fromkeys(_known(names), False))


#: The names of all effects.
EFFECTS = tuple(field.name for field in fields(Effects))


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in EFFECTS:
            msg = f"effect '{name}' is not one of {', '.join(EFFECTS)}"
            raise UsageError(msg)
    return names


@dataclass(frozen=True)
class Streams:
    """
    Independent random numbers for each effect of each owner.

    Attributes
    ----------
    seed : int
    owner : str
        Whose numbers these are: a dataset, or a detector for what does not change from
        exposure to exposure. What stands before the first ``_`` is the visit.

    Notes
    -----
    Every effect draws as many numbers whether or not the others are there, from a
    generator of its own: switching one off leaves the draws of all others as they were.
    """

    seed: int
    owner: str

    def of(self, effect: str) -> np.random.Generator:
        """
        Start the stream of one effect from its beginning.

        Parameters
        ----------
        effect : str
            Any name; equal names give equal numbers.

        Returns
        -------
        generator : `~numpy.random.Generator`
        """
        text = f"{self.seed}|{self.owner}|{effect}".encode()
        digest = hashlib.sha256(text).digest()
        return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))

    @property
    def visit(self) -> str:
        """What the owner shares with the other exposures of its visit."""
        return self.owner.partition("_")[0]

    def owned_by(self, owner: str) -> Streams:
        """Keep the seed, change the owner."""
        return replace(self, owner=owner)
