"""Brands of detectors: which head reads a network that one of them made, and with which parameters.

A brand decodes nothing. `BRANDS` lists them by name; a new one is a new module and a name in the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from edgecv.heads.base import Brand
from edgecv.registry import Registry


def _module(name: str) -> Any:
    return import_module(f"edgecv.heads.brands.{name}")


_NAMES: tuple[str, ...] = ("classifier",)

BRANDS: Mapping[str, Brand] = Registry(_NAMES, _module)
