"""Reading and writing the policy document of a share: JSON, every field optional, unknown ones refused by name.

What a person hands in goes through `check_policy`; what was stored after that goes through `read_policy`, which never
asks what a cron text means: a policy that was once taken must stay readable whatever later cron parsers think of it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import msgspec
from msgspec import Struct

from core.errors import Refused
from snapshots.policy import POLICY_VERSION, RETENTION_PRESETS, Policy, PolicyUnreadable

ScheduleCheck = Callable[[str], object]
"""Raises a `Refused` for a text that is no schedule; the appliance passes its parser of cron texts."""

_UNKNOWN = "Object contains unknown field `"
_AT = " - at `$"


def check_policy(document: object, check_schedule: ScheduleCheck) -> Policy:
    """Return the policy that a decoded JSON document asks for; raise `PolicyUnreadable` naming field and remedy."""
    policy = _convert(document)
    if policy.schedule is not None:
        try:
            check_schedule(policy.schedule)
        except Refused as error:
            raise PolicyUnreadable(f"schedule: {error.message}", remedy=error.remedy) from error
    return policy


def read_policy(text: bytes) -> Policy:
    """Return a policy from its JSON text; raise `PolicyUnreadable`."""
    try:
        return _convert(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PolicyUnreadable(f"the policy document is no JSON: {error}", remedy="write one JSON object") from error


def write_policy(policy: Policy) -> bytes:
    """Return a policy as JSON text with every field, for people to read and edit; `read_policy` returns it unchanged."""
    return msgspec.json.format(msgspec.json.encode(policy), indent=2) + b"\n"


def _convert(document: object) -> Policy:
    if not isinstance(document, Mapping):
        raise PolicyUnreadable("the policy document is no JSON object", remedy="write {} for all defaults")
    version = document.get("version", POLICY_VERSION)
    if type(version) is int and version > POLICY_VERSION:
        raise PolicyUnreadable(
            f"version is {version}, and this appliance knows policy documents up to {POLICY_VERSION}",
            remedy="upgrade the appliance",
        )
    try:
        return msgspec.convert(_without_preset(document), Policy)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error


def _without_preset(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the name of a preset replaced by what it stands for: later presets change no stored policy."""
    retention = document.get("retention")
    if not isinstance(retention, str):
        return dict(document)
    if retention not in RETENTION_PRESETS:
        raise PolicyUnreadable(
            f"retention: there is no preset {retention[:60]!r}",
            remedy=f"name one of {', '.join(RETENTION_PRESETS)}, or write the rules themselves",
        )
    return {**document, "retention": RETENTION_PRESETS[retention]}


def _refusal(message: str) -> PolicyUnreadable:
    """Return the refusal for msgspec's message, which ends with the field's path."""
    what, _, where = message.rpartition(_AT) if _AT in message else (message, "", "")
    path = where.rstrip("`").lstrip(".").split(".") if where else []
    shape = _shape_at(path)
    if what.startswith(_UNKNOWN) and _fields(shape):
        name = ".".join((*path, what.removeprefix(_UNKNOWN).rstrip("`")))
        known = ", ".join(field.name for field in _fields(shape))
        return PolicyUnreadable(f"there is no field {name[:100]!r}", remedy=f"the fields are {known}")
    return PolicyUnreadable(
        f"{'.'.join(path)[:100] or 'the policy document'} must be {_meaning_of(shape)}",
        remedy="correct it, or leave it out for the default",
    )


def _shape_at(path: Iterable[str]) -> Any:
    """Return the annotation of the field at a path; None when there is none (a key of the document may look like a path)."""
    shape: Any = Policy
    for name in path:
        shape = next((field.type for field in _fields(shape) if field.name == name), None)
    return shape


def _meaning_of(shape: Any) -> str:
    """Return what a field must be, in words, as the description of its type says."""
    notes = [note for part in (shape, *get_args(shape)) for note in getattr(part, "__metadata__", ())]
    return next((note.description for note in notes if note.description), "an object with the fields of a policy document")


def _fields(shape: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(shape) if isinstance(shape, type) and issubclass(shape, Struct) else ()
