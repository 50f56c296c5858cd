"""Names of exposures and groups, and where every file of one lives."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.errors import UsageError

__all__ = [
    "ALL",
    "DETECTORS",
    "FILTERS",
    "IMAGING_EXPOSURES",
    "INSTRUMENTS",
    "PUPIL_FILTERS",
    "Dataset",
    "Group",
    "Wanted",
    "Workspace",
    "effective_filter",
    "find_dataset_name",
]

INSTRUMENTS = ("NIRCAM", "MIRI", "NIRISS")

#: Detector as in file names -> (instrument, DETECTOR keyword).
DETECTORS = {
    **{
        f"nrc{m}{n}": ("NIRCAM", f"NRC{m.upper()}{n}")
        for m in "ab"
        for n in range(1, 5)
    },
    "nrcalong": ("NIRCAM", "NRCALONG"),
    "nrcblong": ("NIRCAM", "NRCBLONG"),
    "mirimage": ("MIRI", "MIRIMAGE"),
    "nis": ("NIRISS", "NIS"),
}

#: The exposure types that this package reduces.
IMAGING_EXPOSURES = ("NRC_IMAGE", "MIR_IMAGE", "NIS_IMAGE")

#: NIRCam filters in the pupil wheel, behind a wider one (JDox, NIRCam Filters).
PUPIL_FILTERS = ("F162M", "F164N", "F323N", "F405N", "F466N", "F470N")

#: Filters of imaging, by wheel or pupil wheel (JDox).
FILTERS = (
    *("F070W", "F090W", "F115W", "F140M", "F150W", "F150W2", "F162M", "F164N"),
    *("F182M", "F187N", "F200W", "F210M", "F212N", "F250M", "F277W", "F300M"),
    *("F322W2", "F323N", "F335M", "F356W", "F360M", "F405N", "F410M", "F430M"),
    *("F444W", "F460M", "F466N", "F470N", "F480M"),
    *("F560W", "F770W", "F1000W", "F1130W", "F1280W", "F1500W", "F1800W"),
    *("F2100W", "F2550W", "F2550WR", "F1065C", "F1140C", "F1550C", "F2300C", "FND"),
    *("F140W", "F158M", "F380M"),
)

_NAME = re.compile(
    r"jw(?P<program>\d{5})(?P<observation>\d{3})(?P<visit>\d{3})"
    r"_(?P<visit_group>\d{2})(?P<sequence>\d)(?P<activity>[0-9a-z]{2})"
    r"_(?P<exposure>\d{5})(?P<segment>-seg\d{3})?"
    r"_(?P<detector>[a-z0-9]+)"
)
_EXAMPLE = "jw01345002001_14201_00001_nrcb4"


@dataclass(frozen=True, order=True)
class Dataset:
    """
    One exposure of one detector.

    Attributes
    ----------
    program, observation, visit : str
        Zero-padded to 5, 3 and 3 digits.
    visit_group, sequence, activity : str
        2 digits, 1 digit and 2 characters in base 36.
    exposure : str
        5 digits.
    segment : str
        ``-seg001`` of a segmented exposure, else empty.
    detector : str
        As in file names: ``nrcb4``, ``nrcblong``, ``mirimage``, ``nis``.
    """

    program: str
    observation: str
    visit: str
    visit_group: str
    sequence: str
    activity: str
    exposure: str
    segment: str
    detector: str

    @classmethod
    def parse(cls, name: str) -> Dataset:
        """
        Read a dataset from its name, or from a file name that starts with it.

        Parameters
        ----------
        name : str
            Such as ``jw01345002001_14201_00001_nrcb4`` or ``..._nrcb4_uncal.fits``.

        Returns
        -------
        dataset : Dataset

        Raises
        ------
        UsageError
            If the text does not start with a dataset name.
        """
        stem = Path(name).name
        match = _NAME.match(stem)
        if match is None or not _ends_well(stem, match.end()):
            msg = f"'{stem}' is no JWST dataset name such as {_EXAMPLE}"
            raise UsageError(msg)
        if match["detector"] not in DETECTORS:
            known = ", ".join(DETECTORS)
            msg = f"'{stem}': detector '{match['detector']}' is not one of {known}"
            raise UsageError(msg)
        fields = match.groupdict()
        return cls(**{**fields, "segment": fields["segment"] or ""})

    def __str__(self) -> str:
        return (
            f"jw{self.program}{self.observation}{self.visit}_{self.visit_group}"
            f"{self.sequence}{self.activity}_{self.exposure}{self.segment}_{self.detector}"
        )

    @property
    def instrument(self) -> str:
        """The INSTRUME keyword of this detector."""
        return DETECTORS[self.detector][0]

    @property
    def visit_id(self) -> str:
        """Program, observation and visit: the same guide star."""
        return f"jw{self.program}{self.observation}{self.visit}"


def _ends_well(stem: str, end: int) -> bool:
    return end == len(stem) or stem[end] in "_."


def find_dataset_name(name: str) -> Dataset | None:
    """
    Read a dataset from a name, or say that there is none.

    Parameters
    ----------
    name : str
        Any file or folder name.

    Returns
    -------
    dataset : Dataset or None
    """
    try:
        return Dataset.parse(name)
    except UsageError:
        return None


def effective_filter(filter_name: str, pupil: str | None) -> str:
    """
    Name the filter that shaped the light.

    A NIRCam narrow or medium filter in the pupil wheel, and a NIRISS filter in its
    pupil wheel (FILTER is CLEAR then), stands before the filter wheel's.

    Parameters
    ----------
    filter_name : str
        The FILTER keyword.
    pupil : str or None
        The PUPIL keyword.

    Returns
    -------
    name : str
        For example ``F162M`` where FILTER is F150W2 and PUPIL is F162M.

    Examples
    --------
    >>> effective_filter("F150W2", "F162M"), effective_filter("F200W", "CLEAR")
    ('F162M', 'F200W')
    >>> effective_filter("CLEAR", "F115W")
    'F115W'
    """
    pupil = (pupil or "").upper()
    name = filter_name.upper()
    if pupil in PUPIL_FILTERS or (name.startswith("CLEAR") and pupil.startswith("F")):
        return pupil
    return name


@dataclass(frozen=True, order=True)
class Group:
    """
    Exposures that become one mosaic; the name follows from its members alone.

    Attributes
    ----------
    programs, observations, visits, filters : tuple of str
        Sorted, without repeats. ``visits`` is empty where visits are combined.
    instrument : str
    """

    programs: tuple[str, ...]
    observations: tuple[str, ...]
    visits: tuple[str, ...]
    instrument: str
    filters: tuple[str, ...]

    def __str__(self) -> str:
        visit = f"_visit{_joined(self.visits)}" if self.visits else ""
        return (
            f"jw{_joined(self.programs)}_obs{_joined(self.observations)}{visit}"
            f"_{self.instrument}_{_joined(self.filters)}"
        )


def _joined(values: tuple[str, ...]) -> str:
    """More than four values are shortened, as users of the predecessor know it."""
    if len(values) > 4:
        values = (*values[:3], "many", values[-1])
    return "+".join(values)


@dataclass(frozen=True)
class Wanted:
    """
    Which exposures are meant; empty means all.

    Attributes
    ----------
    programs, observations, visits, instruments, filters : tuple of str
        Whatever the case; numbers may lack their zeros.
    """

    programs: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()

    def why_not(self, dataset: Dataset, filter_name: str) -> str | None:
        """Say why an exposure is not meant, or `None` where it is."""
        checks = (
            ("program", dataset.program, [p.zfill(5) for p in self.programs]),
            ("observation", dataset.observation, _padded(self.observations)),
            ("visit", dataset.visit, _padded(self.visits)),
            ("instrument", dataset.instrument, [i.upper() for i in self.instruments]),
            ("filter", filter_name, [f.upper() for f in self.filters]),
        )
        for what, value, wanted in checks:
            if wanted and value not in wanted:
                return f"{what} {value} is not wanted"
        return None


#: Every exposure.
ALL = Wanted()


def _padded(numbers: tuple[str, ...]) -> list[str]:
    return [number.zfill(3) for number in numbers]


@dataclass(frozen=True)
class Workspace:
    """
    A work folder and the name of every file in it.

    Attributes
    ----------
    root : `~pathlib.Path`
    mosaics_name : str
        The folder of the mosaics, relative to ``root`` or absolute.
    """

    root: Path
    mosaics_name: str = "calibrated3_mosaic"

    def folder(self, dataset: Dataset) -> Path:
        """Everything of one dataset."""
        return self.root / str(dataset)

    def uncal(self, dataset: Dataset) -> Path:
        """The raw ramps."""
        return self.folder(dataset) / "uncals" / f"{dataset}_uncal.fits"

    def rate(self, dataset: Dataset) -> Path:
        """The clean count-rate image of stage 1."""
        return self.folder(dataset) / "calibrated1_rates" / f"{dataset}_rate.fits"

    def ramp(self, dataset: Dataset) -> Path:
        """The calibrated ramp, where it is kept."""
        return self.folder(dataset) / "calibrated1_rates" / f"{dataset}_ramp.fits"

    def persistence(self, dataset: Dataset) -> Path:
        """The flags of what earlier exposures left on the detector."""
        name = f"{dataset}_persistence.fits"
        return self.folder(dataset) / "calibrated1_rates" / name

    @property
    def flags(self) -> Path:
        """What was found in all exposures of a detector together."""
        return self.root / "badpixels"

    def bad_pixels(self, detector: str, frame: str) -> Path:
        """The flags of the bad pixels of a detector, from all exposures of a frame."""
        return self.flags / f"{detector}_{frame}_badpixels.fits"

    def cal(self, dataset: Dataset) -> Path:
        """The calibrated image of stage 2."""
        return self.folder(dataset) / "calibrated2_cals" / f"{dataset}_cal.fits"

    def record(self, owner: Dataset | Group | str, stage: str) -> Path:
        """The ledger's record of one stage of a dataset or group."""
        return self.home(owner) / "state" / f"{stage}.json"

    def log(self, owner: Dataset | Group | str, stage: str) -> Path:
        """Everything the pipeline said in one stage of a dataset or group."""
        return self.home(owner) / "logs" / f"{stage}.log"

    def home(self, owner: Dataset | Group | str) -> Path:
        """The folder of a dataset, or of a group of them."""
        if isinstance(owner, Dataset):
            return self.folder(owner)
        return self.mosaics / str(owner)

    @property
    def mosaics(self) -> Path:
        """All mosaics."""
        return self.root / self.mosaics_name

    def mosaic(self, group: Group | str) -> Path:
        """The drizzled mosaic of one group."""
        return self.home(group) / f"{group}_i2d.fits"

    @property
    def visit_table(self) -> Path:
        """The exposures, sorted by visit."""
        return self.root / "table_of_jwst_dataset_visit_instrument_filter_groups.csv"

    @property
    def masks(self) -> Path:
        """Regions and mask images that people drew."""
        return self.root / "masks"

    @property
    def settings(self) -> Path:
        """The settings of this work folder."""
        return self.root / "webbmosaic.toml"

    @property
    def catalogues(self) -> Path:
        """Catalogues for absolute astrometry that were fetched."""
        return self.root / "catalogues"

    @property
    def lock(self) -> Path:
        """The reference files that may be used, with their hashes."""
        return self.root / "crds.lock"

    @property
    def reference_hashes(self) -> Path:
        """Hashes of reference files that were not touched since they were taken."""
        return self.root / ".crds_hashes.json"

    @property
    def hidden(self) -> Path:
        """What only serves to be faster or safer, and may be deleted between runs."""
        return self.root / ".webbmosaic"

    @property
    def plan(self) -> Path:
        """The list of tasks for schedulers."""
        return self.root / "plan" / "plan.jsonl"

    @property
    def report(self) -> Path:
        """The page to judge the reduction by."""
        return self.root / "report" / "index.html"

    def datasets(self) -> list[Dataset]:
        """Find the datasets that have a folder here, sorted by name."""
        if not self.root.is_dir():
            msg = f"{self.root}: no such folder. Try: webbmosaic prepare SOURCE -C ..."
            raise UsageError(msg)
        with os.scandir(self.root) as entries:
            names = [e.name for e in entries if e.name.startswith("jw") and e.is_dir()]
        # A folder that was renamed to DATASET_bad is put aside, not a dataset.
        found = ((find_dataset_name(name), name) for name in names)
        return sorted(d for d, name in found if d is not None and str(d) == name)

    def groups(self) -> list[str]:
        """Find the names of the groups that have a folder here, sorted."""
        folders = (p for p in self.mosaics.glob("*/state/") if any(p.glob("*.json")))
        # The predecessor's names of mosaics are links, and no mosaics of their own.
        return sorted(p.parent.name for p in folders if not p.parent.is_symlink())
