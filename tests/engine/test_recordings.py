"""Recordings of one's own: read as they are meant, and refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from labkit.engine.recordings import RecordingError, recorded

RATE = 16_000


def sound(length_s: float = 2.0, silence: tuple[float, float] = (0.8, 1.2), rate: int = RATE,
          channels: int = 1) -> np.ndarray:  # fmt: skip
    """A second tone with a silence in it."""
    t = np.arange(round(length_s * rate)) / rate
    pcm = 0.3 * np.sin(2 * np.pi * 300 * t)
    pcm[(t >= silence[0]) & (t < silence[1])] = 0
    return np.repeat(pcm[:, None], channels, axis=1)


def write(
    folder: Path, rows: str, header: str = "file,end_s,pauses_s", **files: np.ndarray
) -> Path:
    for name, pcm in files.items():
        soundfile.write(folder / f"{name}.wav", pcm, RATE, subtype="FLOAT")
    (folder / "turns.csv").write_text(f"{header}\n{rows}")
    return folder


def test_pauses_are_read_or_found(tmp_path: Path) -> None:
    rows = "one.wav,1.9,0.70-1.30 1.5-1.6\ntwo.wav,1.9,\n"
    one, two = recorded(write(tmp_path, rows, one=sound(3.0), two=sound(3.0)))
    assert one.pauses == ((0.7, 1.3), (1.5, 1.6))
    assert two.pauses == (pytest.approx((0.8, 1.2), abs=0.011),)
    assert (one.end_s, one.voice, one.call, two.call) == (1.9, "one", 0, 1)
    assert one.pcm.dtype == np.int16


def test_a_speaker_may_be_named(tmp_path: Path) -> None:
    header = "file,end_s,pauses_s,speaker"
    (one,) = recorded(write(tmp_path, "one.wav,1.9,,anna\n", header, one=sound(3.0)))
    assert one.voice == "anna"


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    write(tmp_path, "one.wav,1.9,\n")
    soundfile.write(tmp_path / "one.wav", sound(3.0, rate=44_100), 44_100)
    (one,) = recorded(tmp_path)
    assert len(one.pcm) == pytest.approx(3.0 * RATE, abs=2)
    assert one.pauses == (pytest.approx((0.8, 1.2), abs=0.021),)
    at_16k = (32768 * sound(3.0)[:, 0]).astype(int)
    assert np.abs(one.pcm[1000:11000] - at_16k[1000:11000]).max() < 100


def test_channels_are_mixed_with_a_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pcm = sound(3.0, channels=2)
    pcm[:, 1] = 0
    (one,) = recorded(write(tmp_path, "one.wav,1.9,\n", one=pcm))
    assert "one.wav: 2 channels are mixed into one" in capsys.readouterr().err
    assert one.pcm.max() == pytest.approx(0.15 * 32768, rel=0.01)


def test_silence_is_added_after_an_early_end_with_a_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = recorded(write(tmp_path, "one.wav,1.95,\n", one=sound(2.0)))
    assert len(one.pcm) == round(2.95 * RATE)
    assert "0.95 s of digital silence" in capsys.readouterr().err


BAD = {
    "no such file": ("two.wav,1.9,\n", "two.wav: no such file"),
    "misspelt": ("on.wav,1.9,\n", "did you mean one.wav"),
    "no name": (",1.9,\n", "no such file"),
    "end after the audio": ("one.wav,3.5,\n", "end_s=3.5 is not within the audio, 3.00 s"),
    "end at nothing": ("one.wav,0,\n", "end_s=0 is not within"),
    "end is not a number": ("one.wav,soon,\n", "end_s holds 'soon'"),
    "end is NaN": ("one.wav,nan,\n", "end_s holds 'nan'"),
    "end is missing": ("one.wav,,\n", "end_s holds ''"),
    "pause after the end": ("one.wav,1.9,1.8-2.0\n", "pause 1.8-2.0"),
    "pause backwards": ("one.wav,1.9,1.0-0.9\n", "pause 1.0-0.9"),
    "pauses overlap": ("one.wav,1.9,0.5-0.9 0.8-1.0\n", "pause 0.8-1.0"),
    "half a pause": ("one.wav,1.9,0.5\n", "pauses_s holds ''"),
    "nothing listed": ("", "lists no turn"),
}


@pytest.mark.parametrize(("rows", "said"), BAD.values(), ids=BAD)
def test_a_wrong_row_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        recorded(write(tmp_path, rows, one=sound(3.0)))


def test_wrong_audio_is_refused(tmp_path: Path) -> None:
    pcm = sound(3.0)
    pcm[5] = np.nan
    with pytest.raises(RecordingError, match="not numbers"):
        recorded(write(tmp_path, "one.wav,1.9,\n", one=pcm))
    with pytest.raises(RecordingError, match="nothing but silence"):
        recorded(write(tmp_path, "one.wav,1.9,\n", one=np.zeros((RATE * 3, 1))))
    (tmp_path / "one.wav").write_text("words")
    with pytest.raises(RecordingError, match="not readable as audio"):
        recorded(tmp_path)


def test_a_wrong_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        recorded(tmp_path / "none")
    with pytest.raises(RecordingError, match="found none"):
        recorded(tmp_path)
    write(tmp_path, "one.wav,1.9\n", "file,end_s", one=sound(3.0))
    with pytest.raises(RecordingError, match="column pauses_s is missing"):
        recorded(tmp_path)
    (tmp_path / "more.csv").write_text("")
    with pytest.raises(RecordingError, match=r"found more\.csv, turns\.csv"):
        recorded(tmp_path)
