"""A TouchOSC layout of the registry: faders, switches, buttons and numbered preset pads on one page.

A `.tosc` file is one XML document, compressed by zlib, with the elements of TouchOSC's format version 3. Connections
are no part of a layout: the surface uses its first one.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable
from xml.etree import ElementTree as xml  # writes only; nothing is ever parsed here

from engine.control.reference import title
from engine.control.registry import REGISTRY, Control

__all__ = ["as_touchosc"]

WIDTH, HEIGHT = 1024, 768
GAP, LABEL = 6, 22
ACROSS = 12  # faders in a row
PADS = 16
FADER, BUTTON = 120, 36
COLOURS = {"stage": "0.90 0.35 0.25", "engine": "0.95 0.65 0.25", "look": "0.45 0.70 0.75", "room": "0.55 0.60 0.65"}
_MOMENTARY, _TOGGLE = 0, 2
_IDS = uuid.UUID("5a7e1f0e-3f6c-4d0b-9c57-2d6f9e0c9123")

Frame = tuple[float, float, float, float]


def as_touchosc(controls: Iterable[Control] = REGISTRY) -> bytes:
    """The layout file. The same registry gives the same bytes."""
    controls = tuple(controls)
    root = _node("GROUP", "cymatic", (0, 0, WIDTH, HEIGHT), "0 0 0")
    children = xml.SubElement(root, "children")
    floats = [control for control in controls if control.kind == "float"]
    top = float(GAP)
    for start in range(0, len(floats), ACROSS):
        for place, control in enumerate(floats[start : start + ACROSS]):
            _place(children, control, _cell(place, ACROSS, top, FADER))
        top += LABEL + FADER + GAP
    for kind in ("bool", "trigger"):
        row = [control for control in controls if control.kind == kind]
        for place, control in enumerate(row):
            _place(children, control, _cell(place, max(len(row), 1), top, BUTTON))
        top += LABEL + BUTTON + GAP
    for control in controls:
        if control.kind == "choice":
            options = control.options or tuple(str(number) for number in range(1, PADS + 1))
            for place, option in enumerate(options):
                _pad(children, control, option, _cell(place, len(options), top, BUTTON))
            top += LABEL + BUTTON + GAP
    document = xml.Element("lexml", version="3")
    document.append(root)
    return zlib.compress(xml.tostring(document, encoding="UTF-8", xml_declaration=True), 9)


def _cell(place: int, across: int, top: float, height: float) -> Frame:
    width = (WIDTH - GAP) / across
    return GAP + place * width, top + LABEL, width - GAP, height


def _place(parent: xml.Element, control: Control, frame: Frame) -> None:
    colour = COLOURS[control.scope]
    _label(parent, control.name, title(control), frame)
    if control.kind == "float":
        node = _node("FADER", control.name, frame, colour)
        _values(node, x=f"{control.fraction(float(control.default)):g}", touch="false")
        _osc(node, control.address(), "ANY", control.minimum, control.maximum)
    else:
        toggle = control.kind == "bool"
        node = _node("BUTTON", control.name, frame, colour, buttonType=_TOGGLE if toggle else _MOMENTARY)
        _values(node, x=str(int(bool(control.default))), touch="false")
        _osc(node, control.address(), "ANY" if toggle else "RISE", 0.0, 1.0)
    parent.append(node)


def _pad(parent: xml.Element, control: Control, option: str, frame: Frame) -> None:
    name = f"{control.name}/{option}"
    _label(parent, name, option if control.name == "preset/go" else f"{title(control)} {option}", frame)
    node = _node("BUTTON", name, frame, COLOURS["engine"], buttonType=_MOMENTARY)
    _values(node, x="0", touch="false")
    _osc(node, f"{control.address()}/{option}", "RISE", 0.0, 1.0)
    parent.append(node)


def _label(parent: xml.Element, name: str, words: str, frame: Frame) -> None:
    x, y, width, _ = frame
    node = _node("LABEL", f"{name} label", (x, y - LABEL, width, LABEL), "0 0 0", textSize=12)
    _values(node, text=words, touch="false")
    parent.append(node)


def _node(kind: str, name: str, frame: Frame, colour: str, **integers: int) -> xml.Element:
    node = xml.Element("node", ID=str(uuid.uuid5(_IDS, f"{kind} {name}")), type=kind)
    properties = xml.SubElement(node, "properties")
    _property(properties, "s", "name").text = name
    room = _property(properties, "r", "frame")
    for key, number in zip("xywh", frame, strict=True):
        xml.SubElement(room, key).text = f"{number:g}"
    for name, parts in (("color", colour), ("textColor", "1 1 1")):
        paint = _property(properties, "c", name)
        for key, part in zip("rgba", (*parts.split(), "1"), strict=True):
            xml.SubElement(paint, key).text = part
    _property(properties, "b", "background").text = "1"
    for key, integer in integers.items():
        _property(properties, "i", key).text = str(integer)
    return node


def _property(parent: xml.Element, kind: str, key: str) -> xml.Element:
    """Add a property; the element that takes its value."""
    element = xml.SubElement(parent, "property", type=kind)
    xml.SubElement(element, "key").text = key
    return xml.SubElement(element, "value")


def _values(node: xml.Element, **defaults: str) -> None:
    values = xml.SubElement(node, "values")
    for key, default in defaults.items():
        value = xml.SubElement(values, "value")
        for name, text in (
            ("key", key), ("locked", "0"), ("lockedDefaultCurrent", "0"), ("default", default), ("defaultPull", "0"),
        ):  # fmt: skip
            xml.SubElement(value, name).text = text


def _osc(node: xml.Element, address: str, condition: str, low: float, high: float) -> None:
    """One message, sent and received: the value `x` 0..1 stretched over the control's range."""
    osc = xml.SubElement(xml.SubElement(node, "messages"), "osc")
    for name, text in (
        ("enabled", "1"), ("send", "1"), ("receive", "1"), ("feedback", "0"), ("connections", "00001"),
    ):  # fmt: skip
        xml.SubElement(osc, name).text = text
    trigger = xml.SubElement(xml.SubElement(osc, "triggers"), "trigger")
    xml.SubElement(trigger, "var").text = "x"
    xml.SubElement(trigger, "condition").text = condition
    _partial(xml.SubElement(osc, "path"), "CONSTANT", "STRING", address, 0.0, 1.0)
    _partial(xml.SubElement(osc, "arguments"), "VALUE", "FLOAT", "x", low, high)


def _partial(parent: xml.Element, kind: str, conversion: str, value: str, low: float, high: float) -> None:
    partial = xml.SubElement(parent, "partial")
    scale = (("scaleMin", f"{low:g}"), ("scaleMax", f"{high:g}"))
    for name, text in (("type", kind), ("conversion", conversion), ("value", value), *scale):
        xml.SubElement(partial, name).text = text
