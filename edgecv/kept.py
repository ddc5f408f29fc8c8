"""What was compiled before: looked up by a model's files, before any of their readers is imported.

A key is of every given file, the backend with its version and build, the options and the shapes. An entry is
a plan with its card and all that was said of the files. In doubt it keeps nothing and finds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgecv import backends, container, hashes, planfile
from edgecv import card as cards
from edgecv.backends.base import CompileOptions
from edgecv.backends.cache import Cache, key_of
from edgecv.errors import EdgeCVError, InputError, ModelFileError, ModelNotFoundError
from edgecv.lookup import Loaded, given
from edgecv.planfile import Told

if TYPE_CHECKING:
    from edgecv.backends.session import Session
    from edgecv.container import Container
    from edgecv.graph.model import OnnxModel
    from edgecv.options import LoadOptions

Fingerprint = list[tuple[str, str]]


class Place:
    """Where in the cache a model of some files and options is, or would be.

    source: what the user named. files: those that were looked at; None of a network in memory.
    """

    def __init__(
        self,
        cache: Cache,
        saver: str,
        parts: Mapping[str, Any],
        source: str,
        files: given.Given | None,
        fingerprint: Fingerprint,
    ) -> None:
        self._cache, self._saver, self._files = cache, saver, files
        self._fingerprint = fingerprint
        self.source = source
        self._key = key_of({**parts, "files": fingerprint})

    def find(self) -> Container | None:
        """The plan that was kept; None where there is none, or it is damaged, which is remarked on."""
        path = self._cache.get(self._key)
        if path is None:
            return None
        try:
            found = container.read(path)
            found.expect(planfile.KIND)
        except ModelNotFoundError:
            # Another process has made room.
            return None
        except ModelFileError as error:
            self.reject(error)
            return None
        return found

    def find_model(self) -> Loaded | None:
        """As `find`, as a model with its card."""
        plan = self.find()
        if plan is None:
            return None
        try:
            text = planfile.card_of(plan)
            told = planfile.told_by(plan)
            card = cards.parse(text or b"", origin=f"{plan.origin}: {planfile.CARD}")
        except EdgeCVError as error:
            self.reject(error)
            return None
        from pathlib import Path

        paths = tuple(map(Path, dict.fromkeys([self.source, *(self._files.paths if self._files else ())])))
        return Loaded(
            card,
            {},
            None,
            tuple(path for path in paths if path.is_file() or path.is_dir()),
            is_drafted=told.is_drafted,
            remarks=told.remarks,
            assumptions=told.assumptions,
            plan=plan,
        )

    def reject(self, error: EdgeCVError) -> None:
        """Drop an entry that turned out to be damaged, and say so."""
        import logging

        self._cache.discard(self._key)
        logging.getLogger("edgecv").warning("the cached plan of %s is made again: %s", self.source, error)

    def keep(
        self,
        sessions: Mapping[str, Session[Any]],
        networks: Mapping[str, OnnxModel],
        card: cards.ModelCard | None = None,
        told: Told = Told(),  # noqa: B008 - frozen
    ) -> None:
        """Save the plans, unless a file has changed since, or weights lie in other files. What goes wrong is
        logged, and fails no load."""
        try:
            self._keep(sessions, networks, card, told)
        except (EdgeCVError, ValueError, MemoryError, OSError) as error:
            import logging

            logging.getLogger("edgecv").info("%s: its plan is not kept: %s", self.source, error)

    def _keep(
        self,
        sessions: Mapping[str, Session[Any]],
        networks: Mapping[str, OnnxModel],
        card: cards.ModelCard | None,
        told: Told,
    ) -> None:
        is_whole = all(network.is_self_contained for network in networks.values())
        compiled = {stage: session.compiled for stage, session in sessions.items()}
        runs = {one.placement.backend for one in compiled.values()} == {self._saver}
        fell_back = any(one.placement.fallbacks for one in compiled.values())
        if not is_whole or not runs or fell_back or self._has_changed():
            return
        text = None if card is None else cards.dumps(card)
        data = backends.BACKENDS[self._saver].save(compiled, text, told, self.source)
        if data is not None:
            self._cache.put(self._key, data)

    def networks(self, read: Callable[[], Mapping[str, OnnxModel]]) -> Mapping[str, OnnxModel]:
        """The networks that a plan was made of, as `read` reads them.

        Raises InputError where their files are not those of the plan any more.
        """
        found = read()
        if self._has_changed():
            raise InputError(
                f"{self.source}: expected the files that were loaded, and they have changed since: load it "
                "anew"
            )
        return found

    def _has_changed(self) -> bool:
        return self._files is not None and given.fingerprint(self._files) != self._fingerprint


def of_model(
    model: str | os.PathLike[str], options: LoadOptions, asked: CompileOptions, task: str | None = None
) -> Place | None:
    """The place of a model that `load` is asked for, to do a task; None where it is not looked up."""
    files = given.files_read(model, options.weights, options.labels, options.mean)
    parts = {"kind": "model", "imgsz": options.imgsz, "labels": options.labels is not None, "task": task}
    return _place(files, os.fspath(model), parts, options, asked)


def of_network(
    model: str | os.PathLike[str] | bytes, options: LoadOptions, asked: CompileOptions
) -> Place | None:
    """The place of a network that `compile` is asked for; None where it is not looked up."""
    if isinstance(model, bytes):
        if options.weights is not None:
            # It is an error, which whoever reads the network raises.
            return None
        known = [("bytes", hashes.digest(model))]
        return _place(None, f"{len(model)} bytes", {"kind": "network"}, options, asked, known)
    files = given.network_files(model, options.weights)
    return _place(files, os.fspath(model), {"kind": "network"}, options, asked)


def _place(
    files: given.Given | None,
    source: str,
    parts: Mapping[str, Any],
    options: LoadOptions,
    asked: CompileOptions,
    fingerprint: Fingerprint | None = None,
) -> Place | None:
    cache = Cache.default() if options.cache else None
    saver = backends.first_choice(options.backend)
    build = None if saver is None else backends.BACKENDS[saver].build()
    if cache is None or saver is None or build is None or (files is None and fingerprint is None):
        return None
    known = {
        **parts,
        "backend": saver,
        "version": backends.BACKENDS[saver].version(),
        "build": build,
        "device": asked.device or backends.BACKENDS[saver].default_device,
        "threads": asked.threads,
        "precision": asked.precision,
    }
    found = given.fingerprint(files) if fingerprint is None and files is not None else fingerprint
    assert found is not None
    return Place(cache, saver, known, source, files, found)
