"""Examines what a run needs before there is one: address, key, role, clock, state; with the remedy for what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.app.context import Context
from orchestrator.app.instances import make_access
from orchestrator.app.state import State, find_state, is_shared, open_state_async
from orchestrator.errors import OmniRefreshError, UsageError
from orchestrator.manifest.manifest import Instance, Manifest
from orchestrator.omni.answers import WhoAmI
from orchestrator.omni.errors import CallError, CallErrorKind, KeyRefused, Refused
from orchestrator.quota.rate_limiter import LimiterClosed, StopReason
from orchestrator.survey.survey import Survey

CLOCKS_APART_S: Final = 60.0
"""A clock that is further from the server's than this is wrong."""

_ROLES_ASKED: Final = 100
_ENOUGH: Final = "CONNECTION_ADMIN"
_MAYBE_ENOUGH: Final = "MODELER"


class Health(StrEnum):
    """How a part of the set-up is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One part of the set-up: `what` is a word for it, `instance` whose it is, `fix` what to do if it is not ok."""

    what: str
    health: Health
    words: str
    instance: str | None = None
    fix: str = ""


async def examine(
    manifest: Manifest, context: Context, *, with_models: bool = True, state: str | None = None
) -> tuple[Examined, ...]:
    """Examine what a run of `manifest` needs: one small read for each instance, paid from its key's budget.

    `with_models`: also the key's role on the models that the manifest names by id.
    """
    context.hide_secrets(manifest)
    found: list[Examined] = []
    place = find_state(context, state, manifest)
    shared = place is not None and is_shared(place)
    async with AsyncExitStack() as stack:
        opened: State | None = None
        try:
            opened = await stack.enter_async_context(open_state_async(context, state, manifest=manifest))
        except OmniRefreshError as error:
            if shared:
                # calls that the other machines do not know of would break their budget
                fix = "run `omni-refresh state check`; the instances are examined when the state can be used"
                return (Examined(what="state", health=Health.ERROR, words=str(error), fix=fix),)
            fix = "name a folder of a local disk that you may write to: OMNI_REFRESH_STATE_DIR"
            in_state = Examined(what="state", health=Health.ERROR, words=str(error), fix=fix)
        else:
            runs = len(await opened.call(opened.journal.runs))
            name = "the shared state" if opened.folder is None else str(opened.folder)
            words = f"{name} can be written ({runs} earlier run{'' if runs == 1 else 's'})"
            in_state = Examined(what="state", health=Health.OK, words=words)
        access = make_access(context, manifest.instances, opened)
        async with Survey(manifest.instances, access) as survey:
            for instance in manifest.instances.values():
                named = [e.model_id for e in manifest.entries if e.instance == instance.name and e.enabled]
                models = [model for model in named if model is not None] if with_models else []
                found += [each async for each in _examine_instance(instance, models, survey, context)]
    return (*found, in_state)


async def _examine_instance(
    instance: Instance, models: Sequence[str], survey: Survey, context: Context
) -> AsyncIterator[Examined]:
    """Yield address, key, role and clock of an instance, as far as they can be known."""
    name, url = instance.name, instance.base_url
    keys = ", ".join(_key_name(instance, number) for number in range(len(instance.keys)))
    began_at = context.clock.now()
    who: WhoAmI | None = None
    error: CallError | None = None
    try:
        calls = await survey.calls(name)
        reader = await survey.look_up(name)
        asked = tuple(dict.fromkeys(models))[:_ROLES_ASKED]
        try:
            who = await reader.read(lambda key: calls.client.whoami(asked, key))
        except Refused as refused:
            error = refused
    except (LimiterClosed, CallError, UsageError) as failed:
        if not (isinstance(failed, LimiterClosed) and failed.reason is StopReason.KEYS_REFUSED):
            words = survey.why(failed) if isinstance(failed, LimiterClosed) else str(failed)
            fix = f"look at the address ({instance.base_url_place or 'base_url'}), the network and the proxy variables"
            yield _of(instance, "address", Health.ERROR, f"{url} does not answer: {words}", fix)
            return
        error = KeyRefused(CallErrorKind.KEY_REFUSED, failed.detail)
    took_s = context.clock.now() - began_at
    yield _of(instance, "address", Health.OK, f"{url} answers, in {took_s:.1f} s")
    if isinstance(error, KeyRefused):
        fix = f"set {keys} to a key that is valid on {url}; keys are made in Omni under Settings, API keys"
        yield _of(instance, "key", Health.ERROR, f"the server refused {keys}", fix)
    else:
        scope = f", scope {who.key_scope}" if who is not None and who.key_scope else ""
        yield _of(instance, "key", Health.OK, f"{keys}{scope}")
        yield _role(instance, who, error, asked=bool(models))
    server = calls.client.server_time
    if server is not None:
        apart_s = abs((server - context.clock.utcnow()).total_seconds())
        if apart_s <= CLOCKS_APART_S:
            yield _of(instance, "clock", Health.OK, f"{apart_s:.0f} s from the server's")
        else:
            words = f"{apart_s:.0f} s from the server's: times in reports are wrong, and certificates may be refused"
            yield _of(
                instance, "clock", Health.WARNING, words, "synchronize the clock, for example timedatectl set-ntp true"
            )


def _role(instance: Instance, who: WhoAmI | None, error: CallError | None, *, asked: bool) -> Examined:
    need = "a refresh needs Connection Admin, or Modeler if the connection has one shared model"
    if who is None:
        words = f"the roles on the models cannot be read: {error}"
        return _of(
            instance, "role", Health.WARNING, words, "see which model is not visible: omni-refresh check --online"
        )
    # without models the server lists any that the key has a role on
    listed = who.roles if asked else ()
    roles = sorted({role.base_role.upper() for role in listed if role.base_role is not None})
    if not roles:
        words = f"organization role {who.org_role or 'unknown'}"
        rest = "" if asked else "; the role on a model is examined if the manifest names its id"
        return _of(instance, "role", Health.OK, words + rest)
    words = f"{', '.join(roles)} on the models of the manifest"
    if roles == [_ENOUGH]:
        return _of(instance, "role", Health.OK, words)
    only_maybe = set(roles) <= {_ENOUGH, _MAYBE_ENOUGH}
    return _of(instance, "role", Health.WARNING if only_maybe else Health.ERROR, words, need)


def _of(instance: Instance, what: str, health: Health, words: str, fix: str = "") -> Examined:
    return Examined(what=what, health=health, words=words, instance=instance.name, fix=fix)


def _key_name(instance: Instance, number: int) -> str:
    source = instance.keys[number].source
    return source.text or str(source.file)


def make_doctor_document(examined: Sequence[Examined], *, redact: Callable[[str], str]) -> dict[str, object]:
    """Return what was examined as JSON data: what `doctor --json` prints."""
    names = ("what", "instance", "health", "words", "fix")

    def shown(value: str | None) -> str | None:
        return None if value is None else redact(value)

    rows = [{name: shown(getattr(each, name)) for name in names} for each in examined]
    return {"examined": rows, "exit_code": exit_code_of(examined)}


def exit_code_of(examined: Sequence[Examined]) -> int:
    """3 if a key was refused, 1 if something else is wrong, else 0."""
    errors = [each for each in examined if each.health is Health.ERROR]
    if any(each.what == "key" for each in errors):
        return 3
    return 1 if errors else 0
