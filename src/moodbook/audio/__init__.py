"""File to waveform: find, decode only what is needed, downmix, resample."""

from moodbook.audio.files import AUDIO_SUFFIXES, find
from moodbook.audio.payload import payload_hash
from moodbook.audio.waveform import AudioInfo, load, load_first_segment, probe, stream

__all__ = ["AUDIO_SUFFIXES", "AudioInfo", "find", "load", "load_first_segment", "payload_hash", "probe", "stream"]
