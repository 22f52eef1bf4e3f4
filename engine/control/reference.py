"""The controls as people and other programs read them: a page of Markdown or HTML, and JSON for Max and Live.

All of it is made of the registry, so that no list of addresses is kept by hand anywhere.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from engine.control.osc import DEFAULT_PORT, METHODS, STATUS, STATUS_KEYS
from engine.control.registry import REGISTRY, Control

__all__ = ["as_html", "as_json", "as_markdown", "takes", "title"]

INTRODUCTION = (
    f"OSC arrives on port {DEFAULT_PORT}, by UDP or by TCP (SLIP, OSC 1.1), from this machine only unless "
    "`--osc-host 0.0.0.0` opens the port to the network; `--osc-allow ADDRESS` then says who is listened to. "
    "OSC knows no passwords.",
    "A value is in the control's own unit. Numbers may be integers or floats; one out of range is clamped. A second "
    "number is the seconds to fade. A button fires above 0.5, so its release does nothing. A choice takes a name or a "
    'position from 1, or one address an option: `/cymatic/preset/go/3 1`. `"?"` as the value asks for the present '
    "one. An address means only itself: there are no patterns.",
    "The newest value wins: however many come between two pictures, the next one shows the last. Triggers all count. "
    "A bundle is applied at once and whole, whatever its time tag says; over UDP the network may lose a message, over "
    "TCP none is lost. What cannot be used changes nothing and is answered with `/cymatic/error`.",
    "OSCQuery answers on the next port (`--oscquery-port` names another): every control with its range, description "
    "and value as JSON over HTTP, so that a surface can build itself. With `--advertise`, and whenever the port is "
    "open to the network, zeroconf tells where (`_oscjson._tcp`, `_osc._udp`); that needs the extra `oscquery`.",
    "`--midi` listens to a MIDI controller, by a part of its name, with the extra `midi`: fire `midi/learn` (the key "
    "M), touch a control, turn a knob or press a pad. What is learned is kept.",
    "The beat comes from Ableton Link (`--link`), MIDI clock, taps or what is heard: see [tempo.md](tempo.md).",
)
EXAMPLES = """\
```sh
oscsend localhost 9123 /cymatic/master f 0.5          # liblo
oscsend localhost 9123 /cymatic/preset/go sf ember 4  # in four seconds
curl -s localhost:9124/cymatic/master                 # OSCQuery
```

Pure Data: `[oscformat cymatic master]` → `[list prepend send]` → `[list trim]` → `[netsend -u -b]`.
SuperCollider: `NetAddr("localhost", 9123).sendMsg("/cymatic/master", 0.5)`.
TouchOSC: `cymatic osc-map --format touchosc --out cymatic.tosc`, and a connection to port 9123 of this machine."""


def title(control: Control) -> str:
    """The name as words: "sound/weight" reads "Sound weight"."""
    return control.name.replace("/", " ").replace("_", " ").capitalize()


def takes(control: Control) -> str:
    """What may be sent, in a few words."""
    if control.kind == "float":
        numbers = "whole numbers " if control.step else ""
        return f"{numbers}{control.minimum:g}..{control.maximum:g} {control.unit}".strip()
    if control.kind == "choice":
        return ", ".join(control.options) or "a name, or a position from 1"
    return {"bool": "0 or 1", "trigger": "1", "text": "a text"}[control.kind]


def stands_at(control: Control) -> str:
    """The default, as it is printed."""
    if control.kind == "float":
        return f"{control.default:g}"
    if control.kind == "bool":
        return str(int(bool(control.default)))
    return str(control.default or "") if control.kind == "choice" else ""


def as_markdown(controls: Iterable[Control] = REGISTRY) -> str:
    """The reference, one page."""
    return "\n".join(_markdown(tuple(controls)))


def _markdown(controls: tuple[Control, ...]) -> Iterator[str]:
    yield "# Control by OSC\n"
    yield "This page is printed by `cymatic osc-map`; `cymatic live` obeys exactly this.\n"
    yield from (f"{paragraph}\n" for paragraph in INTRODUCTION)
    yield EXAMPLES
    yield "\n## Controls\n"
    yield "| address | takes | default | does |"
    yield "|---|---|---|---|"
    for control in controls:
        yield f"| `{control.address()}` | {takes(control)} | {stands_at(control)} | {control.description} |"
    yield "\n## Questions\n"
    yield "Answers go to the port that asked, or to the one that was subscribed with.\n"
    yield "| address | takes | does |"
    yield "|---|---|---|"
    yield from (f"| `{address}` | {wants} | {does} |" for address, (wants, does) in METHODS.items())
    yield "\n## Status\n"
    yield "Sent to those who subscribed when it has changed, ten times a second at most.\n"
    yield "| address | is |"
    yield "|---|---|"
    yield from (f"| `{STATUS}{key}` | {means} |" for key, means in STATUS_KEYS.items())
    yield ""


def as_html(controls: Iterable[Control] = REGISTRY) -> str:
    """The controls as one page without scripts or anything to fetch, to print and lay beside the desk."""
    rows = "\n".join(
        f"<tr><td><code>{html.escape(c.address())}</code></td><td>{html.escape(takes(c))}</td>"
        f"<td>{html.escape(stands_at(c))}</td><td>{html.escape(c.description)}</td></tr>"
        for c in controls
    )
    plain = (re.sub(r"`|\[([^]]+)\]\([^)]*\)", r"\1", text) for text in INTRODUCTION)
    paragraphs = "\n".join(f"<p>{html.escape(text)}</p>" for text in plain)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>cymatic: control by OSC</title>
<style>
body {{ font: 11pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; vertical-align: top; padding: .25em .75em .25em 0; border-bottom: 1px solid #ccc }}
td:first-child {{ white-space: nowrap }}
</style>
<h1>cymatic: control by OSC</h1>
{paragraphs}
<table>
<tr><th>address<th>takes<th>default<th>does</tr>
{rows}
</table>
</html>
"""


def as_json(controls: Iterable[Control] = REGISTRY) -> str:
    """The controls for programs. `live` are the attributes of a Max for Live parameter of the same behaviour."""
    rows = [
        {
            "name": control.name,
            "address": control.address(),
            "kind": control.kind,
            "unit": control.unit,
            "default": control.default,
            "minimum": control.minimum if control.kind == "float" else None,
            "maximum": control.maximum if control.kind == "float" else None,
            "step": control.step or None,
            "curve": control.curve,
            "options": list(control.options),
            "description": control.description,
            "live": _live(control),
        }
        for control in controls
    ]
    return json.dumps({"name": "cymatic", "port": DEFAULT_PORT, "controls": rows}, indent=1, ensure_ascii=False) + "\n"


_UNIT_STYLES = {"dB": 4, "ms": 2}


def _live(control: Control) -> dict[str, Any] | None:
    """`saved_attribute_attributes.valueof` of a live.* object; None for what no parameter can hold."""
    if control.kind == "text" or (control.kind == "choice" and not control.options):
        return None
    parameter: dict[str, Any] = {
        "parameter_longname": control.name,
        "parameter_shortname": title(control),
        "parameter_annotation_name": control.description,
    }
    if control.kind == "float":
        parameter |= {
            "parameter_type": 1 if control.step else 0,
            "parameter_mmin": control.minimum,
            "parameter_mmax": control.maximum,
            "parameter_initial": [control.default],
            "parameter_initial_enable": 1,
            "parameter_exponent": 2.0 if control.curve == "square" else 1.0,
            "parameter_unitstyle": 0 if control.step else _UNIT_STYLES.get(control.unit, 1),
        }
    else:
        names = list(control.options) or ["off", "on"]
        parameter |= {"parameter_type": 2, "parameter_enum": names}
    return parameter
