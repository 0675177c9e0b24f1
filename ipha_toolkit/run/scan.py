"""One image of a session with what is found once for it: lungs, sides, zones, vessels, muscle, noise, flags.

Everything is found when it is first asked for, and kept. Steps (:mod:`ipha_toolkit.run.steps`) ask; measures take
what they need as arguments and know no Scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ipha_toolkit.errors import GridError, ImageError, IphaError, LayoutError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.image.geometry import crop, resample_to
from ipha_toolkit.io.acquisition import acquisition_of, unbelieved
from ipha_toolkit.io.checks import require_measurable
from ipha_toolkit.io.claims import in_expiration
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import MaskFile, SessionFiles
from ipha_toolkit.measure.quality import Noise, estimate_noise, image_flags
from ipha_toolkit.measure.signal import is_contrast_enhanced, ratio_map
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.lacking import missing_lung_ml
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.regions.muscle import muscle_flags, muscle_level, reference_tissue
from ipha_toolkit.regions.vessels import segment_vessels
from ipha_toolkit.regions.zones import Sides, lung_regions, split_left_right
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_MARGIN_MM = 20.0
"""Kept around the lungs of a CT: what lies farther away is neither measured nor looked at."""
_LATEST_MS = 10.0
"""By then the lung's signal is gone and muscle's is not: lungs stand out best in the last echo before."""
_SHARED = {Modality.T2W: Modality.T1W}
"""A T2w image on the grid of the session's T1w takes over its lungs and muscle: blood and water make the lung as bright
as muscle, and fat brighter, on T2w, while on T1w the lung stays darker. On another grid, where its own are smaller."""
_CROPPED = (Modality.CT,)

Segmenter = Callable[[Volume], Mask]
"""Finds lungs: takes an image, returns a Mask on its grid."""


@dataclass(frozen=True)
class Context:
    """What the measurement of a session needs beside its images."""

    protocol: Protocol = DEFAULT
    segment: Segmenter | None = None
    flags: tuple[str, ...] = ()


class Scan:
    """One image of a session.

    Parameters
    ----------
    files : SessionFiles
        The session.
    role : Modality
        Which of its images.
    context : Context
        Protocol, a lung segmenter in place of ours, flags of the subject.
    before : Scan, optional
        The session's image whose lungs and muscle serve this one as well where both lie on one grid: T1w for T2w.

    Attributes
    ----------
    flags : set of str
        What is to be said of every row of this image, codes of :data:`ipha_toolkit.flags.FLAGS`. Grows as parts
        are found.
    facts : dict
        How the image was made, once it was read: :func:`ipha_toolkit.io.acquisition.acquisition_of`.
    """

    def __init__(self, files: SessionFiles, role: Modality, context: Context, *, before: Scan | None = None) -> None:
        self.files, self.role, self.context = files, role, context
        self._before = before if before is not None and _SHARED.get(role) is before.role else None
        self.flags: set[str] = set(context.flags)
        self.facts: dict[str, str | float] = {}

    @property
    def protocol(self) -> Protocol:
        """All settings."""
        return self.context.protocol

    @cached_property
    def echoes(self) -> tuple[list[Volume], list[float]]:
        """Images of a multi-echo series and their echo times in ms."""
        return load_echoes(self.files.echoes, settings=self.protocol.reading)

    @cached_property
    def volume(self) -> Volume:
        """The image as acquired; of several echoes, the one in which lungs are looked for."""
        if self.role is Modality.MEGRE:
            echoes, te_ms = self.echoes
            for echo in echoes:
                require_measurable(echo, self.protocol.reading)
            volume = echoes[max([n for n, te in enumerate(te_ms) if te <= _LATEST_MS], default=0)]
        else:
            volume = load(self.files.images[self.role], modality=self.role, settings=self.protocol.reading)
            require_measurable(volume, self.protocol.reading)
            self.flags |= {"contrast_enhanced"} if is_contrast_enhanced(volume) else set()
        self.facts = acquisition_of(volume)
        self.flags |= {"facts_not_believed"} if unbelieved(volume) else set()
        self.flags |= set(volume.meta.get("ReadFlags", ()))
        self.flags |= {"expiration"} if self.role is Modality.CT and in_expiration(volume.name) else set()
        return volume

    @cached_property
    def given_lungs(self) -> Mask | None:
        """Lung mask made elsewhere, where there is one for this image."""
        return self._given(self.files.lungs, "lungs")

    @cached_property
    def lungs(self) -> Mask:
        """Lungs on the image's grid: a mask made elsewhere, else the segmenter's, else that of T1w, else ours.

        Raises
        ------
        GridError
            Where a mask made elsewhere lies on another grid.
        ImageError
            Where no lung is found.
        """
        lungs = self.given_lungs
        if lungs is not None:
            self.flags.add("foreign_mask")
        elif self.context.segment is not None and self.role in getattr(self.context.segment, "modalities", Modality):
            lungs = self.context.segment(self.volume)
            self.flags |= getattr(self.context.segment, "flags", set())
            self.volume.require_same_grid(lungs)
        elif self._shares_grid:
            lungs = self._before.lungs  # type: ignore[union-attr]
        else:
            lungs = self._found_lungs()
        return lungs

    def _found_lungs(self) -> Mask:
        """Ours; where T1w on another grid shows more lung than T2w does, or T2w shows none, the lungs of T1w.

        Only positions are carried over: between two breath-holds the lungs may have moved.
        """
        if self._before is None or "lungs" not in self._before.__dict__:
            return segment_lungs(self.volume, protocol=self.protocol)
        carried = resample_to(self._before.lungs, self.volume, order=0)
        least = max(1.0, self.protocol.lungs.t2w_to_t1w_least * carried.n_voxels)
        try:
            lungs = segment_lungs(self.volume, protocol=self.protocol)
        except ImageError:
            if not carried.n_voxels:
                raise
            lungs = None
        if lungs is not None and lungs.n_voxels >= least:
            return lungs
        self.flags.add("lungs_from_t1w")
        return carried

    @cached_property
    def chest_lungs(self) -> Mask:
        """Lungs on the grid of :attr:`chest`."""
        return crop(self.lungs, self.lungs, margin_mm=_MARGIN_MM) if self.role in _CROPPED else self.lungs

    @cached_property
    def chest(self) -> Volume:
        """The part of the image that is measured: of CT the lungs with some centimetres around them, else all of it."""
        return crop(self.volume, self.lungs, margin_mm=_MARGIN_MM) if self.role in _CROPPED else self.volume

    @cached_property
    def sides(self) -> Sides:
        """Left and right lung, on the grid of :attr:`chest`."""
        if self._takes_over_lungs:
            return self._before.sides  # type: ignore[union-attr]
        sides = split_left_right(self.chest_lungs)
        self.flags |= set(lung_flags(self.lungs, self.volume, sides=sides, missing_ml=self.missing_ml))
        return sides

    @cached_property
    def missing_ml(self) -> float:
        """How much lung the mask of a CT perhaps lacks; NaN where nobody can tell."""
        return missing_lung_ml(self.lungs, self.volume)

    @cached_property
    def regions(self) -> dict[str, Mask]:
        """The lungs and their parts, on the grid of :attr:`chest`."""
        sides = self.sides
        if self._takes_over_lungs:
            return self._before.regions  # type: ignore[union-attr]
        return lung_regions(self.chest_lungs, sides=sides)

    @cached_property
    def vessels(self) -> Mask:
        """Pulmonary vessels of a CT, on the grid of :attr:`chest`."""
        return segment_vessels(self.chest, self.chest_lungs, protocol=self.protocol)

    @cached_property
    def noise(self) -> Noise:
        """Noise of an MR image, and whether it or ghosts speak against what is measured in the lungs."""
        noise = estimate_noise(self.volume, self.lungs)
        level = muscle_level(self.volume, self.muscle)
        self.flags |= image_flags(noise, self.volume, self.lungs, level, protocol=self.protocol)
        return noise

    @cached_property
    def corrected(self) -> Volume:
        """An MR image without the shading of its coil."""
        return correct_bias(self.volume, exclude=self.lungs)

    @cached_property
    def muscle(self) -> Mask:
        """Skeletal muscle of an MR image: a mask made elsewhere, else that of T1w, else ours."""
        muscle = self._given(self.files.muscle, "muscle")
        if muscle is None and self._shares_grid:
            muscle = self._before.muscle  # type: ignore[union-attr]
        elif (
            muscle is None and "lungs_from_t1w" in self.flags
        ):  # with the lungs, the wall beside them is not told either
            muscle = resample_to(self._before.muscle, self.volume, order=0)  # type: ignore[union-attr]
        if muscle is None:
            muscle = reference_tissue(self.corrected, self.lungs, sides=self.sides)
        self.flags |= set(muscle_flags(muscle, self.lungs))
        return muscle

    @cached_property
    def ratio(self) -> Volume:
        """Signal of an MR image over that of muscle, shading removed."""
        return ratio_map(self.corrected, self.muscle)

    def forget(self, *parts: str) -> None:
        """Let go of large parts that no later step asks for; asked for again, they are made again."""
        for part in parts:
            self.__dict__.pop(part, None)

    @property
    def _shares_grid(self) -> bool:
        return (
            self._before is not None and "lungs" in self._before.__dict__ and self._before.lungs.same_grid(self.volume)
        )

    @property
    def _takes_over_lungs(self) -> bool:
        """Whether the lungs are those of T1w, flags and all."""
        if not self._shares_grid or self.lungs is not self._before.lungs:  # type: ignore[union-attr]
            return False
        self.flags |= set(lung_flags(self.lungs, self.volume, sides=self._before.sides))  # type: ignore[union-attr]
        return True

    def _given(self, masks: dict[Modality, MaskFile], kind: str) -> Mask | None:
        """The mask of this image made elsewhere; of T1w and T2w on one grid, either serves both."""
        file = masks.get(self.role)
        if file is not None:
            if file.why:
                raise LayoutError(f"{file.path}: {file.why}")
            mask = load_mask(file.path, labels=file.labels, image=self.volume, settings=self.protocol.reading)
            if not self.volume.same_grid(mask):
                raise GridError(
                    f"{file.path}: mask is on a different grid than {self.volume.name}: "
                    f"{self.volume.grid.how_apart(mask.grid)}; resample it to the image, nearest neighbor, and save it "
                    "again"
                )
            return mask
        for other in _PARTNERS.get(self.role, ()):
            if other in masks and not masks[other].why:
                return self._borrowed(masks[other])
        return None

    def _borrowed(self, file: MaskFile) -> Mask | None:
        """A mask of the other image, where it can be read and lies on this one's grid."""
        try:
            mask = load_mask(file.path, labels=file.labels, settings=self.protocol.reading)
        except IphaError:  # a failure of the image it was made for
            return None
        return mask if self.volume.same_grid(mask) else None


_PARTNERS = {Modality.T1W: (Modality.T2W,), Modality.T2W: (Modality.T1W,)}
