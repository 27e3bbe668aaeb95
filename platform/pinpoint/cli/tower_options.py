"""Options of `bundles import` and `pull` that change the input or the output of a tower."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pinpoint.nets.bundle.contract import Preprocess, TowerSpec

AggregationOption = Annotated[
    Literal["avg", "gem", "cls"] | None,
    typer.Option(
        "--aggregation",
        help="How the features of a layer become one vector; the default is the pooling of the "
        "library. For VLAD import the tower first, then run `pinpoint train vocabulary`.",
    ),
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        "--layer", help="For `--aggregation`: layer of the tower; the default is the last one."
    ),
]
GemPowerOption = Annotated[
    float | None,
    typer.Option(
        "--gem-power", min=1.0, max=100.0, help="For `--aggregation gem`: exponent; default 3."
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size-px",
        min=8,
        max=4_096,
        help="Input of the tower in pixels; the default is that of its library.",
    ),
]
ResizeOption = Annotated[
    Literal["shorter", "squash"] | None,
    typer.Option("--resize", help="`shorter` crops the center square, `squash` scales both sides."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerShape:
    """Options that change the input or the output of a published tower."""

    aggregation: Literal["avg", "gem", "cls"] | None = None
    layer: str | None = None
    gem_power: float | None = None
    size_px: int | None = None
    resize: Literal["shorter", "squash"] | None = None

    def change_preprocess(self, tower: TowerSpec) -> Preprocess:
        """The preprocessing that the library states, with the given size and resizing."""
        from pinpoint.nets.towers.backbone import suggested_preprocess

        preprocess = suggested_preprocess(tower)
        return replace(
            preprocess,
            size_px=self.size_px or preprocess.size_px,
            resize=self.resize or preprocess.resize,
        )
