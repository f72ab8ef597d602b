"""Random single changes to converted models, in `model.json` or in the weights.

`model.json` is changed as values or as text.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

NUMBERS = [0, 1, -1, 2, 3, 0.5, -0.5, 7, 255, 2**31 - 1, 2**31, 10**18, 10**40, 1e-30, 1e308]
OTHERS: list[Any] = [
    None, True, False, "", "x", [], {}, [None], "DT_FLOAT", "DT_INT32", "float32", "int32", "relu"
]  # fmt: skip
LITERALS = [
    "NaN", "Infinity", "-Infinity", "1e999", "[" * 5000, "[" * 300 + "]" * 300, '"\\ud800"', "nul", "0x1"
]  # fmt: skip
PATHS = [
    "../secret.bin", "/etc/hostname", "..\\secret.bin", "C:/x.bin", "link.bin", "a\0b", "x" * 300, ".",
    "model.json",
]  # fmt: skip

# Descriptions, and settings of training.
UNREAD = re.compile(
    r"generatedBy|convertedBy|keras_version|backend|training_config|trainable|module|registered_name"
    r"|build_config|momentum|.*_(initializer|regularizer|constraint)"
)


def attributes_read():
    """The attributes that TF.js reads of each operation."""
    return {
        entry["tfOpName"]: frozenset(attr["tfName"] for attr in entry.get("attrs", ()))
        for entry in operations_listed()
    }


def operations_listed():
    """The operations that TF.js executes, as the converter lists them."""
    # The file is found without importing the converter, which takes seconds.
    folder = Path(find_spec("tensorflowjs").origin).parent / "op_list"
    return [entry for file in folder.glob("*.json") for entry in json.loads(file.read_text())]


@dataclass
class Mutant:
    """`content`: the text of model.json; `shards`: bytes by name; `what`: what was changed, in words."""

    content: bytes
    shards: dict[str, bytes]
    what: str
    where: tuple[Any, ...] = ()

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        (folder / "model.json").write_bytes(self.content)
        for name, data in self.shards.items():
            (folder / name).write_bytes(data)
        return folder


def normal(content: Any, read: Mapping[str, frozenset[str]]) -> Any:
    """The parts of a model.json that TF.js reads; graph nodes by name.

    `read`: the attributes that TF.js reads of an operation.
    """
    if isinstance(content, dict):
        fields = {key: normal(value, read) for key, value in content.items() if not UNREAD.fullmatch(key)}
        if isinstance(fields.get("attr"), dict) and isinstance(fields.get("op"), str):
            names = read.get(fields["op"], frozenset())
            fields["attr"] = {key: value for key, value in fields["attr"].items() if key in names}
        if isinstance(fields.get("node"), list):
            fields["node"] = sorted(fields["node"], key=json.dumps)
        return fields
    return [normal(value, read) for value in content] if isinstance(content, list) else content


def mutant(
    chance: Random,
    content: dict[str, Any],
    shards: dict[str, bytes],
    read: Mapping[str, frozenset[str]],
) -> Mutant:
    """A mutant of a model; fields that TF.js does not read are seldom changed."""
    kind = chance.random()
    if kind < 0.66:
        return _with_value(chance, content, shards, read)
    if kind < 0.8:
        return _with_text(chance, content, shards)
    return _with_bytes(chance, content, shards)


def _with_value(
    chance: Random,
    content: dict[str, Any],
    shards: dict[str, bytes],
    read: Mapping[str, frozenset[str]],
) -> Mutant:
    changed = copy.deepcopy(content)
    any_place = chance.random() < 0.05
    places = [place for place in _places(changed) if any_place or _is_read(content, place, read)]
    # Every key has the same chance, however many nodes or weights have it.
    path = chance.choice(places) if chance.random() < 0.3 else _evenly(chance, places)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    change = chance.choice(_changes(holder, path[-1]))
    what = change(chance, changed, holder, path[-1])
    return Mutant(json.dumps(changed).encode(), shards, f"{'/'.join(map(str, path))}: {what}", path)


def _is_read(content: Any, place: tuple[Any, ...], read: Mapping[str, frozenset[str]]) -> bool:
    if "attr" in place[:-1]:
        at = place.index("attr")
        if place[at + 1] not in read.get(_at(content, place[:at])["op"], frozenset()):
            return False
    return not any(isinstance(step, str) and UNREAD.fullmatch(step) for step in place)


def _evenly(chance: Random, places: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    kinds: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for place in places:
        kinds.setdefault(tuple(step for step in place if isinstance(step, str)), []).append(place)
    return chance.choice(kinds[chance.choice(sorted(kinds))])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _changes(holder: Any, key: Any) -> list[Any]:
    value = holder[key]
    found = [_drop, _retype, _exchange]
    if isinstance(holder, dict):
        found.append(_rename)
    if isinstance(holder, list):
        found += [_repeat, _swap]
    if isinstance(value, bool):
        found += [_flip] * 3
    elif isinstance(value, int | float):
        found += [_number] * 3
    elif isinstance(value, str):
        found += [_word] * 3
    if key == "paths":
        found += [_paths] * 3
    return found


def _drop(chance: Random, root: Any, holder: Any, key: Any) -> str:
    del holder[key]
    return "dropped"


def _retype(chance: Random, root: Any, holder: Any, key: Any) -> str:
    value = holder[key]
    ways: list[Any] = [str(value), [value], {"a": value}, None, *OTHERS]
    if isinstance(value, str) and value.lstrip("-").isdigit():
        ways += [int(value)] * 3
    holder[key] = chance.choice(ways)
    return f"is {str(holder[key])[:40]!r}"


def _exchange(chance: Random, root: Any, holder: Any, key: Any) -> str:
    """The value of the same key at another place."""
    others = [
        place for place in _places(root)
        if place[-1] == key or (isinstance(key, int) and isinstance(place[-1], int))
    ]  # fmt: skip
    place = chance.choice(others)
    value = root
    for step in place:
        value = value[step]
    holder[key] = copy.deepcopy(value)
    return f"is that of {'/'.join(map(str, place))}"


def _rename(chance: Random, root: Any, holder: Any, key: Any) -> str:
    name = chance.choice([f"{key}x", key.upper(), "__proto__", "constructor", ""])
    holder[name] = holder.pop(key)
    return f"is called {name!r}"


def _repeat(chance: Random, root: Any, holder: Any, key: Any) -> str:
    holder.insert(key, copy.deepcopy(holder[key]))
    return "appears twice"


def _swap(chance: Random, root: Any, holder: Any, key: Any) -> str:
    other = chance.randrange(len(holder))
    holder[key], holder[other] = holder[other], holder[key]
    return f"swapped with {other}"


def _flip(chance: Random, root: Any, holder: Any, key: Any) -> str:
    holder[key] = not holder[key]
    return f"is {holder[key]}"


def _number(chance: Random, root: Any, holder: Any, key: Any) -> str:
    value = holder[key]
    holder[key] = chance.choice([value + 1, value - 1, -value, 2 * value, value + 0.5, *NUMBERS])
    return f"is {holder[key]}"


def _word(chance: Random, root: Any, holder: Any, key: Any) -> str:
    words = sorted({_at(root, place) for place in _places(root) if isinstance(_at(root, place), str)})
    value = holder[key]
    holder[key] = chance.choice([*words, f"{value}x", value[:-1], value.upper(), "__proto__", "DT_HALF"])
    return f"is {str(holder[key])[:40]!r}"


def _paths(chance: Random, root: Any, holder: Any, key: Any) -> str:
    holder[key] = [chance.choice(PATHS)]
    return f"is {holder[key][0][:40]!r}"


def _at(root: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        root = root[step]
    return root


def _with_text(chance: Random, content: dict[str, Any], shards: dict[str, bytes]) -> Mutant:
    text = bytearray(json.dumps(content).encode())
    kind = chance.choice(["cut", "flip", "insert", "literal", "twice", "blank"])
    at = chance.randrange(len(text))
    if kind == "cut":
        del text[at:]
    elif kind == "flip":
        text[at] ^= 1 << chance.randrange(8)
    elif kind == "insert":
        text[at:at] = chance.randbytes(chance.randint(1, 4))
    elif kind == "blank":
        text[at:at] = chance.choice([b" ", b"\n"])
    else:
        separator = chance.choice([place for place in range(len(text)) if text[place : place + 2] == b": "])
        if kind == "literal":
            text[separator + 2 : separator + 2] = chance.choice(LITERALS).encode()
        else:
            begin = bytes(text[:separator]).rindex(b'"', 0, separator - 1)
            text[begin:begin] = bytes(text[begin:separator]) + b": 0, "
    return Mutant(bytes(text), shards, f"the text of model.json: {kind} at {at}")


def _with_bytes(chance: Random, content: dict[str, Any], shards: dict[str, bytes]) -> Mutant:
    name = chance.choice(sorted(shards))
    data = bytearray(shards[name])
    kind = chance.choice(["flip", "flip", "flip", "cut", "insert", "swap", "zero", "missing"])
    at = chance.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = chance.randbytes(chance.randint(1, 9))
    elif kind == "swap":
        other = chance.randrange(len(data))
        data[at : at + 4], data[other : other + 4] = data[other : other + 4], data[at : at + 4]
    elif kind == "zero":
        data[at : at + 4] = bytes(len(data[at : at + 4]))
    left = {other: value for other, value in shards.items() if other != name}
    given = left if kind == "missing" else {**left, name: bytes(data)}
    return Mutant(json.dumps(content).encode(), given, f"{name}: {kind} at {at}")
