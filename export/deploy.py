"""A bundle's graphs for other runtimes and in other precisions, each proven before it is written out.

    onnx       a bundle again, which plays like any other; fp16 and bf16 hold convolutions of that precision, int8 has
               a generator in integers beside the exact one (`export.quantise`)
    tensorrt   one engine a graph, for the architectures that were named, or for the GPU here
    openvino   OpenVINO's own format; fp16 halves the weights' size, bf16 is what the session is to compute in

In each folder `export.json` says what was made of what, by which versions, and how far its answers are from the
reference (`export.parity`). What is further than `LIMITS` is not written at all.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from engine.bundle import MANIFEST, Bundle, describe_graph, load_bundle, sha256_file, write_manifest
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime import Precision, Session, open_session
from engine.runtime.machine import describe_machine
from engine.runtime.session import can_run
from export.parity import Reference, as_rows, open_reference, worst
from export.quantise import LIMIT_GREY, PAINTERS, add_int8, write_int8
from export.rewrite import cast_last, in_half

Target = Literal["onnx", "tensorrt", "openvino"]
ExportPrecision = Literal["fp32", "fp16", "bf16", "int8"]
TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[ExportPrecision, ...] = get_args(ExportPrecision)
LIMITS: dict[ExportPrecision, float] = {"fp32": 0.5, "fp16": 2.0, "bf16": 2.0, "int8": LIMIT_GREY}
"""Mean grey levels of difference over which nothing is written."""
RECORD = "export.json"
SM_DEFAULT = (86, 89, 120)
"""GeForce RTX 30, 40 and 50."""

Said = Callable[[str], None]


def export_bundle(
    bundle: Bundle,
    to: Target,
    precision: ExportPrecision,
    folder: Path,
    sms: Sequence[int] = (),
    say: Said = lambda line: None,
) -> dict[str, Any]:
    """Write `folder` and return what its `export.json` says; an older export there is replaced by a whole new one.

    `sms`: compute capabilities for TensorRT, `SM_DEFAULT` if none. `say` is told of each graph.
    Raises `BundleError` when a graph cannot be converted or differs too much, when `folder` holds something else or
    cannot be written; `RuntimeUnavailable` when what is needed is not installed.
    """
    _check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as scratch:
            made = Path(scratch) / "new"
            made.mkdir()
            record = _fill(made, bundle, to, precision, tuple(sms), say)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            made.rename(folder)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error.strerror}") from error
    return record


def _fill(
    made: Path, bundle: Bundle, to: Target, precision: ExportPrecision, sms: tuple[int, ...], say: Said
) -> dict[str, Any]:
    maker = {"onnx": _Onnx, "tensorrt": _TensorRt, "openvino": _OpenVino}[to](precision, sms)
    graphs: dict[str, Any] = {}
    with open_reference(bundle) as reference, tempfile.TemporaryDirectory() as work:
        for graph in bundle.manifest.graphs:
            say(f"{graph}: converting")
            source = bundle.graph_path(graph)
            if graph in PAINTERS and precision == "int8" and to != "onnx":
                source = Path(work) / source.name
                write_int8(bundle, source, graph)
            files, candidate, by = maker.make(source, made, Path(work))
            try:
                row = _prove(reference, graph, candidate, precision)
            finally:
                candidate.close()
            say(f"{graph}: {worst_of(row):.3g} grey levels from {reference.name}")
            graphs[graph] = {"files": files, "parity": row, "computed_by": by}
        record: dict[str, Any] = {
            "bundle": bundle.manifest.name,
            "generator": bundle.manifest.graphs["generator"].sha256,
            "to": to,
            "precision": precision,
            "made_with": maker.versions(),
            "reference": reference.name,
            "limit_grey": LIMITS[precision],
            "graphs": graphs,
            "machine": describe_machine(),
        }
    for row in graphs.values():
        row["files"] = {file: sha256_file(made / file) for file in row["files"]}
    if to == "onnx":
        _complete_bundle(made, bundle, record, say)
    (made / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _prove(reference: Reference, graph: str, candidate: Session, precision: ExportPrecision) -> dict[str, Any]:
    found = reference.compare(graph, candidate)
    if not worst(found) <= LIMITS[precision]:
        raise BundleError(
            f"{graph} in {precision} differs from {reference.name} by {worst(found):.3g} grey levels of 255 in the "
            f"mean, the limit is {LIMITS[precision]:g}; nothing was written: choose another precision"
        )
    return as_rows(found)


def worst_of(row: dict[str, dict[str, float]]) -> float:
    """Greatest mean of a graph's parity as it is recorded."""
    return max(each["mean"] for each in row.values())


class _Onnx:
    """A graph rewritten; ONNX Runtime computes it, half precision by rounding."""

    def __init__(self, precision: ExportPrecision, sms: tuple[int, ...]) -> None:
        if sms:
            raise BundleError("--sm is for TensorRT")
        self._precision = precision

    def make(self, source: Path, made: Path, work: Path) -> tuple[list[str], Session, str]:
        target = made / source.name
        return [target.name], *rewritten(source, target, self._precision, work)

    def versions(self) -> dict[str, str]:
        return _versions("onnx", "onnxruntime")


class _TensorRt:
    """An engine; its answers are proven on a GPU where one is, else by the graph that it is built of."""

    def __init__(self, precision: ExportPrecision, sms: tuple[int, ...]) -> None:
        from engine.runtime.tensorrt import TensorRt

        if precision == "int8":
            raise BundleError("for TensorRT there is no int8 yet: choose --precision fp16 or bf16")
        self._precision, self._trt = precision, TensorRt()
        self._sms = sms or (SM_DEFAULT if self._trt.portable else ())

    def make(self, source: Path, made: Path, work: Path) -> tuple[list[str], Session, str]:
        from engine.runtime.tensorrt import cached_engine

        graph = work / source.name
        candidate, by = rewritten(source, graph, self._precision, work)
        try:
            target = "-".join(f"sm{sm}" for sm in self._sms) or _gpu_name()
            (made / f"{source.stem}.engine").write_bytes(cached_engine(self._trt, graph, target, self._sms))
            if can_run("tensorrt"):
                session = open_session(graph, "tensorrt")
                candidate.close()
                candidate, by = session, str(self._trt)
        except Exception:
            candidate.close()
            raise
        return [f"{source.stem}.engine"], candidate, by

    def versions(self) -> dict[str, str]:
        architectures = ", ".join(f"SM {sm}" for sm in self._sms) or _gpu_name()
        return {self._trt.name: self._trt.version, "for": architectures, **_versions("onnx")}


class _OpenVino:
    """OpenVINO's files, computed by OpenVINO itself."""

    def __init__(self, precision: ExportPrecision, sms: tuple[int, ...]) -> None:
        if sms:
            raise BundleError("--sm is for TensorRT")
        self._precision = precision

    def make(self, source: Path, made: Path, work: Path) -> tuple[list[str], Session, str]:
        from engine.runtime.openvino import save_ir

        target = made / f"{source.stem}.xml"
        save_ir(source, target, half=self._precision == "fp16")
        hint: Precision = "bf16" if self._precision == "bf16" else "f32"
        candidate = open_session(target, "openvino", hint)
        return [target.name, target.with_suffix(".bin").name], candidate, f"OpenVINO, {hint}"

    def versions(self) -> dict[str, str]:
        return _versions("openvino")


def rewritten(source: Path, target: Path, precision: ExportPrecision, work: Path) -> tuple[Session, str]:
    """Write the graph in that precision to `target`; a session that computes what it computes, and what that is."""
    model = cast_last(onnx.load(source))
    if precision in ("fp32", "int8"):  # what is in integers was written so before, the rest is exact
        onnx.save(model, target)
        return open_session(target, "onnxruntime"), "ONNX Runtime"
    onnx.save(in_half(model, precision), target)
    # On a CPU ONNX Runtime would compute the graph itself in f32 and leave the rounding out.
    emulated = work / f"emulated-{source.name}"
    onnx.save(in_half(model, precision, emulated=True), emulated)
    return open_session(emulated, "onnxruntime"), f"ONNX Runtime, {precision} by rounding"


def _complete_bundle(made: Path, bundle: Bundle, record: dict[str, Any], say: Said) -> None:
    """Weights and manifest, so that the folder plays; and what paints in integers, if it is to have that."""
    manifest = bundle.manifest
    shutil.copy(bundle.folder / manifest.weights.file, made / manifest.weights.file)
    graphs = {}
    for graph, spec in manifest.graphs.items():
        graphs[graph] = describe_graph(made / spec.file, graph, manifest.dimensions)
    plain = manifest.model_copy(update={"graphs": graphs})
    write_manifest(made, plain)
    painters = [graph for graph in PAINTERS if graph in graphs and record["precision"] == "int8"]
    for graph in painters:
        row = record["graphs"][graph]
        row["parity"] = parity = add_int8(made, graph)
        plain = load_bundle(made).manifest
        twin = plain.graphs[graph].int8
        assert twin is not None
        row["files"][twin.file] = twin.sha256
        say(f"{graph}: {worst_of(parity):.3g} grey levels from {record['reference']} in int8")
    write_manifest(made, plain.model_copy(update={"provenance": {**plain.provenance, "export": record}}))


def _check_target(folder: Path) -> None:
    """Refuse to write over anything but an older export or an empty folder."""
    if folder.is_file() or (folder.is_dir() and not (folder / RECORD).is_file() and any(folder.iterdir())):
        what = "a bundle that was not exported" if (folder / MANIFEST).is_file() else "no export and not empty"
        raise BundleError(f"{folder} is {what}; name another folder with --out")


def _gpu_name() -> str:
    try:
        from engine.runtime import cuda
    except ImportError as error:
        raise RuntimeUnavailable(f"no GPU can be asked ({error}): pip install 'cymatic[tensorrt]'") from None
    return cuda.gpu()[0]


def _versions(*packages: str) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}
