"""The teacher at work: what it says of each window of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from moodbook.features import SEGMENT_FRAMES
from moodbook.networks.geometry import WINDOWS
from moodbook.training.teacher.hearing import FRAMES_A_FRAME
from moodbook.training.teacher.musicnn import PATCH_FRAMES, MusiCNN, load_musicnn
from moodbook.training.teacher.names import NETWORKS, TeacherName


class Teacher(nn.Module):
    """musicnn over the eight windows of each segment, its numbers at mean 0 and variance 1 over the songs it knows.

    Nothing of it is part of a module's state: it is neither learned nor stored. Where the step computes in bfloat16, so
    does it: that moves what it says by 1e-4 (mean squared error, beside a variance of 1).

    Args:
        networks: Its networks, whose numbers stand one behind the other.
    """

    def __init__(self, *networks: MusiCNN) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network.eval() for network in networks)

    @classmethod
    def load(cls, name: TeacherName) -> Teacher:
        """Load a teacher from the installed package.

        Raises:
            ModelError: As `find_weights` of `moodbook.training.teacher.musicnn`.
        """
        return cls(*(load_musicnn(network) for network in NETWORKS[name]))

    @torch.no_grad()
    def forward(self, log_mel: Float[Tensor, "batch frames n_mels"]) -> Float32[Tensor, "batch windows embedding"]:
        """Say what each window is like; NaN where it holds no music, or less than half of it.

        Args:
            log_mel: What it hears of each segment; NaN where there is none.
        """
        step = SEGMENT_FRAMES * FRAMES_A_FRAME / WINDOWS
        starts = [round(step * window) for window in range(WINDOWS)]
        log_mel = log_mel.float()  # Autocast to bfloat16 cannot stack what is float16.
        patches = torch.stack([log_mel[:, start : start + PATCH_FRAMES] for start in starts], dim=1)
        silent = patches[:, :, PATCH_FRAMES // 2, 0].isnan()
        heard = patches.nan_to_num().flatten(0, 1)
        said = torch.cat([network(heard) for network in self.networks], dim=1).float()
        return said.reshape(len(log_mel), WINDOWS, -1).masked_fill(silent[..., None], torch.nan)


def teacher_error(
    told: Float[Tensor, "batch windows embedding"], said: Float[Tensor, "batch windows embedding"]
) -> Float[Tensor, ""]:
    """Measure the mean squared error over the windows of which something was said (not NaN); 0 where nothing was."""
    heard = ~said.isnan()
    squares = (told - said.nan_to_num()).square() * heard
    error: Tensor = squares.sum() / heard.sum().clamp(min=1)
    return error
