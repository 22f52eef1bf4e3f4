"""The rules of the house, read from the source itself: who may import whom, what never appears, what stays light."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import cymatic
from engine.control.registry import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cymatic", "engine", "export", "gui", "presets", "training")
SUBCOMMANDS = ("live", "render", "devices", "presets", "train", "world", "export", "bench")

QT = {"PySide6", "shiboken6", "pyqtgraph", "qtpy", "PyQt5", "PyQt6"}
TORCH = {"torch", "torchvision", "torchaudio"}
WALLS = {
    "engine": TORCH | QT | {"cymatic", "gui", "training", "export", "presets"},
    "export": QT | {"cymatic", "gui"},
    "gui": TORCH | {"cymatic", "training", "export"},
    "presets": TORCH | QT | {"cymatic", "gui", "training", "export"},
    "training": QT | {"cymatic", "gui"},
}
DOORS = {
    ("engine/runtime/torch_cuda.py", "torch"),
    ("engine/runtime/torch_cuda.py", "onnx"),
    ("engine/runtime/cuda.py", "cuda"),
    ("engine/runtime/tensorrt_session.py", "cuda"),  # through the one above
    ("engine/runtime/tensorrt.py", "tensorrt_rtx"),
    ("engine/runtime/tensorrt.py", "tensorrt"),
    ("engine/runtime/onnxruntime.py", "onnxruntime_ep_nv_tensorrt_rtx"),
    ("engine/sinks/camera.py", "pyvirtualcam"),
    ("engine/sinks/ndi.py", "cyndilib"),
    ("engine/sinks/spout.py", "SpoutGL"),
    ("engine/sinks/syphon.py", "syphon"),
}
"""The only holes in the walls: (file, what it may import all the same)."""

LAZY = {
    ("cymatic/adapt.py", "torch"),
    ("cymatic/adapt.py", "onnxscript"),
    ("cymatic/adapt.py", "tqdm"),
    ("cymatic/export.py", "onnx"),
    ("cymatic/evaluate.py", "torch"),
    ("cymatic/import.py", "torch"),
    ("cymatic/import.py", "onnxscript"),
    ("cymatic/import.py", "tqdm"),
    ("cymatic/train.py", "torch"),
    ("cymatic/world.py", "torch"),
    ("cymatic/render.py", "av"),
    ("cymatic/render.py", "tqdm"),
    ("cymatic/movie.py", "av"),
    ("engine/codec.py", "av"),
    ("engine/recording/take.py", "av"),
    ("cymatic/world.py", "av"),
    ("cymatic/world.py", "tqdm"),
    ("engine/control/oscquery.py", "zeroconf"),
    ("engine/control/midi.py", "mido"),
    ("engine/control/midi_ports.py", "mido"),
    ("engine/control/tempo.py", "link"),
}
"""Commands that need an extra, and what only they import; they import it only when they run."""

LONGEST = 450
LONG_FOR_A_REASON: dict[str, str] = {}
"""Files over `LONGEST` lines, each with the reason why it is one thing and not two."""

IMPORT_NAMES = {"python-osc": "pythonosc", "pyside6-essentials": "PySide6", "pillow": "PIL"}
"""Distributions whose import name is not their own name."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def dotted(node: ast.expr) -> str:
    """`torch.load` for the expression torch.load; "" for anything but plain names."""
    if isinstance(node, ast.Attribute):
        return f"{left}.{node.attr}" if (left := dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted module) of every import, also those inside functions and by importlib."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            yield from ((node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def import_name(requirement: str) -> str:
    name = Requirement(requirement).name.lower()
    return IMPORT_NAMES.get(name, name)


def run_python(code: str) -> str:
    """Run code in a fresh interpreter that shares nothing with this one; its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def tracked_files() -> list[Path]:
    """What a clone of this checkout would bring."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


# Walls


@pytest.mark.parametrize("room", WALLS)
def test_a_room_imports_nothing_from_behind_its_walls(room):
    files = sources(room)
    assert files
    found = [
        f"{label(path)}:{line} imports {module}"
        for path in files
        for line, module in imports(path)
        if module.split(".")[0] in WALLS[room] and (label(path), module.split(".")[0]) not in DOORS
    ]
    assert found == []


def test_the_wall_test_sees_every_way_to_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "engine" / "audio" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import torch.nn\nfrom PySide6 import QtCore\ndef f():\n    import gui as g\n    from ..control import desk\n"
        "    importlib.import_module('training.stages')\n    from . import ring\n"
    )
    seen = {module for _, module in imports(path)}
    assert seen == {"torch.nn", "PySide6", "gui", "engine.control", "training.stages", "engine.audio"}


def test_what_plays_needs_only_what_the_base_install_brings():
    base = {import_name(requirement) for requirement in project()["dependencies"]}
    allowed = base | set(sys.stdlib_module_names) | set(ROOMS) | {"__future__", "shiboken6"}
    found = [
        f"{label(path)}:{line} imports {module}"
        for path in sources("engine", "gui", "presets", "cymatic")
        for line, module in imports(path)
        if module.split(".")[0] not in allowed and (label(path), module.split(".")[0]) not in DOORS | LAZY
    ]
    assert found == []


def test_import_engine_loads_nothing_but_engine():
    code = (
        "import sys; before = set(sys.modules); import engine; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    assert run_python(code).split() == ["engine"]


def test_everything_that_plays_can_be_imported_without_the_training_extra():
    base = {import_name(requirement) for requirement in project()["dependencies"]}
    blocked = {import_name(requirement) for requirement in project()["optional-dependencies"]["train"]} - base
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources("engine", "presets", "gui", "cymatic")
        if path.name != "__main__.py" and label(path) not in {file for file, _ in DOORS}
    ]
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
for module in {modules!r}:
    importlib.import_module(module)
print(len({modules!r}))
"""
    assert "torch" in blocked
    assert int(run_python(code)) >= len(ROOMS)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in SUBCOMMANDS)], ids=" ".join)
def test_help_comes_without_torch_and_qt(arguments):
    code = f"""
import sys
from cymatic.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert end.code in (0, None), end.code
print("LOADED", *sorted({{name.split(".")[0] for name in sys.modules}} & {QT | TORCH | {"openvino", "onnxruntime"}!r}))
"""
    text, _, loaded = run_python(code).rpartition("LOADED")
    assert loaded.split() == []
    assert "usage: cymatic" in text
    if arguments == ["--help"]:
        assert [name for name in SUBCOMMANDS if name not in text] == []


# What never appears in the source

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "eval", "exec", "os.system", "os.popen", "yaml.load", "torch.hub.load",
    "pickle.load", "pickle.loads", "pickle.Unpickler",
}  # fmt: skip
PICKLE_WRITERS = {"tests/checkpoint_files.py"}
"""Who imports pickle: to write checkpoints as others write them, never to read one."""


def keyword_is(call: ast.Call, name: str, value: bool) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def unsafe(path: Path) -> Iterator[str]:
    for line, module in imports(path):
        if module.split(".")[0] in FORBIDDEN_MODULES and not (module == "pickle" and label(path) in PICKLE_WRITERS):
            yield f"{line} imports {module}"
    for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
        name = dotted(call.func)
        if name in FORBIDDEN_CALLS:
            yield f"{call.lineno} calls {name}"
        if name == "torch.load" and not keyword_is(call, "weights_only", True):
            yield f"{call.lineno} calls torch.load without weights_only=True"
        if any(k.arg == "shell" for k in call.keywords) and not keyword_is(call, "shell", False):
            yield f"{call.lineno} hands a string to a shell"
        if any(k.arg == "allow_pickle" for k in call.keywords) and not keyword_is(call, "allow_pickle", False):
            yield f"{call.lineno} allows pickles"


def test_no_file_is_ever_executed_or_unpickled():
    files = sources(*ROOMS, "tests", "benchmarks", "scripts")
    assert [f"{label(path)}:{what}" for path in files for what in unsafe(path)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "subprocess.run('ls', shell=True)",
        "np.load(f, allow_pickle=True)",
        "importlib.import_module('dill')",
    ],
)
def test_the_safety_test_sees(code, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "x.py"
    path.write_text(code)
    assert list(unsafe(path))


def test_only_the_command_line_prints():
    found = [
        f"{label(path)}:{node.lineno}"
        for path in sources("engine", "export", "gui", "presets", "training")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and dotted(node.func) in ("print", "sys.stdout.write", "breakpoint")
    ]
    assert found == []


def test_no_network_client_is_imported():
    clients = {"requests", "httpx", "aiohttp", "urllib", "urllib3", "http.client", "huggingface_hub", "ftplib"}
    found = [
        f"{label(path)}:{line} imports {module}"
        for path in sources(*ROOMS)
        for line, module in imports(path)
        if module in clients or (module.split(".")[0] in clients and module != "urllib.parse")
    ]
    assert found == []


# Shape of the source


def test_every_module_says_what_it_is():
    files = sources(*ROOMS, "tests", "benchmarks")
    assert [label(path) for path in files if "TODO" in (ast.get_docstring(tree(path)) or "TODO")] == []


def test_modules_stay_short():
    files = sources(*ROOMS, "tests", "benchmarks")
    long = {label(path) for path in files if path.read_text(encoding="utf-8").count("\n") > LONGEST}
    assert long == set(LONG_FOR_A_REASON), "split it, or list it with its reason (and take it off when it shrank)"


@pytest.mark.parametrize("package", [label(path.parent) for path in sources(*ROOMS) if path.name == "__init__.py"])
def test_every_public_name_exists(package):
    module = importlib.import_module(package.replace("/", "."))
    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert missing == []
    assert len(set(getattr(module, "__all__", ()))) == len(getattr(module, "__all__", ()))


# The tree


def test_the_tracked_tree_stays_under_48_megabytes():
    assert sum(path.stat().st_size for path in tracked_files()) < 48_000_000


def test_no_tracked_file_names_a_place_on_someones_machine():
    place = re.compile(rb"(?<![\w.:/~$}-])/(?:home|root|work|Users)/[\w.-]+/?")
    found = [f"{label(p)}: {hit.group()[:60]!r}" for p in tracked_files() if (hit := place.search(p.read_bytes()))]
    assert found == []


def test_broken_pyside_releases_are_excluded():
    [pyside] = [r for r in map(Requirement, project()["dependencies"]) if r.name == "PySide6-Essentials"]
    assert not pyside.specifier.contains("6.9.1")
    assert not pyside.specifier.contains("6.12.0")
    assert pyside.specifier.contains("6.11.3")


def test_torch_is_never_part_of_the_base_install():
    base = {Requirement(requirement).name.lower() for requirement in project()["dependencies"]}
    assert base & (TORCH | {"onnx", "onnxscript", "pillow", "tqdm"}) == set()


def test_the_cpu_constraint_fits_the_training_extra():
    [torch] = [r for r in map(Requirement, project()["optional-dependencies"]["train"]) if r.name == "torch"]
    constraint = Requirement((ROOT / "constraints-cpu.txt").read_text(encoding="utf-8").strip())
    assert constraint.name == "torch"
    assert all(torch.specifier.contains(pin.version) for pin in constraint.specifier)


# The papers agree with the code


def test_install_page_lists_exactly_the_packages_that_setup_installs():
    command = ["sh", "scripts/setup.sh", "packages"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert len(printed.splitlines()) == 4
    for line in printed.splitlines():
        platform, _, words = line.partition(": ")
        section = re.search(rf"^## {re.escape(platform)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, f"docs/install.md has no section {platform!r}"
        code = " ".join(re.findall(r"```sh\n(.*?)```", section.group(1), re.DOTALL)).replace("\\\n", " ")
        assert set(words.split()) <= set(code.split()), f"docs/install.md, {platform}"


DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_readme_and_osc_page_name_every_flag_and_no_other_address():
    """The addresses are all on docs/osc.md, which is printed from the registry; the README shows those it likes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "osc.md").read_text(encoding="utf-8").partition("## Controls")[0]
    page += (ROOT / "docs" / "recording.md").read_text(encoding="utf-8")
    usage = run_python("from cymatic.cli import main\ntry: main(['live', '--help'])\nexcept SystemExit: pass")
    table = readme.partition("## Playing")[2].partition("\n## ")[0]
    flag = r"(?<![\w-])--[a-z][a-z-]+"
    flags = set(re.findall(flag, usage)) - {"--help"}
    assert set(re.findall(flag, table)) <= flags <= set(re.findall(flag, table + page))
    addresses = set(re.findall(r"`(/cymatic/[a-z/]+)", readme))
    others = {"/cymatic/sync", "/cymatic/ping", "/cymatic/subscribe"}
    assert addresses <= {control.address() for control in REGISTRY} | others


def test_architecture_page_names_files_and_classes_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", page))
    assert len(named) > 30
    files = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    files |= {f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")}
    assert sorted(name for name in named if not any(file == name or file.endswith("/" + name) for file in files)) == []
    defined = {name for file in files for name in re.findall(r"^class (\w+)", (ROOT / file).read_text(), re.MULTILINE)}
    classes = {name for name in re.findall(r"`([A-Z][A-Za-z]+)\b", page) if not name.isupper()}
    assert len(classes) > 20
    assert sorted(classes - defined - {"Precision", "Runtime"}) == []


def test_there_is_one_version():
    assert cymatic.__version__ == project()["version"] == importlib.metadata.version("cymatic")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog or f"## [{cymatic.__version__}]" in changelog
