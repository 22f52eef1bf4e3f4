"""The microphone against a driver that does what drivers do: odd blocks, flags, sudden ends, silence, hanging."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from fake_driver import Driver, Watch

from engine.audio import deadline, microphone
from engine.audio.devices import Away, InputDevice, find_again
from engine.audio.loopback import Monitor
from engine.audio.microphone import Capture, Microphone
from engine.audio.sources import SourceState
from engine.errors import AudioError

RATE = 16_000


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    fake = Driver()
    device = InputDevice(3, "Field recorder", "ALSA", 32, RATE, is_default=True)
    fake.devices = [device]
    monkeypatch.setattr(microphone, "portaudio", lambda: fake)
    monkeypatch.setattr(microphone, "find_input", lambda name: device)
    monkeypatch.setattr(microphone, "find_again", lambda name: find_again(name, fake.devices))
    monkeypatch.setattr(microphone, "Route", lambda: Watch(fake))
    monkeypatch.setattr(microphone, "BACK_OFF_S", (0.01, 0.05))
    monkeypatch.setattr(microphone, "CLOSE_DEADLINE_S", 0.2)
    monkeypatch.setattr(microphone, "BEAT_S", 0.01)
    monkeypatch.setattr(microphone, "_open_streams", 0)
    yield fake
    fake.thaw.set()
    until(lambda: not any(thread.name.startswith("microphone") for thread in threading.enumerate()))


@pytest.fixture
def playing(driver: Driver) -> Iterator[Microphone]:
    source = Microphone("recorder")
    source.start()
    yield source
    source.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_it_opens_the_device_as_it_is(driver: Driver, playing: Microphone) -> None:
    settings = driver.streams[0].settings
    assert (settings["device"], settings["samplerate"], settings["channels"]) == (3, RATE, 2)
    assert (settings["blocksize"], settings["latency"], settings["dtype"]) == (0, "low", "float32")
    assert (playing.name, playing.sample_rate, playing.channels) == ("Field recorder", RATE, 2)
    assert (playing.state, playing.error, playing.latency_s) == (SourceState.RUNNING, None, 0.01)


def test_what_the_driver_gives_is_read_once_and_in_order(driver: Driver, playing: Microphone) -> None:
    draw = np.random.default_rng(0)
    sound = draw.standard_normal((5_000, 2)).astype(np.float32)
    read, position = [playing.read().samples], 0
    for size in (1, 104, 7, 0, 512, 3, 2_000):
        driver.streams[0].settings["callback"](sound[position : position + size], size, None, 0)
        position += size
        if size % 2:
            read.append(playing.read().samples)
    read.append(playing.read().samples)
    np.testing.assert_allclose(np.concatenate(read), sound[:position].mean(axis=1))
    assert (playing.frames, playing.gaps, playing.silent_fraction) == (position, 0, 0)


def test_a_block_is_as_old_as_its_callback(driver: Driver, playing: Microphone) -> None:
    before = time.perf_counter()
    driver.streams[0].feed()
    after = time.perf_counter()
    assert before <= playing.read().captured_at <= after


def test_the_buffer_is_copied(driver: Driver, playing: Microphone) -> None:
    buffer = np.ones((64, 2), np.float32)
    driver.streams[0].settings["callback"](buffer, 64, None, 0)
    buffer[:] = 9
    assert (playing.read().samples == 1).all()


def test_overflows_and_late_reads_are_gaps(driver: Driver, playing: Microphone) -> None:
    sounddevice = pytest.importorskip("sounddevice", exc_type=OSError)
    callback = driver.streams[0].settings["callback"]
    block = np.full((RATE, 2), 0.1, np.float32)
    callback(block, RATE, None, sounddevice.CallbackFlags())
    assert playing.gaps == 0
    callback(block[:10], 10, None, sounddevice.CallbackFlags(0x2))
    assert playing.gaps == 1
    assert len(playing.read().samples) == RATE  # the newest second; ten frames were too old
    assert playing.gaps == 2


def test_broken_samples_pass_without_a_word(driver: Driver, playing: Microphone) -> None:
    driver.streams[0].feed(float("nan"))
    assert np.isnan(playing.read().samples).all()  # mel and features count them as silence
    assert playing.state is SourceState.RUNNING


def test_exact_zeros_are_silence(driver: Driver, playing: Microphone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "SILENT_S", 0.05)
    until(lambda: (driver.streams[0].feed(0.0), playing.read(), playing.state)[-1] is SourceState.SILENT)
    assert playing.silent_fraction == 1
    driver.streams[0].feed(1e-4)
    playing.read()
    assert playing.state is SourceState.RUNNING
    assert 0 < playing.silent_fraction < 1
    assert playing.gaps == 0


def test_what_is_wrong_is_said_as_long_as_it_is(
    driver: Driver, playing: Microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "SILENT_S", 0.05)
    until(lambda: (driver.streams[0].feed(0.0), playing.read(), playing.state)[-1] is SourceState.SILENT)
    assert "'Field recorder' gives nothing but zeros: is it muted" in (playing.error or "")
    driver.streams[0].feed()
    playing.read()
    assert playing.error is None
    monkeypatch.setattr(microphone, "STALL_S", 0.02)
    monkeypatch.setattr(microphone, "SILENT_S", 60.0)
    until(lambda: playing.state is SourceState.STALLED)
    assert "'Field recorder' gives nothing: is it suspended" in (playing.error or "")


def test_another_device_does_not_take_the_place_of_one_that_went_away(driver: Driver, playing: Microphone) -> None:
    driver.streams[0].feed()
    other = InputDevice(0, "Laptop microphone", "ALSA", 2, RATE, is_default=True)
    driver.devices = [other]
    driver.streams[0].end()
    assert "when this began" not in (playing.error or "")
    until(lambda: "there is no input device" in (playing.error or ""))
    assert (playing.error or "").startswith("the microphone 'Field recorder' is gone")
    assert (len(driver.streams), playing.state, playing.name) == (1, SourceState.LOST, "Field recorder")
    driver.devices = [other, InputDevice(7, "Field recorder", "ALSA", 2, RATE, is_default=False)]
    until(lambda: len(driver.streams) == 2)
    assert driver.streams[1].settings["device"] == 7


def test_what_the_sound_server_puts_in_the_place_of_a_device_that_was_asked_for_is_not_heard(driver: Driver) -> None:
    driver.fed_by = "usb.field"
    source = Microphone("recorder")
    source.start()
    driver.streams[0].feed()
    assert source.state is SourceState.RUNNING
    driver.fed_by = "pci.laptop"
    until(lambda: "'pci.laptop' in its place" in (source.error or ""))
    assert source.state is SourceState.LOST
    until(lambda: len(driver.streams) >= 3)
    source.read()
    driver.streams[-1].feed()
    assert not source.read().samples.any()
    driver.fed_by = "usb.field"
    until(lambda: (driver.streams[-1].feed(), source.state)[-1] is SourceState.RUNNING)
    source.stop()


def test_only_the_source_that_was_asked_for_is_what_an_output_plays(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PipeWire opens a source that is not there, with another one's sound."""
    played = InputDevice(3, "System sound: Mixer", "PulseAudio", 2, RATE, is_default=False, source="mixer.monitor")
    monkeypatch.setattr(microphone, "find_input", lambda name: played)
    monkeypatch.setattr(microphone, "record_from", lambda source: None)
    driver.fed_by = "laptop.monitor"
    with pytest.raises(AudioError, match=r"cannot open 'System sound: Mixer'.*'laptop.monitor' in its place"):
        Microphone("system").start()


def test_what_the_computer_plays_is_followed_to_another_output(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = ["Mixer", "Phones"]

    def played(name: str | None) -> InputDevice:
        output = outputs[0]
        return InputDevice(
            3, f"System sound: {output}", "PulseAudio", 2, RATE, is_default=False, source=f"{output}.monitor"
        )

    def record(source: str | None) -> None:
        driver.fed_by = source

    monkeypatch.setattr(microphone, "find_input", played)
    monkeypatch.setattr(microphone, "record_from", record)
    monkeypatch.setattr(
        microphone, "monitors", lambda: [Monitor(f"{output}.monitor", output, 2, RATE) for output in outputs]
    )
    source = Microphone(" System")
    source.start()
    driver.streams[0].feed()
    assert (source.name, source.state) == ("System sound: Mixer", SourceState.RUNNING)
    outputs.reverse()
    until(lambda: len(driver.streams) == 2)
    assert source.state is SourceState.MOVED
    assert "is followed there" in (source.error or "")
    driver.streams[1].feed(0.3)
    assert (source.name, source.state) == ("System sound: Phones", SourceState.RUNNING)
    assert source.read().samples == pytest.approx(np.full(160, 0.3))
    driver.fed_by = "Mixer.monitor"  # the output has gone, and the stream was put elsewhere
    outputs.reverse()
    until(lambda: len(driver.streams) == 3)
    driver.streams[2].feed()
    assert (source.name, source.error) == ("System sound: Mixer", None)
    source.stop()


def test_what_it_puts_in_the_place_of_the_default_is_heard_and_told(driver: Driver) -> None:
    driver.fed_by = "usb.field"
    source = Microphone()
    source.start()
    driver.fed_by = "pci.laptop"
    until(lambda: (driver.streams[0].feed(), source.state)[-1] is SourceState.MOVED)
    assert source.error == "the microphone 'usb.field' is gone; the sound server gives 'pci.laptop' in its place"
    assert source.read().samples.any()
    driver.fed_by = "usb.field"
    until(lambda: source.state is SourceState.RUNNING)
    assert len(driver.streams) == 1
    source.stop()


def test_a_stream_that_was_opened_again_is_not_trusted_before_it_is_heard(driver: Driver, playing: Microphone) -> None:
    driver.streams[0].feed()
    driver.streams[0].end()
    until(lambda: len(driver.streams) == 2)
    time.sleep(0.05)
    assert playing.state is SourceState.LOST
    assert playing.reopened == 0
    driver.streams[1].feed()
    assert playing.state is SourceState.RUNNING
    until(lambda: playing.reopened == 1)


def test_a_microphone_that_was_heard_before_is_waited_for(driver: Driver) -> None:
    there, driver.devices = driver.devices, []
    source = Microphone(heard={"device": "Field recorder", "sample_rate": RATE, "channels": 2})
    source.start()
    assert (source.state, source.name, source.sample_rate, source.channels) == (
        SourceState.LOST, "Field recorder", RATE, 2,
    )  # fmt: skip
    until(lambda: "there is no input device" in (source.error or ""))
    source.read()
    time.sleep(0.01)
    assert len(source.read().samples) > 0, "silence at the true speed"
    driver.devices = there
    until(lambda: len(driver.streams) == 1)
    driver.streams[0].feed(0.3)
    assert source.read().samples == pytest.approx(np.full(160, 0.3))
    assert source.error is None
    source.stop()


def test_a_device_that_goes_away_comes_back_by_itself(driver: Driver, playing: Microphone) -> None:
    driver.streams[0].feed()
    playing.read()
    driver.refuses = True
    driver.streams[0].end()
    until(lambda: "Device unavailable" in (playing.error or ""))
    assert playing.state is SourceState.LOST
    assert "\n" not in (playing.error or "")
    playing.read()
    time.sleep(0.02)
    quiet = playing.read()
    assert len(quiet.samples) >= 0.02 * RATE * 0.9
    assert not quiet.samples.any()
    assert playing.gaps == 1
    driver.refuses = False
    until(lambda: len(driver.streams) == 2 and playing._capture is not None)
    assert driver.initialised > 1
    driver.streams[0].feed(0.9)  # a late word of the old stream
    driver.streams[1].feed(0.2)
    assert playing.read().samples == pytest.approx(np.full(160, 0.2))
    until(lambda: playing.reopened == 1)
    assert playing.error is None


def test_a_stream_that_ended_keeps_no_sound(driver: Driver, playing: Microphone) -> None:
    """A stream of sounddevice is there until all garbage is collected: the driver here keeps it for good."""
    first = driver.streams[0]
    first.feed()
    capture = weakref.ref(playing._capture)
    first.end()
    until(lambda: len(driver.streams) == 2)
    driver.streams[1].feed()
    until(lambda: playing.reopened == 1)
    playing.read()
    assert capture() is None
    first.feed()  # a stream that was left behind, say


@pytest.mark.parametrize(
    ("fed_by", "away", "every"),
    [(None, None, 2), ("usb", None, microphone.SERVED), ("usb", AudioError(), 2), ("usb", Away(), microphone.SERVED)],
)
def test_what_a_sound_server_gives_is_seldom_looked_for_in_a_new_list(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, fed_by: str | None, away: AudioError | None, every: int
) -> None:
    """PortAudio keeps a little memory with every list."""
    driver.fed_by = fed_by
    source = Microphone("recorder")
    source.start()
    driver.streams[0].feed()
    looked = 0

    def look(name: str) -> InputDevice:
        nonlocal looked
        looked += 1
        if away is not None:
            raise away
        return find_again(name, driver.devices)

    monkeypatch.setattr(microphone, "find_again", look)
    driver.refuses = True
    driver.streams[0].end()
    until(lambda: looked >= 15)
    source.stop()
    assert driver.initialised - 1 == looked // every


def test_a_stream_that_stalls_reads_as_silence_and_is_opened_again(
    driver: Driver, playing: Microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "STALL_S", 0.15)
    driver.streams[0].feed()
    playing.read()
    until(lambda: playing.state is SourceState.STALLED)
    quiet = playing.read()
    assert len(quiet.samples) > 0.1 * RATE
    assert not quiet.samples.any()
    assert playing.gaps == 1
    assert len(driver.streams) == 1
    monkeypatch.setattr(microphone, "REOPEN_S", 0.3)
    until(lambda: len(driver.streams) == 2)
    assert driver.streams[0].closed
    until(lambda: len(driver.streams) == 4)
    assert playing.state is SourceState.STALLED, "a suspended device opens, and still gives nothing"


def test_a_slow_start_is_no_stall(driver: Driver) -> None:
    capture = Capture(RATE, 1, lambda: 50.0)
    assert not capture.stalled(52.0)
    assert capture.stalled(50.0 + microphone.REOPEN_S + 0.1)
    capture.callback(np.zeros((160, 1), np.float32), 160, None, 0)
    assert not capture.stalled(50.4)
    assert capture.stalled(50.6)
    capture.callback(np.zeros((8_000, 1), np.float32), 8_000, None, 0)  # half-second blocks come each half second
    assert not capture.stalled(52.0)


def test_stop_is_bounded_when_the_driver_hangs_and_the_stream_is_left_behind(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "_left_behind", [])
    monkeypatch.setattr(deadline, "atexit", SimpleNamespace(unregister=lambda function: None))
    source = Microphone()
    source.start()
    driver.thaw.clear()
    source.stop()
    assert not driver.streams[0].closed
    assert deadline._left_behind == [driver.streams[0]]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "microphone-close")
    source.start()  # a new stream beside the dead one, and PortAudio is not initialised under it
    driver.streams[1].feed(0.3)
    assert source.read().samples == pytest.approx(np.full(160, 0.3))
    assert driver.initialised == 1
    driver.thaw.set()
    source.stop()
    until(lambda: driver.streams[0].closed and driver.streams[1].closed)


def test_a_device_that_cannot_be_opened_is_an_error_and_leaves_nothing(driver: Driver) -> None:
    driver.refuses = True
    source = Microphone()
    for _ in range(2):
        with pytest.raises(AudioError, match=r"Field recorder.*Device unavailable") as raised:
            source.start()
        assert "\n" not in str(raised.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "microphone"]
    assert len(source.read().samples) == 0
    source.stop()


def test_an_unknown_device_is_an_error_at_once(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str | None) -> InputDevice:
        raise AudioError(f"no input device has {name!r} in its name; there are: Field recorder")

    monkeypatch.setattr(microphone, "find_input", refuse)
    with pytest.raises(AudioError, match=r"'Nokia'.*Field recorder"):
        Microphone("Nokia")


def test_a_sound_system_that_does_not_answer_is_an_error(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    thaw = threading.Event()

    def hang(name: str | None) -> InputDevice:
        thaw.wait(30)
        raise AudioError("too late")

    monkeypatch.setattr(deadline, "_left_behind", [])
    monkeypatch.setattr(deadline, "atexit", SimpleNamespace(unregister=lambda function: None))
    monkeypatch.setattr(deadline, "OPEN_DEADLINE_S", 0.1)
    monkeypatch.setattr(microphone, "find_input", hang)
    with pytest.raises(AudioError, match="does not answer"):
        Microphone()
    thaw.set()


def test_start_and_stop_may_be_repeated(driver: Driver) -> None:
    source = Microphone()
    for round_ in range(3):
        source.start()
        source.start()
        assert len(driver.streams) == round_ + 1
        driver.streams[-1].feed()
        assert len(source.read().samples) == 160
        source.stop()
        source.stop()
        assert driver.streams[-1].closed
    assert (source.frames, source.gaps) == (480, 0)
