"""Caffe networks, a text file and its weights, into ONNX and a draft card.

The graph ends where the network's own layers do: DetectionOutput, DetectNet's clustering and the
Proposal of a Faster R-CNN become the card's head, and what they take becomes the graph's outputs. Inputs
and outputs keep the names of Caffe's blobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from edgecv.graph.model import OnnxModel
from edgecv.importers.base import Imported, card_name
from edgecv.importers.caffe.caffemodel import read_weights
from edgecv.importers.caffe.conversion import convert
from edgecv.importers.caffe.digits import find_job
from edgecv.importers.caffe.drafting import Feeding, draft
from edgecv.importers.caffe.mean import Mean
from edgecv.importers.caffe.prototxt import read as read_prototxt
from edgecv.importers.labels import relabel

__all__ = ["Mean", "read", "read_digits", "read_networks"]


def read(
    prototxt: Path, caffemodel: Path, *, mean: Mean | None = None, labels: Path | None = None
) -> Imported:
    """A network of Caffe's, of today's format or the V1 format.

    mean: what is subtracted from a picture, where the network's files do not say: a mean file
    (binaryproto or *.npy), or a number for all channels or one each. labels: its class names, one a line.
    Raises ModelNotFoundError; ModelFileError that names the file, and the line or the layer, for what is
    damaged, does not fit or is not supported; NoPictureError for a network that no picture can feed;
    InputError for a mean or labels that do not fit the network. Memory: at most the weights file three times.
    """
    return _read(prototxt, caffemodel, Feeding(mean=mean), labels)


def read_digits(folder: Path, *, mean: Mean | None = None, labels: Path | None = None) -> Imported:
    """The last snapshot of a DIGITS job, with its mean and labels, or those that are given.

    Raises as `read` does.
    """
    job = find_job(folder)
    feeding = Feeding(job.mean if mean is None else mean, job.resize, is_stated=True)
    imported = _read(job.structure, job.weights, feeding, labels or job.labels)
    card = msgspec.structs.replace(imported.card, name=card_name(job.name))
    return replace(imported, card=card, assumptions=(*job.assumptions, *imported.assumptions))


def read_networks(source: Path, caffemodel: Path | None = None) -> Mapping[str, OnnxModel]:
    """The networks alone, by stage, whatever their inputs take.

    source: a prototxt, or the folder of a DIGITS job, which brings its weights. Raises as `read` does.
    """
    if caffemodel is None:
        job = find_job(source)
        source, caffemodel = job.structure, job.weights
    return convert(read_prototxt(source), read_weights(caffemodel)).networks


def _read(prototxt: Path, caffemodel: Path, feeding: Feeding, labels: Path | None) -> Imported:
    network = read_prototxt(prototxt)
    imported = draft(network, convert(network, read_weights(caffemodel)), prototxt, feeding)
    if labels is None:
        return imported
    return replace(imported, card=relabel(imported.card, imported.networks, labels))
