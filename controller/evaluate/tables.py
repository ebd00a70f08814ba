"""Request sizes as 29-point quantile tables of public traces, and how to draw from them.

Azure LLM inference traces 2023 (CC-BY, Splitwise, ISCA 2024); Mooncake FAST'25 (Apache-2.0); the R1 table
is drawn through the percentiles that ServeGen publishes. Input and output are independent: their
correlation in all traces is at most 0.11.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.signals import LENGTH_RANKS, interpolated

RANKS: Final = tuple(
    rank / 100
    for rank in (
        0, 1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 92.5, 95,
        97, 98, 99, 99.5, 99.9, 100,
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """Input and output tokens of one kind of traffic."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def draw(self, u_input: float, u_output: float) -> tuple[int, int]:
        """Return (input, output) tokens at two uniform draws."""
        return at(u_input, self.inputs), at(u_output, self.outputs)

    def output_prior(self) -> tuple[float, ...]:
        """Return the output lengths at the ranks that the controller keeps."""
        return tuple(float(interpolated(rank, RANKS, self.outputs)) for rank in LENGTH_RANKS)


def at(u: float, table: Sequence[int]) -> int:
    """Return the value at rank `u` in [0, 1), at least 1."""
    index = max(1, bisect_left(RANKS, u))
    span = RANKS[index] - RANKS[index - 1]
    share = (u - RANKS[index - 1]) / span
    return max(1, round(table[index - 1] + share * (table[index] - table[index - 1])))


SIZES: Final[Mapping[str, Sizes]] = {
    "chat": Sizes(
        (2, 29, 91, 181, 207, 372, 387, 396, 403, 414, 703, 984, 1020, 1045, 1071, 1097, 1130,
         1189, 1315, 1876, 2734, 4075, 4083, 4090, 4098, 4142, 4831, 6179, 14050),
        (7, 16, 24, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411,
         424, 430, 451, 509, 540, 601, 643, 954, 1000),
    ),
    "code": Sizes(
        (3, 17, 35, 75, 147, 232, 386, 578, 770, 939, 1075, 1261, 1469, 1690, 1909, 2164, 2433,
         2744, 3192, 3920, 5188, 6097, 7303, 7435, 7436, 7436, 7436, 7437, 7437),
        (6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 29, 39, 55, 69, 90, 128,
         171, 251, 359, 825, 1899),
    ),
    "mooncake": Sizes(
        (891, 894, 896, 901, 964, 1261, 1662, 2306, 3263, 4251, 4993, 5870, 6909, 8187, 9570,
         11238, 13196, 15367, 17869, 21464, 27367, 31519, 39550, 52215, 66449, 85400, 100810,
         121301, 126195),
        (1, 3, 3, 10, 24, 46, 100, 156, 213, 256, 291, 322, 350, 375, 399, 423, 447, 472, 504, 543,
         597, 639, 698, 800, 892, 1119, 1568, 2000, 2000),
    ),
    "reasoning": Sizes(
        (5, 12, 18, 31, 45, 60, 77, 95, 113, 133, 155, 180, 208, 241, 281, 330, 394, 484, 640, 960,
         1900, 2900, 5200, 10800, 15500, 23000, 26000, 30000, 32000),
        (8, 30, 60, 130, 215, 290, 360, 430, 500, 570, 640, 715, 792, 890, 1010, 1160, 1350, 1600,
         1960, 2500, 3550, 4400, 5700, 7700, 9400, 12600, 14500, 16000, 16384),
    ),
}  # fmt: skip
"""By name: Azure chat, Azure code, Mooncake conversations, R1-like reasoning."""
