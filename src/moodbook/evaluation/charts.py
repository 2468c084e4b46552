"""The report's charts as inline SVG. Colours come from the page's style, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Bool, Float

from moodbook.evaluation.calibration import ReliabilityCurve

PANEL = 100
"""Side of a small precision-recall panel, in its own units."""
CURVE_POINTS = 60
"""Points a drawn curve keeps; more do not show."""


@dataclass(frozen=True)
class Frame:
    """A plot with axes: 360 x 300 units, which a phone shows at about one pixel a unit."""

    width: int = 360
    height: int = 300
    left: int = 62
    right: int = 12
    top: int = 10
    bottom: int = 42

    def x(self, share: float) -> float:
        """Place a share of the width."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Place a share of the height, upwards."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def draw(
        self,
        inside: str,
        label: str,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        x_title: str,
        y_title: str,
    ) -> str:
        """Put axes round what is plotted; ticks are (share of the axis, text)."""
        parts = [f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(label)}">']
        for share, text in x_ticks:
            x = self.x(share)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.y(0.0):.1f}" y2="{self.y(1.0):.1f}"/>'
            )
            parts.append(f'<text x="{x:.1f}" y="{self.y(0.0) + 15:.1f}" text-anchor="middle">{escape(text)}</text>')
        for share, text in y_ticks:
            y = self.y(share)
            parts.append(
                f'<line class="grid" x1="{self.x(0.0):.1f}" x2="{self.x(1.0):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        middle = self.y(0.5)
        parts.append(f'<text x="{self.x(0.5):.1f}" y="{self.height - 6}" text-anchor="middle">{escape(x_title)}</text>')
        parts.append(
            f'<text x="12" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 12 {middle:.1f})">'
            f"{escape(y_title)}</text>"
        )
        parts += [inside, "</svg>"]
        return "".join(parts)


def precision_recall_panel(
    ground_truth: Bool[np.ndarray, " tracks"], probabilities: Float[np.ndarray, " tracks"], corner: str, label: str
) -> str:
    """Draw one precision-recall curve: recall to the right, the square root of precision upwards.

    The tag's frequency, which chance gives, is a dashed line. `corner` is written into the panel.
    """
    order = np.argsort(-probabilities, kind="stable")
    truth, ranked = ground_truth[order], probabilities[order]
    last = np.append(ranked[1:] != ranked[:-1], True)
    found = np.cumsum(truth)[last]
    retrieved = (np.flatnonzero(last) + 1).astype(np.float64)
    recall, precision = found / max(1, int(truth.sum())), found / retrieved
    kept = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).astype(np.int64))
    if found[-1]:
        # Evenly spread over recall, not over tracks: the interesting end holds few tracks.
        wanted = np.linspace(0, 1, CURVE_POINTS)
        kept = np.unique(np.minimum(np.searchsorted(recall, wanted), len(recall) - 1))
    points = " ".join(f"{PANEL * recall[k]:.1f},{PANEL * (1 - precision[k] ** 0.5):.1f}" for k in kept)
    base = PANEL * (1 - float(truth.mean()) ** 0.5)
    return (
        f'<svg class="panel" viewBox="-1 -1 {PANEL + 2} {PANEL + 2}" role="img" aria-label="{escape(label)}">'
        f'<rect class="box" width="{PANEL}" height="{PANEL}"/>'
        f'<line class="base" x1="0" x2="{PANEL}" y1="{base:.1f}" y2="{base:.1f}"/>'
        f'<polyline class="curve" points="{points}"/>'
        f'<text x="{PANEL - 5}" y="15" text-anchor="end">{escape(corner)}</text></svg>'
    )


def reliability_diagram(curve: ReliabilityCurve) -> str:
    """Draw observed frequency against probability, both logarithmic: tags are rare."""
    frame = Frame()
    positive = curve.frequency[curve.frequency > 0]
    lowest = min(float(curve.probability.min()), float(positive.min()) if len(positive) else 1.0)
    floor = 10.0 ** np.floor(np.log10(min(max(lowest, 1e-5), 0.1)))

    def share(value: float) -> float:
        return float(1 - np.log10(max(value, floor)) / np.log10(floor))

    ticks = [(share(10.0**power), f"{10.0**power:g}") for power in range(int(np.log10(floor)), 1)]
    dots = [
        f'<circle class="dot" cx="{frame.x(share(p)):.1f}" cy="{frame.y(share(f)):.1f}" r="4">'
        f"<title>probability {p:.4f}, observed {f:.4f}, {n:,} cells</title></circle>"
        for p, f, n in zip(curve.probability.tolist(), curve.frequency.tolist(), curve.cells.tolist(), strict=True)
    ]
    line = " ".join(
        f"{frame.x(share(p)):.1f},{frame.y(share(f)):.1f}"
        for p, f in zip(curve.probability.tolist(), curve.frequency.tolist(), strict=True)
    )
    ideal = f'<line class="base" x1="{frame.x(0.0)}" y1="{frame.y(0.0)}" x2="{frame.x(1.0)}" y2="{frame.y(1.0)}"/>'
    inside = f'{ideal}<polyline class="curve" points="{line}"/>{"".join(dots)}'
    return frame.draw(
        inside, "reliability diagram", ticks, ticks, "mean probability of a bin", "share that has the tag"
    )


def confusion_plot(lift: Float[np.ndarray, " pairs"], pull: Float[np.ndarray, " pairs"], names: Sequence[str]) -> str:
    """Draw each pair of tags: how often they go together, and how far one draws the other's score."""
    frame = Frame()
    low, high = -3.0, 4.0  # Powers of two of the lift; pairs outside stand at the edge.
    x = (np.clip(np.log2(np.maximum(lift, 2.0**low)), low, high) - low) / (high - low)
    dots = [
        f'<circle class="speck" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="2"><title>{escape(name)}</title>'
        "</circle>"
        for a, b, name in zip(x.tolist(), pull.tolist(), names, strict=True)
    ]
    edges = {low: "\u2264", high: "\u2265"}
    x_ticks = [
        ((power - low) / (high - low), f"{edges.get(power, '')}{2.0**power:g}")
        for power in range(int(low), int(high) + 1)
    ]
    y_ticks = [(share, f"{share:g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    level = f'<line class="base" x1="{frame.x(0.0)}" x2="{frame.x(1.0)}" y1="{frame.y(0.5)}" y2="{frame.y(0.5)}"/>'
    return frame.draw(
        level + "".join(dots),
        "tag co-occurrence against errors",
        x_ticks,
        y_ticks,
        "times as often together as by chance",
        "pull on the other tag's score",
    )
