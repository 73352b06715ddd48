"""Values are frozen: what is changed in place is the state of a component, and is named here."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Final

import protocol

# State, each held by one component.
_STATE: Final = {
    "batches.Batch",
    "batches.Planned",
    "chain.Summary",
    "commitments.Bound",
    "evidence._Pair",
    "following._Teller",
    "following._UnderWay",
    "leases.Lease",
    "peer.Peer",
    "planning.Course",
    "planning.Planned",
    "rates.Bucket",
    "seats.Seat",
    "seen._Sender",
    "task.Task",
}
# What they compute once is kept in the object.
_WITH_A_CACHE: Final = {"genesis.Genesis", "parameters.Parameters"}


def _dataclasses() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(protocol.__path__):
        for name, item in vars(importlib.import_module(f"protocol.{module.name}")).items():
            if inspect.isclass(item) and dataclasses.is_dataclass(item) and item.__module__ == f"protocol.{module.name}":
                found[f"{module.name}.{name}"] = item
    return found


def test_dataclasses__are_frozen_unless_they_are_the_state_of_a_component() -> None:
    thawed = {name for name, kind in _dataclasses().items() if not kind.__dataclass_params__.frozen}  # type: ignore[attr-defined]
    assert thawed == _STATE


def test_dataclasses__have_slots_so_that_a_misspelt_field_is_an_error() -> None:
    assert {name for name, kind in _dataclasses().items() if "__slots__" not in vars(kind)} == _WITH_A_CACHE
