from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from stage import HELLO, frames, make_track

from labkit.providers.clip_finder import ClipFinder
from labkit.providers.hearing import Acuity, HeardWord, Hearing
from labkit.providers.profile import Profile
from labkit.world.scene import Scene, SpokenWord

TEXT = [w[0] for w in HELLO]


def listen(scene: Scene, chunks: list[bytes], rate_hz: int = 16_000, **kw: object) -> Hearing:
    hearing = Hearing(scene.track, rate_hz, kw.pop("acuity", Acuity()), **kw)  # type: ignore[arg-type]
    for chunk in chunks:
        hearing.feed(chunk)
    return hearing


def texts(words: list[HeardWord]) -> list[str]:
    return [w.text for w in words]


def test_all_words_with_their_times_in_received_audio(hello: Scene) -> None:
    words = listen(hello, frames(hello.track.pcm)).take()
    assert texts(words) == TEXT
    for heard, (_, start_s, end_s) in zip(words, HELLO, strict=True):
        assert heard.start_s == pytest.approx(start_s, abs=1e-4)
        assert heard.end_s == pytest.approx(end_s, abs=1e-4)


def test_joining_late_shifts_the_times(hello: Scene) -> None:
    words = listen(hello, frames(hello.track.pcm)[19:]).take()  # from 0.95 s on
    assert texts(words) == TEXT[1:]
    assert words[0].start_s == pytest.approx(1.00 - 0.95, abs=1e-4)


def test_a_word_is_not_heard_before_its_end(hello: Scene) -> None:
    hearing = listen(hello, frames(hello.track.pcm)[: round(0.80 / 0.05)])
    assert hearing.take() == []
    assert hearing.speech_end_s == pytest.approx(0.80)


@pytest.mark.parametrize("fill", ["missing", "zeros"])
@pytest.mark.parametrize(("lost_s", "heard"), [(0.10, True), (0.25, False)])
def test_a_word_with_a_hole(hello: Scene, fill: str, lost_s: float, heard: bool) -> None:
    """ "move" lasts 0.3 s: it survives the loss of a third, not of five sixths."""
    first, last = round(1.55 * 32000), round((1.55 + lost_s) * 32000)
    pcm = bytes(hello.track.pcm)
    hole = b"" if fill == "missing" else bytes(last - first)
    hearing = listen(hello, frames(pcm[:first] + hole + pcm[last:]))
    assert texts(hearing.take()) == [t for t in TEXT if heard or t != "move"]


def test_lost_packets_inside_a_frame(hello: Scene) -> None:
    pcm = bytearray(hello.track.pcm)
    a = round(2.10 * 32000)
    pcm[a : a + 640] = bytes(640)  # 20 ms of a word of 750 ms
    assert texts(listen(hello, frames(bytes(pcm))).take()) == TEXT


def test_a_silenced_microphone_hears_nothing(hello: Scene) -> None:
    hearing = listen(hello, [bytes(1600)] * 100)
    assert hearing.take() == []
    assert hearing.received_s == pytest.approx(5.0)
    assert hearing.speech_end_s == -np.inf


def test_sound_from_elsewhere_is_no_words(hello: Scene) -> None:
    noise = np.random.default_rng(1).integers(-5000, 5000, 16_000 * 3).astype(np.int16)
    assert listen(hello, frames(noise.tobytes())).take() == []


def test_inserted_silence_delays_but_loses_nothing(hello: Scene) -> None:
    pcm = bytes(hello.track.pcm)
    a = round(1.65 * 32000)  # in the middle of "move"
    words = listen(hello, frames(pcm[:a] + bytes(32000) + pcm[a:])).take()
    assert texts(words) == TEXT
    assert words[-1].end_s == pytest.approx(3.70, abs=1e-3)


def test_a_burst_after_an_outage(hello: Scene) -> None:
    """Frames queued while the socket was down come at once, in odd sizes."""
    pcm = bytes(hello.track.pcm)
    assert texts(listen(hello, [pcm[16000:40000], pcm[40000:]]).take()) == TEXT


def test_quiet_noise_in_place_of_speech_is_not_heard(hello: Scene) -> None:
    hiss = np.random.default_rng(1).integers(-8, 9, 80_000).astype(np.int16).tobytes()
    start = bytes(hello.track.pcm[:16000])
    assert listen(hello, frames(start + hiss[16000:])).take() == []


def test_repeating_room_tone_does_not_mislead() -> None:
    track = make_track([("Late.", 25.0, 25.5)], 27.0)
    ten_s = bytes(track.pcm[:320000])
    track.pcm[:800000] = (ten_s * 3)[:800000]
    hearing = listen(Scene(track=track), frames(bytes(track.pcm))[480:])  # from 24 s on
    assert [(w.text, round(w.start_s, 3)) for w in hearing.take()] == [("Late.", 1.0)]


@pytest.mark.parametrize("change", ["24k", "softer", "resampled twice"])
def test_altered_audio_is_still_recognised(hello: Scene, change: str) -> None:
    from livekit import rtc

    pcm = np.frombuffer(bytes(hello.track.pcm), np.int16)
    rate_hz = 16_000
    if change == "softer":
        pcm = (pcm * 0.3).astype(np.int16)
    else:
        for to_hz in (24_000,) if change == "24k" else (24_000, 16_000):
            resampler = rtc.AudioResampler(rate_hz, to_hz, quality=rtc.AudioResamplerQuality.HIGH)
            out = resampler.push(bytearray(pcm.tobytes())) + resampler.flush()
            pcm = np.concatenate([np.frombuffer(f.data, np.int16) for f in out])
            rate_hz = to_hz
    words = listen(hello, frames(pcm.tobytes(), rate_hz=rate_hz), rate_hz).take()
    assert texts(words) == TEXT
    for heard, (_, start_s, _) in zip(words, HELLO, strict=True):
        assert heard.start_s == pytest.approx(start_s, abs=0.01)


def noisy(scene: Scene, snr_db: float, seed: int) -> list[bytes]:
    """The track with white noise added on the way."""
    pcm = np.frombuffer(bytes(scene.track.pcm), np.int16).astype(np.float64)
    loud = pcm[np.abs(pcm) > 100]
    level = np.sqrt(np.mean(loud**2)) / 10 ** (snr_db / 20)
    pcm += np.random.default_rng(seed).standard_normal(len(pcm)) * level
    return frames(np.clip(pcm, -32768, 32767).astype(np.int16).tobytes())


def test_noise_on_the_way_costs_words(hello: Scene) -> None:
    right = {}
    for snr_db in (20, 3, -3):
        heard = [texts(listen(hello, noisy(hello, snr_db, s), seed=s).take()) for s in range(12)]
        right[snr_db] = sum(len(set(h) & set(TEXT)) for h in heard) / 12 / len(TEXT)
    assert right[20] > 0.97
    assert right[20] > right[3] > right[-3]
    assert right[-3] < 0.8


def test_noise_on_the_caller_s_side_counts_too() -> None:
    words = [(f"word{i}", 0.5 + 0.5 * i, 0.8 + 0.5 * i) for i in range(60)]
    wrong = []
    for tone in (8, 6000):
        track = make_track(words, 31.0, tone=tone)
        heard = texts(listen(Scene(track=track), frames(track.pcm)).take())
        wrong.append(60 - len(set(heard) & {w[0] for w in words}))
    assert wrong[0] == 0
    assert 2 <= wrong[1] <= 40


def test_a_draw_depends_on_the_word_not_on_the_way(hello: Scene) -> None:
    acuity = Acuity(clean_error=0.5)
    whole = listen(hello, frames(hello.track.pcm), seed=5, acuity=acuity).take()
    late = listen(hello, frames(hello.track.pcm, 0.08)[6:], seed=5, acuity=acuity).take()
    assert texts(whole) == texts(late)
    assert len(whole) > 0
    assert texts(whole) != TEXT


def test_finish_judges_a_word_cut_short(hello: Scene) -> None:
    hearing = listen(hello, frames(hello.track.pcm)[: round(2.55 / 0.05)])
    assert texts(hearing.take()) == TEXT[:-1]
    hearing.finish()
    assert texts(hearing.take()) == TEXT[-1:]


def test_the_ear_of_the_profile(profiles: dict[str, Profile]) -> None:
    acuity = Acuity.from_profile(profiles["deepgram"])
    assert acuity.error_prob(-acuity.half_lost_db) == pytest.approx(0.5)
    assert acuity.error_prob(40) < 1e-5


@dataclass
class Recording:
    pcm: np.ndarray
    words: list[SpokenWord]


def recordings() -> list[Recording]:
    made = []
    for i, word in enumerate(("First", "Second", "Third")):
        track = make_track([(word, 0.0, 0.4), ("clip.", 0.4, 0.8)], 0.8, tone=1 + i)
        track.pcm[:] = np.roll(np.frombuffer(bytes(track.pcm), np.int16), 50 * i).tobytes()
        made.append(Recording(np.frombuffer(bytes(track.pcm), np.int16), track.words))
    return made


@pytest.mark.parametrize("lead_samples", [0, 777, 16000])
def test_clips_of_outside_clients(lead_samples: int) -> None:
    """Found bit for bit, at any offset, again and again; other sound has no words."""
    clips = recordings()
    pcm = bytes(2 * lead_samples) + clips[1].pcm.tobytes() + bytes(32001 * 2)
    pcm += clips[0].pcm.tobytes() + bytes(32000) + clips[1].pcm.tobytes()
    hearing = listen(Scene(), frames(pcm), find=ClipFinder(lambda: clips))
    words = hearing.take()
    assert texts(words) == ["Second", "clip.", "First", "clip.", "Second", "clip."]
    assert words[0].start_s == pytest.approx(lead_samples / 16000, abs=0.001)
    assert words[1].end_s == pytest.approx(lead_samples / 16000 + 0.8, abs=0.001)
    noise = np.random.default_rng(1).integers(-5000, 5000, 16_000).astype(np.int16)
    assert not listen(Scene(), frames(noise.tobytes()), find=ClipFinder(lambda: clips)).take()
