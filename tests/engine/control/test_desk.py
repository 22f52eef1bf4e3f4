"""The desk: newest wins for what lasts, nothing lost for what fires, fades on a clock of the test's own."""

from __future__ import annotations

import math
import threading

import pytest

from engine.control.desk import CLOCKS_KEPT, EVENT_LIMIT, MOVES_KEPT, Desk
from engine.control.registry import MAX_FADE_S, REGISTRY
from engine.errors import ControlError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(clock=clock)


def test_begins_with_the_defaults_and_shows_only_what_lasts(desk: Desk):
    assert desk.snapshot() == {c.name: c.default for c in REGISTRY if c.continuous}
    assert desk.controls == REGISTRY


def test_newest_wins_and_is_counted(desk: Desk):
    for value in (0.1, 0.9, 0.4):
        assert desk.set("master", value, "osc") == value
    assert desk.set("master", 7, "window") == 1.0
    assert desk.get("master") == desk.snapshot()["master"] == 1.0
    assert desk.counters == {
        "received": 4, "received/osc": 3, "received/window": 1, "clamped": 1, "refused": 0, "events_lost": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "fade_s"),
    [
        ("master", math.nan, None),
        ("master", "half", None),
        ("nowhere", 1.0, None),
        ("master", 0.2, math.inf),
        ("master", 0.2, "slowly"),
        ("preset/go", "unheard-of", None),
    ],
)
def test_what_is_refused_changes_nothing(desk: Desk, name: str, value: object, fade_s: object):
    before = desk.snapshot()
    with pytest.raises(ControlError):
        desk.set(name, value, "osc", fade_s=fade_s)
    assert desk.snapshot() == before
    assert desk.take_triggers() == []
    assert desk.counters["refused"] == 1


def test_events_keep_their_order_and_fire_once(desk: Desk):
    desk.set_options("preset/go", ["ember", "gorge"])
    desk.set("preset/next", None, "osc")
    desk.set("preset/next", 0.0, "osc")  # the button is let go
    desk.set("preset/go", 2.0, "osc", fade_s=4)
    desk.set("preset/go", "gorge", "window")
    fired = [(event.name, event.value, event.fade_s, event.origin) for event in desk.take_triggers()]
    assert fired == [
        ("preset/next", True, None, "osc"),
        ("preset/go", "gorge", 4.0, "osc"),
        ("preset/go", "gorge", None, "window"),
    ]
    assert desk.take_triggers() == []
    assert desk.get("preset/go") == "gorge"
    assert desk.options("preset/go") == ("ember", "gorge")
    assert "preset/go" not in desk.snapshot()


def test_show_states_a_choice_without_firing_it(desk: Desk):
    desk.show("preset/go", "ember")
    assert desk.get("preset/go") == "ember"
    assert desk.take_triggers() == []


def test_what_is_shown_as_it_stands_leaves_it_to_its_mover(desk: Desk, clock: Clock):
    desk.set_options("preset/go", ["ember", "gorge"])
    desk.set("preset/go", "ember", "osc:10.0.0.3:9000")
    desk.show("preset/go", "ember")
    assert desk.mover("preset/go") == "osc:10.0.0.3:9000"
    desk.show("preset/go", "gorge")
    assert desk.mover("preset/go") == "stage"
    desk.set("crossfader", 0.0, "window", fade_s=4.0)
    desk.show("crossfader", 1.0)
    clock.now += 2.0
    assert (desk.get("crossfader"), desk.mover("crossfader")) == (1.0, "stage"), "but a fade ends"


def test_what_is_shown_is_within_the_range(desk: Desk):
    desk.show("tempo/bpm", 400.0)
    assert desk.get("tempo/bpm") == 240.0


def test_events_that_nobody_takes_are_bounded_and_counted(desk: Desk):
    for _ in range(EVENT_LIMIT + 3):
        desk.set("preset/next", 1, "osc")
    assert len(desk.take_triggers()) == EVENT_LIMIT
    assert desk.counters["events_lost"] == 3


def test_a_fade_is_a_straight_line(desk: Desk, clock: Clock):
    desk.set("master", 0.0, "osc", fade_s=4.0)
    seen = []
    for _ in range(6):
        seen.append(desk.get("master"))
        clock.now += 1.0
    assert seen == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_a_second_fade_begins_where_the_first_has_come_to(desk: Desk, clock: Clock):
    desk.set("sound/gain", 20.0, "osc", fade_s=2.0)
    clock.now += 1.0
    desk.set("sound/gain", 0.0, "osc", fade_s=10.0)
    assert desk.get("sound/gain") == pytest.approx(10.0)
    clock.now += 5.0
    assert desk.snapshot()["sound/gain"] == pytest.approx(5.0)


def test_a_hand_on_the_fader_ends_a_fade(desk: Desk, clock: Clock):
    desk.set("master", 0.0, "osc", fade_s=4.0)
    clock.now += 1.0
    desk.set("master", 0.9, "window")
    clock.now += 10.0
    assert desk.get("master") == 0.9


def test_fades_are_bounded_and_mean_nothing_to_a_switch(desk: Desk, clock: Clock):
    desk.set("master", 0.0, "osc", fade_s=1e9)
    clock.now += MAX_FADE_S
    assert desk.get("master") == 0.0
    desk.set("master", 1.0, "osc", fade_s=-3.0)
    assert desk.get("master") == 1.0
    desk.set("blackout", True, "osc", fade_s=5.0)
    assert desk.get("blackout") is True


def test_panic_puts_everything_back_and_tells_the_stage(desk: Desk, clock: Clock):
    desk.set("blackout", 1, "osc")
    desk.set("speed", 4.0, "osc", fade_s=10.0)
    clock.now += 1.0
    desk.set("record", True, "osc")
    desk.set("panic", 1, "osc")
    clock.now += 60.0
    assert desk.snapshot() == {c.name: c.default for c in REGISTRY if c.continuous} | {"record": True}, (
        "whoever wants the picture back does not want its film to end"
    )
    assert [event.name for event in desk.take_triggers()] == ["panic"]
    desk.set("speed", 2.0, "osc")
    desk.set("panic", 0, "osc")
    assert desk.get("speed") == 2.0, "letting the button go is no panic"


def test_panic_brings_the_picture_back_and_leaves_what_was_set_for_the_room(desk: Desk):
    lost = {"blackout": 1, "master": 0, "freeze": 1, "testcard": 1, "crossfader": 0, "speed": 0, "look/contrast": 0}
    kept = {"sound/gain": 12.0, "preset/lock": True, "record": True}
    kept |= {"sound/gate": -40.0, "sound/channel": 3.0, "latency/offset": 120.0, "flash/limit": False}
    for name, value in (lost | kept).items():
        desk.set(name, value, "osc")
    desk.set("look/mirror", "kaleidoscope", "osc")
    desk.set("panic", 1, "osc")
    assert {c.name for c in REGISTRY if c.scope == "room"} <= set(kept)
    assert desk.snapshot() == {c.name: c.default for c in REGISTRY if c.continuous} | kept
    assert desk.get("look/mirror") == "off"


def test_changes_since_tells_what_moved_and_fades_too(desk: Desk, clock: Clock):
    serial, everything = desk.changes_since(0)
    assert set(everything) == {c.name for c in REGISTRY}
    assert desk.changes_since(serial) == (serial, {})
    desk.set("master", 1.0, "osc")  # where it stands already
    desk.set("freeze", True, "osc")
    desk.set("speed", 3.0, "osc", fade_s=2.0)
    serial, changed = desk.changes_since(serial)
    assert changed == {"freeze": True}
    clock.now += 1.0
    serial, changed = desk.changes_since(serial)
    assert changed == {"speed": pytest.approx(2.0)}
    clock.now += 5.0
    serial, changed = desk.changes_since(serial)
    assert changed == {"speed": 3.0}
    clock.now += 5.0
    assert desk.changes_since(serial) == (serial, {})


def test_together_is_one_change_to_a_reader(desk: Desk):
    inside, read = threading.Event(), []
    reader = threading.Thread(target=lambda: (inside.wait(10), read.append(desk.snapshot())))
    reader.start()
    with desk.together():
        desk.set("gain/coarse", 2.0, "osc")
        inside.set()
        reader.join(0.05)  # time to read a half-made change, if that were possible
        desk.set("gain/fine", 2.0, "osc")
    reader.join(10)
    assert (read[0]["gain/coarse"], read[0]["gain/fine"]) == (2.0, 2.0)


def test_many_threads_lose_no_event_and_tear_no_value(desk: Desk):
    writers, each = 4, 300
    taken = []

    def write(number: int) -> None:
        for count in range(each):
            with desk.together():
                desk.set("gain/coarse", number / 2, "osc")
                desk.set("gain/fine", number / 2, "osc")
            desk.set("preset/next", None, f"{number}:{count}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen = desk.snapshot()
        assert seen["gain/coarse"] == seen["gain/fine"]
        taken += desk.take_triggers()
    taken += desk.take_triggers()
    for number in range(writers):
        mine = [event.origin for event in taken if event.origin.startswith(f"{number}:")]
        assert mine == [f"{number}:{count}" for count in range(each)]
    assert desk.counters["received"] == writers * each * 3


def test_what_came_from_outside_is_remembered_whether_taken_or_not():
    desk = Desk()
    desk.set("master", 0.25, origin="osc:10.0.0.3:9000")
    desk.set("master", 0.5, origin="window")
    desk.set("blackout", 1, origin="midi:note:0:36")
    with pytest.raises(ControlError):
        desk.set("master", "loud", origin="osc:10.0.0.3:9000")
    told = [(move.origin.partition(":")[0], move.name, move.value) for move in desk.moves]
    assert told == [("osc", "master", 0.25), ("midi", "blackout", True), ("osc", "master", "loud")]
    assert [bool(move.refused) for move in desk.moves] == [False, False, True]
    for number in range(1000):
        desk.set("speed", number, origin="osc:10.0.0.3:9000")
    assert len(desk.moves) == MOVES_KEPT


def test_only_so_many_clocks_are_remembered_and_the_newest_stamp_counts(desk: Desk):
    for number in range(CLOCKS_KEPT + 5):
        desk.compare_clock(f"10.0.0.{number}", 0.5)
    desk.compare_clock("10.0.0.1", -0.25)
    assert len(desk.clock_offsets) == CLOCKS_KEPT
    assert desk.clock_offsets["10.0.0.1"] == -0.25
