"""`cymatic presets`: list, show and check presets, make new ones of words and sounds, take whole shows in and out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cymatic.refining import with_images
from engine.control.registry import CONTROLS
from engine.errors import ControlError, PresetError

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from presets.recipe import Recipe
    from presets.schema import Anchor, Preset
    from presets.store import PresetStore
    from presets.text import Encoded, TextEncoder

__all__ = ["add_parser", "run"]

DEFAULT_BUNDLE = "landscape"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "presets",
        help="list, show, check and make presets",
        description="List, show and check presets, make new ones out of words and sounds, and put shows into one file. "
        "Without an action: list.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    listing = actions.add_parser("list", help="every preset with its description, in the order of /cymatic/preset/next")
    show = actions.add_parser("show", help="what a preset is made of")
    show.add_argument("name", metavar="NAME")

    check = actions.add_parser("check", help="read every preset file and say what is wrong with it")
    check.add_argument("--bundle", metavar="NAME|PATH", help="also check that the presets fit this bundle")

    new = actions.add_parser(
        "new",
        help="make a preset out of words and sounds",
        description="Make a preset. Words and sounds are embedded now, so that a show needs neither.",
    )
    new.add_argument("name", metavar="NAME", help="lower-case words joined by '-'")
    new.add_argument("--text", nargs=2, action="append", default=[], metavar=("WORDS", "WEIGHT"),
                     help="words that pull at the picture and how hard, 1 is natural; may be given again")  # fmt: skip
    new.add_argument("--sound", nargs=2, action="append", default=[], metavar=("FILE", "WEIGHT"),
                     help="a sound clip that pulls as words do; may be given again")  # fmt: skip
    new.add_argument("--image", nargs=2, action="append", default=[], metavar=("FILE", "WEIGHT"),
                     help="a picture that pulls as words do, as near as the bundle comes to it")  # fmt: skip
    new.add_argument("--map", nargs="+", action="append", default=[], dest="maps",
                     metavar=("FEATURE CONTROL AMOUNT", "ATTACK RELEASE CURVE"),
                     help="a feature of the sound that moves a control, e.g. bass gain/fine 0.5; attack and release in "
                     "seconds; may be given again")  # fmt: skip
    new.add_argument("--bank", default="", help="whose pads it is on")
    new.add_argument("--seed", type=int, default=0, help="number of the calm landscape to begin from")
    new.add_argument("--set", action="append", default=[], metavar="CONTROL=VALUE", dest="controls",
                     help="a control of the look, e.g. speed=0.5; may be given again")  # fmt: skip
    new.add_argument("--description", default="", help="one line for the list")
    new.add_argument(
        "--fade", type=float, metavar="SECONDS", help="crossfade to this preset; without it the control `fade` decides"
    )
    new.add_argument("--replace", action="store_true", help="replace a preset of that name")
    new.add_argument("--sentences", nargs=2, type=Path, metavar=("FOLDER", "PROJECTION"),
                     help="let a sentence-transformers model read the words, through what `fit` has made")  # fmt: skip

    fit = actions.add_parser(
        "fit",
        help="learn to read with a sentence-transformers model",
        description="Learn the projection through which a sentence-transformers model reads for a bundle: any words, "
        "not only those of the bundle. Needs the extra `text`; a show needs neither the model nor the projection.",
    )
    fit.add_argument("model", type=Path, metavar="FOLDER", help="a sentence-transformers model, in a local folder")
    fit.add_argument("out", type=Path, metavar="PROJECTION", help="the safetensors file to write")

    blend = actions.add_parser(
        "blend",
        help="make a preset between two others",
        description="Make the preset that lies SHARE of the way (0 to 1) from one to another.",
    )
    blend.add_argument("first", metavar="FROM")
    blend.add_argument("second", metavar="TO")
    blend.add_argument("share", metavar="SHARE", type=float)
    blend.add_argument("name", metavar="NAME")
    blend.add_argument("--replace", action="store_true", help="replace a preset of that name")

    export = actions.add_parser(
        "export",
        help="put presets into one show file",
        description="Write a show: presets and the name and hash of their bundle, in one file that can be carried.",
    )
    export.add_argument("file", type=Path, metavar="FILE.cymatic")
    export.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    export.add_argument("--midi", type=Path, metavar="FILE.json", help="what MIDI has learned (default: your own map)")
    export.add_argument("--with-bundle", action="store_true", help="put the bundle itself inside as well")

    taken = actions.add_parser("import", help="take presets, bundle and MIDI map of a show file in")
    taken.add_argument("file", type=Path, metavar="FILE.cymatic")
    taken.add_argument("--replace", action="store_true", help="replace presets of the same names, and the MIDI map")
    taken.add_argument("--midi", type=Path, metavar="FILE.json",
                       help="where to put what MIDI had learned (default: your own map)")  # fmt: skip

    build = actions.add_parser("build-library", help="make the shipped presets again, for a newly trained bundle")

    paint = actions.add_parser("thumbnails", help="paint the small pictures of your own presets, or of --folder")
    paint.add_argument("names", nargs="*", metavar="NAME", help="default: all")

    for action in (new, blend):
        action.add_argument("--refine", action="store_true",
                            help="search for the offsets with which the picture shows most of all that pulls at it; "
                            "half a minute, needs the extra `train`")  # fmt: skip
    for action in (new, fit, blend, export, build, paint):
        action.add_argument(
            "--bundle", default=DEFAULT_BUNDLE, metavar="NAME|PATH", help="the bundle whose words count"
        )
    for action in (listing, show, check, new, blend, export, taken, build, paint):
        action.add_argument("--folder", type=Path, metavar="DIR", help="use the presets in this folder only")
    parser.set_defaults(run=run, action="list", folder=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; `PresetError`, `ControlError` or `BundleError` for what cannot be done."""
    actions = {
        "list": _list, "show": _show, "check": _check, "new": _new, "fit": _fit, "blend": _blend, "export": _export,
        "import": _import, "build-library": _build_library, "thumbnails": _thumbnails,
    }  # fmt: skip
    actions[args.action](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    store = _store(args.folder)
    presets = [store.load(name) for name in store.names()]
    if not presets:
        _say("no preset found; make one with `cymatic presets new`")
        return
    width = max(len(preset.name) for preset in presets)
    bank = ""
    for position, preset in enumerate(presets, 1):
        if preset.bank != bank:
            bank = preset.bank
            _say(f"-- {bank}")
        _say(f"{position:>3}  {preset.name:<{width}}  {preset.description}".rstrip())


def _show(args: argparse.Namespace) -> None:
    for line in _lines(_store(args.folder).load(args.name)):
        _say(line)


def _check(args: argparse.Namespace) -> None:
    from presets.compose import compose, needs_encoder
    from presets.store import read_preset

    checked = _store(args.folder).check()
    bundle = _bundle(args.bundle) if args.bundle else None
    bad = 0
    for path, problem in checked:
        note = ""
        if problem is None and bundle is not None:
            preset = read_preset(path)
            try:
                if needs_encoder(preset, bundle):
                    note = "; its words will be embedded again for this bundle"
                    with _encoder(bundle) as encode:
                        compose(preset, bundle, 0, encode=encode)
                        ignored = [w for a in preset.anchors if a.kind == "text" for w in encode(a.source).ignored]
                    note += f", which does not know or cannot fit: {', '.join(ignored)}" if ignored else ""
                else:
                    compose(preset, bundle, 0)
            except PresetError as error:
                problem = str(error)
        bad += problem is not None
        _say(problem or f"good: {path.name.removesuffix('.json')}{note}")
    if bad:
        raise PresetError(f"{bad} of {len(checked)} presets cannot be used, see above")


def _new(args: argparse.Namespace) -> None:
    from presets.recipe import Recipe
    from presets.store import PresetStore, user_folder

    store = PresetStore([args.folder or user_folder()])
    _is_free(store, args)
    texts = tuple((words, _number(weight, f"--text {words!r}")) for words, weight in args.text)
    sounds = tuple((Path(file), _number(weight, f"--sound {file}")) for file, weight in args.sound)
    controls = dict(_assignment(text) for text in args.controls)
    maps = tuple(_map(words) for words in args.maps)
    images = tuple((Path(file), _number(weight, f"--image {file}")) for file, weight in args.image)
    recipe = Recipe(args.name, args.description, texts, args.seed, controls, args.fade, args.bank, maps)
    bundle = _bundle(args.bundle)
    _make(
        (recipe,), store, bundle, sentences=args.sentences, sounds=sounds,
        finish=lambda preset: with_images(preset, bundle, images, args.refine, _say, balanced=True),
    )  # fmt: skip


def _blend(args: argparse.Namespace) -> None:

    from engine.runtime import open_session
    from presets.blend import blend, seed_place
    from presets.store import PresetStore, user_folder

    found, store = _store(args.folder), PresetStore([args.folder or user_folder()])
    _is_free(store, args)
    bundle = _bundle(args.bundle)
    with closing(open_session(bundle.graph_path("mapping"))) as session:
        place = seed_place(session, bundle.manifest.z_dim)
        made = blend(found.load(args.first), found.load(args.second), args.share, args.name, place)
    made = with_images(made, bundle, (), args.refine, _say)
    _say(f"wrote {store.save(made)}")


def _export(args: argparse.Namespace) -> None:
    from cymatic.shows import pack

    store = _store(args.folder)
    presets = [store.load(name) for name in args.names or store.names()]
    pack(args.file, presets, _bundle(args.bundle), args.midi, args.with_bundle, _say)


def _import(args: argparse.Namespace) -> None:
    from cymatic.shows import take

    take(args.file, args.folder, args.replace, args.midi, _say)


def _is_free(store: PresetStore, args: argparse.Namespace) -> None:
    if not args.replace and args.name in store.own_names():  # also one that cannot be read here
        raise PresetError(f"there is a preset {args.name!r} already: choose another name, or give --replace")


def _fit(args: argparse.Namespace) -> None:

    from engine.runtime import open_session
    from presets.projection import Projection, ProjectionCard, write_projection

    sentences = _sentences()
    if args.out.is_dir() or not args.out.parent.is_dir():
        raise PresetError(f"{args.out} cannot be written: name a file in a folder that exists")
    bundle, fingerprint = _bundle(args.bundle), sentences.fingerprint(args.model)
    graph = bundle.manifest.graph("text").sha256
    with closing(open_session(bundle.graph_path("text"))) as session:
        weights, figures = sentences.fit(sentences.open_model(args.model), bundle, session)
    card = ProjectionCard(
        model=args.model.resolve().name, fingerprint=fingerprint, bundle=bundle.manifest.name, text_graph=graph,
        limit=sentences.LIMIT, fit=figures,
    )  # fmt: skip
    try:
        write_projection(args.out, Projection(card, weights))
    except OSError as error:
        raise PresetError(f"{args.out} cannot be written: {error.strerror or error}") from None
    _say(f"wrote {args.out}")
    _say("captions it has not learned from: " + ", ".join(f"{name} {value:g}" for name, value in figures.items()))


def _thumbnails(args: argparse.Namespace) -> None:
    from cymatic.thumbnails import paint_all

    paint_all(args.folder, args.names, _bundle(args.bundle), _say)


def _build_library(args: argparse.Namespace) -> None:
    from presets.shipped import LIBRARY
    from presets.store import SHIPPED, PresetStore

    _make(LIBRARY, PresetStore([args.folder or SHIPPED]), _bundle(args.bundle), backup=False)


def _make(
    recipes: Sequence[Recipe],
    store: PresetStore,
    bundle: Bundle,
    backup: bool = True,
    sentences: tuple[Path, Path] | None = None,
    sounds: Sequence[tuple[Path, float]] = (),
    finish: Callable[[Preset], Preset] = lambda preset: preset,
) -> None:
    """Write all of the recipes' presets, or none if one of them cannot be made."""
    graphs = bundle.manifest.graphs
    if "text" not in graphs and any(recipe.texts for recipe in recipes):
        raise PresetError(f"the bundle {bundle.manifest.name!r} knows no words")
    heard = _heard(bundle, sounds)
    if "text" in graphs:
        with _encoder(bundle) if sentences is None else _reader(bundle, *sentences) as encode:
            made = [recipe.build(encode, graphs["text"].sha256, heard) for recipe in recipes]
            ignored = {
                recipe.name: [word for text, _ in recipe.texts for word in encode(text).ignored] for recipe in recipes
            }
    else:
        made, ignored = [recipe.build(_no_words, "", heard) for recipe in recipes], {}
    for preset in map(finish, made):
        if ignored.get(preset.name):
            _say(f"{preset.name}: this bundle does not know or cannot fit: {', '.join(ignored[preset.name])}")
        _say(f"wrote {store.save(preset, backup=backup)}")


def _heard(bundle: Bundle, sounds: Sequence[tuple[Path, float]]) -> list[Anchor]:
    """An anchor for every clip."""
    from engine.runtime import open_session
    from presets.sound import GRAPHS, sound_anchor, sound_encoder

    if not sounds:
        return []
    graph = bundle.manifest.graphs["encoder"].sha256
    with ExitStack() as opened:
        sessions = {name: opened.enter_context(closing(open_session(bundle.graph_path(name)))) for name in GRAPHS}
        encode = sound_encoder(sessions, bundle)
        return [sound_anchor(path, weight, encode(path), graph) for path, weight in sounds]


def _no_words(text: str) -> Encoded:
    raise AssertionError(f"{text!r} cannot be read without a text graph")


def _lines(preset: Preset) -> Iterator[str]:
    from presets.schema import Seed

    yield f"{preset.name}: {preset.description}".rstrip(": ")
    if preset.bank:
        yield f"bank      {preset.bank}"
    yield f"base      {f'seed {preset.base.seed}' if isinstance(preset.base, Seed) else 'a stored latent'}"
    yield f"fade      {f'{preset.fade_s:g} s' if 'fade_s' in preset.model_fields_set else 'as the control says'}"
    for anchor in preset.anchors:
        yield f"{anchor.kind:<9} {anchor.weight:+.2f}  {anchor.source}"
    for name, value in preset.controls.items():
        yield f"control   {name} {value if isinstance(value, str) else f'{value:g}'}"
    for map in preset.maps:
        times = f"attack {map.attack_s:g} s, release {map.release_s:g} s, curve {map.curve:g}"
        yield f"map       {map.feature} {map.amount:+g} on {map.control}, {times}"


def _store(folder: Path | None) -> PresetStore:
    from presets.store import PresetStore

    if folder is None:
        return PresetStore.standard()
    if not folder.is_dir():
        raise PresetError(f"--folder {folder} is not a folder")
    return PresetStore([folder])


def _bundle(name: str) -> Bundle:
    from engine.bundle import find_bundle, load_bundle

    return load_bundle(find_bundle(name))


@contextmanager
def _encoder(bundle: Bundle) -> Iterator[TextEncoder]:
    """The bundle's text encoder; its graph is open inside the `with` block."""
    from engine.runtime import open_session
    from presets.text import text_encoder

    session = open_session(bundle.graph_path("text"))
    try:
        yield text_encoder(session, bundle.manifest.text)
    finally:
        session.close()


@contextmanager
def _reader(bundle: Bundle, folder: Path, path: Path) -> Iterator[TextEncoder]:
    """A sentence model in the place of the bundle's text encoder."""
    from presets.projection import projected, read_projection

    projection, sentences = read_projection(path), _sentences()
    if sentences.fingerprint(folder) != projection.card.fingerprint:
        raise PresetError(
            f"{path} was made with the model {projection.card.model!r}, whose files are not those of {folder}"
        )
    embed = sentences.open_model(folder)
    yield projected(projection, bundle, lambda text: embed([text])[0])


def _sentences() -> ModuleType:
    """`training.sentences`, which needs an extra."""
    try:
        from training import sentences
    except ImportError as error:
        raise PresetError(f"sentence models need {error.name}: pip install 'cymatic[text]'") from None
    return sentences


def _assignment(text: str) -> tuple[str, float | str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ControlError(f"--set {text!r}: wants CONTROL=VALUE, such as speed=0.5")
    name = name.strip()
    choice = name in CONTROLS and CONTROLS[name].kind == "choice"
    return name, value.strip() if choice else _number(value, f"--set {name}")


def _map(words: list[str]) -> dict[str, str | float]:
    if not 3 <= len(words) <= 6:
        raise ControlError(f"--map {' '.join(words)}: wants FEATURE CONTROL AMOUNT, then perhaps ATTACK RELEASE CURVE")
    keys = ("amount", "attack_s", "release_s", "curve")
    numbers = {key: _number(word, f"--map {words[0]}") for key, word in zip(keys, words[2:], strict=False)}
    return {"feature": words[0], "control": words[1], **numbers}


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ControlError(f"{what}: wants a number, not {text!r}") from None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
