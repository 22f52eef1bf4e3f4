"""Checkpoints that no repository would write: what each asks for, as bytes. Every one must be refused.

Opcodes are put together by hand, since pickle's own writer cannot be made to write most of them.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from checkpoint_files import as_bytes, stylegan2_tensors, stylegan3_tensors, write_nvidia

WITNESS = "cymatic-was-here"
COMMAND = f"mkdir {WITNESS}"

PROTO, STOP, MARK, TUPLE, REDUCE, NONE = b"\x80\x04", b".", b"(", b"t", b"R", b"N"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if abs(value) < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def blob(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + MARK + b"".join(arguments) + TUPLE + REDUCE


def pairs(**values: bytes) -> bytes:
    return b"}" + MARK + b"".join(text(key) + value for key, value in values.items()) + b"u"


def plain(body: bytes) -> bytes:
    """A pickle as NVIDIA's repositories would write it, with `body` in the place of the generator."""
    return PROTO + pairs(G_ema=body) + STOP


def persistent(**meta: bytes) -> bytes:
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", pairs(**meta))


def module(state: bytes) -> bytes:
    return persistent(type=text("class"), class_name=text("Generator"), module_src=text(""), state=state)


def storage(kind: str = "FloatStorage", key: bytes | None = None, count: bytes = number(4)) -> bytes:
    """The persistent id of a storage."""
    return MARK + text("storage") + name("torch", kind) + (key or text("0")) + text("cpu") + count + TUPLE + b"Q"


def stream(body: bytes, keys: bytes | None = None, data: bytes | None = None, machine: bytes | None = None) -> bytes:
    """A file in torch's format before 1.6."""
    head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."
    machine = machine or b"\x80\x02" + pairs(little_endian=b"\x88") + STOP
    keys = keys or b"\x80\x02]" + text("0") + b"a" + STOP
    data = struct.pack("<q", 4) + bytes(16) if data is None else data
    return head + machine + b"\x80\x02" + body + STOP + keys + data


def tensor(size: bytes, stride: bytes, offset: bytes = number(0), of: bytes | None = None) -> bytes:
    arguments = (of or storage(), offset, MARK + size + TUPLE, MARK + stride + TUPLE, b"\x89", b"}")
    return call("torch._utils", "_rebuild_tensor_v2", *arguments)


def archive(pickle: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A file in torch's zip format."""
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", compression) as file:
            file.writestr("archive/data.pkl", pickle)
            for member, content in members.items():
                file.writestr(f"archive/data/{member.removeprefix('_')}", content)
        return buffer.getvalue()


def patched(data: bytes, what: bytes, place: int, value: bytes) -> bytes:
    """`data` with other bytes at `place` after the last time that `what` comes."""
    at = data.rindex(what) + place
    return data[:at] + value + data[at + len(value) :]


ONE = b"\x80\x02" + pairs(g_ema=pairs(a=tensor(number(4), number(1)))) + STOP

CALLS = [
    ("os", "system", text(COMMAND)), ("posix", "system", text(COMMAND)), ("nt", "system", text(COMMAND)),
    ("builtins", "eval", text(f"__import__('os').mkdir('{WITNESS}')")),
    ("builtins", "exec", text(f"import os; os.mkdir('{WITNESS}')")), ("__builtin__", "eval", text("1")),
    ("builtins", "__import__", text("antigravity")), ("builtins", "getattr", text("a"), text("b")),
    ("builtins", "open", text(WITNESS), text("w")), ("builtins", "compile", text("1"), text(""), text("eval")),
    ("subprocess", "Popen", text(COMMAND)), ("subprocess", "check_output", text(COMMAND)),
    ("os", "mkdir", text(WITNESS)), ("pty", "spawn", text("sh")), ("runpy", "run_path", text("x.py")),
    ("importlib", "import_module", text("antigravity")), ("functools", "partial", text(COMMAND)),
    ("operator", "attrgetter", text("system")), ("operator", "methodcaller", text("system")),
    ("pickle", "loads", blob(b"N.")), ("_pickle", "loads", blob(b"N.")), ("marshal", "loads", blob(b"N")),
    ("types", "FunctionType", text("x")), ("types", "CodeType", text("x")), ("ctypes", "CDLL", text("libc.so.6")),
    ("socket", "create_connection", text("localhost")), ("webbrowser", "open", text("http://localhost")),
    ("urllib.request", "urlopen", text("http://localhost")), ("tempfile", "mkdtemp"), ("shutil", "rmtree", text("/")),
    ("torch", "load", text("x.pt")), ("torch.hub", "load", text("a/b")), ("torch.serialization", "load", text("x")),
    ("torch.utils.cpp_extension", "load_inline", text("x")), ("torch.storage", "_load_from_bytes.x", text("x")),
    ("torch._utils", "_rebuild_device_tensor_from_numpy", text("x")), ("numpy", "load", text("x.npy")),
    ("numpy.core.multiarray", "fromfile", text("x")), ("_codecs", "decode", text("x"), text("rot13")),
    ("copyreg", "_reconstructor", name("os", "system")), ("dnnlib.tflib.network", "Network"),
    ("collections", "Counter", text("x")), ("timeit", "timeit", text("1")), ("cProfile", "run", text("1")),
]  # fmt: skip


def _opcodes() -> Iterator[tuple[str, bytes, str]]:
    """Opcodes that are not followed, and ones that do not add up."""
    yield "protocol 0", b"\x80\x00" + b"(lp0\n." + bytes(16), "PROTO"
    yield "INST", plain(MARK + text("x") + b"ios\nsystem\n"), "INST"
    yield "OBJ", plain(MARK + name("torch", "device") + b"o"), "OBJ"
    yield "EXT1", plain(b"\x82\x01"), "EXT1"
    yield "EXT2", plain(b"\x83\x01\x00"), "EXT2"
    yield "EXT4", plain(b"\x84\x01\x00\x00\x00"), "EXT4"
    yield "NEWOBJ_EX", plain(name("torch", "device") + b")}\x92"), "NEWOBJ_EX"
    yield "PERSID", plain(b"Pfile:///etc\n"), "PERSID"
    yield "BINPERSID in a plain pickle", plain(text("x") + b"Q"), "BINPERSID"
    yield "NEXT_BUFFER", plain(b"\x97"), "NEXT_BUFFER"
    yield "READONLY_BUFFER", plain(blob(b"x") + b"\x98"), "READONLY_BUFFER"
    yield "LONG4", plain(b"\x8b\xff\xff\xff\x7f"), "LONG4"
    yield "LONG1 of 255 bytes", plain(b"\x8a\xff" + bytes(255)), "LONG1"
    yield "LONG in words", plain(b"L" + b"9" * 9999 + b"L\n"), "LONG"
    yield "FLOAT in words", plain(b"F1e9999\n"), "FLOAT"
    yield "STRING with an escape", plain(b"S'\\x00'\n"), "STRING"
    yield "DUP", plain(NONE + b"2"), "DUP"
    yield "an unknown opcode", plain(b"\xff"), "opcode 0xff"
    yield "no STOP", PROTO + NONE * 20, "the opcode"
    yield "STOP on an empty stack", PROTO + STOP + bytes(16), "STOP"
    yield "two values", PROTO + NONE * 16 + STOP, "STOP"
    yield "a mark that stays", PROTO + MARK * 8 + NONE * 8 + STOP, "STOP"
    yield "BINBYTES8 of an exabyte", plain(b"\x8e" + struct.pack("<Q", 1 << 60)), "BINBYTES8"
    yield "BINUNICODE8 of an exabyte", plain(b"\x8d" + struct.pack("<Q", 1 << 60)), "BINUNICODE8"
    yield "BINBYTES of four gigabytes", plain(b"B" + struct.pack("<I", 0xFFFFFFFF)), "BINBYTES"
    yield "FRAME over the end", PROTO + b"\x95" + struct.pack("<Q", 1 << 40) + bytes(16), "FRAME"
    yield "text that is none", plain(b"X\x02\x00\x00\x00\xff\xfe"), "BINUNICODE"
    yield "a name without an end", plain(b"c" + b"a" * 4096), "GLOBAL"
    yield "STACK_GLOBAL of numbers", plain(number(1) + number(2) + b"\x93"), "STACK_GLOBAL"
    yield (
        "STACK_GLOBAL of os.system",
        plain(text("os") + text("system") + b"\x93" + text(COMMAND) + b"\x85R"),
        "STACK_G",
    )
    yield "an entry that was never made", plain(b"j\xff\xff\xff\xff"), "LONG_BINGET"
    yield "REDUCE of a text", plain(text("os.system") + b")R"), "REDUCE"
    yield "REDUCE with a list", plain(name("torch", "device") + b"]R"), "REDUCE"
    yield "NEWOBJ of a number", plain(number(1) + b")\x81"), "NEWOBJ"
    yield "BUILD on a number", plain(number(1) + b"}b"), "BUILD"
    yield "APPEND to a dictionary", plain(b"}" + NONE + b"a"), "APPEND"
    yield "APPENDS without a mark", PROTO + b"]e" + bytes(16), "APPENDS"
    yield "SETITEMS of three", plain(b"}" + MARK + text("a") + NONE + text("b") + b"u"), "SETITEMS"
    yield "SETITEM on a list", plain(b"]" + text("a") + NONE + b"s"), "SETITEM"
    yield "a deep key", plain(b"}" + b")" + b"\x85" * 200_000 + NONE + b"s"), "SETITEM"
    yield "a huge key", plain(b"}" + number(1 << 100) + NONE + b"s"), "SETITEM"
    yield "ADDITEMS to a list", plain(b"]" + MARK + b"\x90"), "ADDITEMS"
    yield "POP over a mark", PROTO + NONE + MARK + b"00" + STOP + bytes(16), "POP"


def _bombs() -> Iterator[tuple[str, bytes, str]]:
    """What would cost time or memory."""
    inner = stream(storage())
    yield "a million opcodes", PROTO + b"N0" * 500_000 + NONE + STOP, "steps"
    yield "a million lists", PROTO + b"]" * 1_000_000 + STOP, "steps"
    once = name("torch.storage", "_load_from_bytes") + blob(stream(storage() + b"N0" * 5_000)) + b"\x94\x85R0"
    again = name("torch.storage", "_load_from_bytes") + b"h\x00\x85R0"
    yield "one stream read a thousand times", PROTO + once + again * 1000 + NONE + STOP, "steps"
    for _ in range(12):
        inner = stream(call("torch.storage", "_load_from_bytes", blob(inner)))
    yield "streams within streams", plain(call("torch.storage", "_load_from_bytes", blob(inner))), "REDUCE"
    laughs = b"}\x94" + b"".join(
        b"}\x94" + MARK + b"".join(text(c) + b"h" + bytes([i]) for c in "abcdefghij") + b"u" for i in range(60)
    )
    yield (
        "a billion laughs",
        plain(MARK + laughs + b"1" + module(pairs(_parameters=b"h<", _buffers=b"h<", _modules=b"h<"))),
        "no StyleGAN",
    )
    deep = b"}"
    for _ in range(40):
        deep = module(pairs(_parameters=b"}", _buffers=b"}", _modules=pairs(a=deep)))
    yield "modules within modules", plain(deep), "modules within modules"
    looped = pairs(_parameters=b"}", _buffers=b"}", _modules=b"}\x94")
    holder = module(looped) + b"\x940" + b"h\x00" + text("a") + b"h\x01s0" + b"h\x01"
    yield "a module that holds itself", plain(holder), "modules within modules"
    laughing = module(pairs(_parameters=b"}", _buffers=b"}", _modules=b"}")) + b"\x94"
    for i in range(7):
        held = b"}" + MARK + b"".join(text(c) + b"h" + bytes([i]) for c in "abcdefghij") + b"u"
        laughing += b"0" + module(pairs(_parameters=b"}", _buffers=b"}", _modules=held)) + b"\x94"
    yield "ten million modules out of a few", plain(laughing), "modules within modules"
    yield "a tensor of an exabyte", stream(tensor(number(1 << 39) + number(1 << 39), number(0) + number(0))), "REDUCE"
    yield "a tensor that shows one number often", stream(tensor(number(1 << 30), number(0))), "REDUCE"
    yield "a tensor of 64 axes", stream(tensor(number(1) * 64, number(1) * 64)), "REDUCE"
    yield "a storage of a terabyte", stream(storage(count=number(1 << 38))), "storage"
    deflated = archive(ONE, zipfile.ZIP_DEFLATED, _0=bytes(1 << 24))
    yield "a member that inflates", deflated, "compressed"
    yield "a member of an exabyte", patched(archive(ONE, _0=bytes(16)), b"PK\x01\x02", 20, b"\xfe" * 8), "zip archive"


def _tensors() -> Iterator[tuple[str, bytes, str]]:
    """Tensors and storages that are not what they say."""
    yield "a negative size", stream(tensor(number(-4), number(1))), "REDUCE"
    yield "a negative stride", stream(tensor(number(4), number(-1), number(3))), "REDUCE"
    yield "a size that is true", stream(tensor(b"\x88", number(1))), "REDUCE"
    yield "a size that is a fraction", stream(tensor(b"G" + struct.pack(">d", 4.0), number(1))), "REDUCE"
    yield "a tensor before its storage", stream(tensor(number(4), number(1), number(-1))), "REDUCE"
    yield "a tensor over the end of its storage", stream(tensor(number(4), number(1), number(1))), "REDUCE"
    yield "more sizes than strides", stream(tensor(number(2) + number(2), number(1))), "REDUCE"
    yield "a tensor of text", stream(tensor(number(4), number(1), of=text("x"))), "REDUCE"
    yield "a parameter of text", stream(call("torch._utils", "_rebuild_parameter", text("x"))), "REDUCE"
    yield "an unknown storage", stream(storage("QuantizedStorage")), "GLOBAL"
    yield "a storage of a device", stream(storage("device")), "BINPERSID"
    yield "a storage without a key", stream(storage(key=NONE)), "BINPERSID"
    yield "a storage of two lengths", stream(storage() + b"0" + storage(count=number(5))), "BINPERSID"
    yield (
        "a persistent id of code",
        stream(MARK + text("module") + NONE + text("x.py") + text("1") + TUPLE + b"Q"),
        "BINP",
    )
    yield "a storage that is too short", stream(storage(), data=struct.pack("<q", 4) + bytes(8)), "storage"
    yield "a storage of another length", stream(storage(), data=struct.pack("<q", -4) + bytes(16)), "storage"
    yield "a storage that nobody lists", stream(storage(), keys=b"\x80\x02].", data=b""), "storages"
    yield "a storage listed twice", stream(storage(), keys=b"\x80\x02]" + (text("0") + b"a") * 2 + STOP), "storages"
    yield "another machine", stream(storage(), machine=b"\x80\x02" + pairs(little_endian=b"\x89") + STOP), "big-endian"
    yield (
        "a call in torch's own head",
        stream(storage(), machine=b"\x80\x02" + call("os", "system", text(COMMAND)) + STOP),
        "GLOBAL",
    )
    yield (
        "a call in the list of storages",
        stream(storage(), keys=b"\x80\x02" + call("os", "mkdir", text("x")) + STOP),
        "GLOBAL",
    )
    yield (
        "code behind a storage's bytes",
        plain(call("torch.storage", "_load_from_bytes", blob(stream(call("os", "system", text(COMMAND)))))),
        "GLOBAL",
    )
    yield "bytes that are no stream", plain(call("torch.storage", "_load_from_bytes", blob(b"\x80\x02N."))), "REDUCE"
    yield (
        "a tensor in a storage's place",
        plain(call("torch.storage", "_load_from_bytes", blob(stream(tensor(number(4), number(1)))))),
        "REDUCE",
    )
    yield (
        "an object that is no class",
        plain(persistent(type=text("function"), class_name=text("f"), state=b"}")),
        "REDUCE",
    )
    yield (
        "an object without a state",
        plain(persistent(type=text("class"), class_name=text("G"), state=text("x"))),
        "REDUCE",
    )
    yield "a generator without parameters", plain(module(b"}")), "_parameters"
    yield (
        "a parameter with a path for a name",
        plain(module(pairs(_parameters=b"}" + text("../x") + NONE + b"s", _buffers=b"}", _modules=b"}"))),
        "name",
    )
    yield "a number for a generator", plain(number(7)), "no generator"


def _archives() -> Iterator[tuple[str, bytes, str]]:
    """Zip archives that contradict themselves."""
    good = archive(ONE, _0=bytes(16))
    yield "no pickle in the archive", archive(ONE).replace(b"data.pkl", b"data.txt"), "data.pkl"
    yield "a missing storage", archive(ONE), "storage"
    yield "a storage of another size", archive(ONE, _0=bytes(17)), "storage"
    yield "a call in the archive's pickle", archive(b"\x80\x02" + call("os", "system", text(COMMAND)) + STOP), "GLOBAL"
    yield "no directory", good[: good.rindex(b"PK\x05\x06")], "directory"
    yield "a directory outside of the file", patched(good, b"PK\x05\x06", 16, b"\xf0\xff\xff\x7f"), "zip archive"
    yield "more members than there are", patched(good, b"PK\x05\x06", 10, b"\xff\xff"), "zip archive"
    yield "members that overlap", patched(good, b"PK\x01\x02", 42, b"\x00\x00\x00\x00"), "zip archive"
    yield "an encrypted member", patched(good, b"PK\x01\x02", 8, b"\x01\x00"), "encrypted"
    yield "a member of another name", good.replace(b"archive/data/0", b"archive/data/1", 1), "not where"
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("archive/data.pkl", ONE)
            file.filelist.append(file.filelist[0])
        yield "a member that comes twice", buffer.getvalue(), "twice"
    yield "members of text", b"PK\x03\x04" + zlib.compress(bytes(4096)), "directory"


def _safetensors() -> Iterator[tuple[str, bytes, str]]:
    """Safetensors files that contradict themselves."""

    def file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(head) if length is None else length) + head + data

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield "a header of an exabyte", file({"a": entry}, bytes(16), 1 << 60), "safetensors"
    yield "a header that is no JSON", file(b"{" * 4096), "safetensors"
    yield "a tensor over the end", file({"a": entry}, bytes(8)), "safetensors"
    yield "tensors that overlap", file({"a": entry, "b": entry}, bytes(16)), "safetensors"
    yield "a shape of another length", file({"a": entry | {"shape": [1 << 62, 4]}}, bytes(16)), "safetensors"
    yield "tensors of something else", file({"a": entry}, bytes(16)), "no StyleGAN"


def _networks() -> Iterator[tuple[str, bytes, str]]:
    """True files of generators that do not fit together."""

    def file(change: Callable[[dict[str, torch.Tensor]], object], three: bool = False, **options: Any) -> bytes:
        tensors = stylegan3_tensors() if three else stylegan2_tensors()
        change(tensors)
        return as_bytes(write_nvidia, tensors, **options)

    conv = "synthesis.b8.conv0"
    layer = "synthesis.L3_36_12"
    yield "a tensor that is missing", file(lambda t: t.pop(f"{conv}.weight")), f"{conv}.weight is missing"
    yield "a tensor of another shape", file(lambda t: t.update({f"{conv}.bias": torch.zeros(99)})), "expected [16]"
    yield "a number that is none", file(lambda t: t[f"{conv}.weight"].fill_(torch.nan)), "not finite"
    yield "an infinite number", file(lambda t: t[f"{conv}.bias"].fill_(torch.inf)), "not finite"
    yield "numbers that overflow", file(lambda t: t[f"{conv}.affine.weight"].fill_(3e38)), "finite"
    yield "another filter", file(lambda t: t[f"{conv}.resample_filter"].fill_(1 / 16)), "1-3-3-1"
    yield "a filter of another size", file(lambda t: t.update({f"{conv}.resample_filter": torch.ones(2, 2)})), "filter"
    yield "an empty tensor", file(lambda t: t.update({"synthesis.b4.const": torch.zeros(0, 4, 4)})), "empty"
    yield (
        "grids with a gap",
        file(lambda t: [t.pop(k) for k in list(t) if k.startswith("synthesis.b16.")]),
        "leads to it",
    )
    yield (
        "only the first grid",
        file(lambda t: [t.pop(k) for k in list(t) if k[:11] == "synthesis.b" and k[11] != "4"]),
        "small",
    )
    yield "grey pictures", file(lambda t: t.update({"synthesis.b8.torgb.weight": torch.zeros(1, 16, 1, 1)})), "torgb"
    yield "another architecture", file(lambda t: 0, options={"synthesis.b8": {"architecture": "resnet"}}), "resnet"
    yield "another activation", file(lambda t: 0, options={conv: {"activation": "relu"}}), "relu"
    yield "an option of text", file(lambda t: 0, options={"mapping.fc0": {"bias_gain": "x"}}), "bias_gain"
    yield "an option that is none", file(lambda t: 0, options={conv: {"conv_clamp": float("nan")}}), "conv_clamp"
    yield "an option over all floats", file(lambda t: 0, clamp=1e300), "conv_clamp"
    yield "an option over all numbers", file(lambda t: 0, clamp=1 << 120), "conv_clamp"
    yield "a rate over all numbers", file(lambda t: 0, options={"mapping.fc0": {"bias_gain": 1 << 120}}), "bias_gain"
    yield "no mapping", file(lambda t: [t.pop(k) for k in list(t) if k.startswith("mapping.")]), "mapping.fc0"
    yield "a layer that is missing", file(lambda t: [t.pop(k) for k in list(t) if layer in k], True), "not complete"
    yield (
        "a layer of another width",
        file(lambda t: [t.update({k.replace("L3_36", "L3_40"): t.pop(k)}) for k in list(t) if layer in k], True),
        "40 pixels",
    )
    yield (
        "a filter of another length",
        file(lambda t: t.update({f"{layer}.up_filter": torch.ones(10)}), True),
        "up_filter",
    )
    yield "no magnitude", file(lambda t: t[f"{layer}.magnitude_ema"].fill_(0), True), "magnitude_ema"
    yield (
        "cutoffs of nowhere",
        file(lambda t: 0, True, options={"": {"_init_kwargs": {"first_cutoff": -1.0}}}),
        "first_cutoff",
    )
    yield (
        "cutoffs over all numbers",
        file(lambda t: 0, True, options={"": {"_init_kwargs": {"first_cutoff": 1 << 120}}}),
        "first_cutoff",
    )
    yield (
        "critical layers only",
        file(lambda t: 0, True, options={"": {"_init_kwargs": {"num_critical": 14}}}),
        "num_critical",
    )
    wide = {"synthesis.b2048.conv1.weight": torch.zeros(16, 16, 3, 3)}
    yield "a picture without its grids", file(lambda t: t.update(wide)), "leads to it"


def corpus() -> list[tuple[str, bytes, str]]:
    """What each file does, its bytes, and a part of the line that must refuse it."""
    found = [
        (f"calls {module}.{attribute}", plain(call(module, attribute, *rest)), f"'{module}.{attribute}'"[:40])
        for module, attribute, *rest in CALLS
    ]
    found += [
        ("an empty file", b"", "0 bytes"),
        ("zeros", bytes(4096), "neither"),
        ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(64), "neither"),
    ]
    for some in (_opcodes, _bombs, _tensors, _archives, _safetensors, _networks):
        found += some()
    return found
