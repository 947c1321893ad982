"""Every key of a manifest, for the reader, the JSON Schema and the documentation."""

from __future__ import annotations

from typing import Final

from orchestrator.manifest.credentials import ADDRESS, API_KEYS, CA_FILE, KEY_FILES, STATE_PLACE
from orchestrator.manifest.diagnostics import InvalidValueError
from orchestrator.manifest.fields import (
    DURATION,
    FLAG,
    LABEL,
    MANIFEST_NAME,
    NAME,
    NAMES,
    UUID,
    Field,
    FieldType,
    JsonSchema,
    by_name,
    many,
    nested,
    table,
    whole,
    word,
)
from orchestrator.manifest.manifest import Mode, OnAmbiguous, RefreshKind, Verify
from orchestrator.manifest.notices import NOTICES
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.yaml_nodes import Node

VERSION: Final = "1"
MAX_WORKERS: Final = 1_000


def _read_version(reading: ReadContext, node: Node, key: str) -> str:
    text = reading.text(node)
    if text != VERSION:
        hint = f"this program reads version {VERSION}: write `{key}: {VERSION}`"
        raise InvalidValueError(f"is {reading.show(text)}", code="unknown-version", hint=hint)
    return text


RATE_LIMIT: Final = table(
    "`rate_limit`",
    Field("requests", whole(1, 100_000), default="60", meaning="The number of calls in any `per`, of any kind."),
    Field("per", DURATION, default="60s", meaning="The window that the calls are counted in."),
    aliases={
        "requests": "limit max calls rate count",
        "per": "period window interval seconds time every",
    },
)

POLL: Final = table(
    "`poll`",
    Field(
        "min",
        DURATION,
        default="2s",
        meaning="The shortest time between two polls of one job. Below 1s only against this machine (loopback).",
    ),
    Field(
        "max",
        DURATION,
        default="60s",
        meaning="The longest time between two polls of one job, if the budget allows.",
    ),
    aliases={
        "min": "minimum from interval every start initial",
        "max": "maximum to until limit",
    },
)

INSTANCE: Final = table(
    "an instance",
    Field(
        "base_url",
        ADDRESS,
        example="https://blobsrus.omniapp.co",
        required=True,
        meaning="The instance's address, with or without a trailing slash or `/api`; https, or http to this machine.",
    ),
    Field(
        "api_keys",
        API_KEYS,
        example=["${OMNI_API_TOKEN}"],
        meaning="The keys, each as `${VARIABLE}`: never the key itself. The quota of each is used.",
    ),
    Field(
        "api_key_file",
        KEY_FILES,
        example="/run/secrets/omni",
        meaning="A file that contains one key, or several such files; from the manifest's folder. Adds to `api_keys`.",
    ),
    Field(
        "rate_limit",
        nested(RATE_LIMIT),
        default="{requests: 60, per: 60s}",
        example={"requests": 60, "per": "60s"},
        meaning="What one key may send.",
    ),
    Field("request_timeout", DURATION, default="30s", meaning="How long one call may take."),
    Field(
        "ca_file",
        CA_FILE,
        example="corporate-ca.pem",
        meaning="Certificates (PEM) of the authority that signed the instance's; from the manifest's folder.",
    ),
    aliases={
        "base_url": "url host hostname base endpoint address server",
        "api_keys": "api_key key keys token tokens api_token api_tokens bearer",
        "api_key_file": "key_file token_file api_keys_file api_key_files api_token_file",
        "rate_limit": "rate limit limits quota rpm requests_per_minute requests",
        "ca_file": "ca cafile ca_bundle ca_cert cacert cert certificate tls",
        "request_timeout": "timeout http_timeout read_timeout",
        "certificates are always verified: name your authority with `ca_file`": "verify verify_ssl ssl_verify verify_tls insecure",
        "it belongs at the top of the manifest": "workers",
    },
)

_TARGET_FIELDS: Final = (
    Field(
        "instance",
        NAME,
        default="the only one",
        example="prod",
        meaning="Which instance the model belongs to; required if there are several.",
    ),
    Field(
        "branch",
        NAME,
        example="nightly/schema",
        meaning="A branch's name or id, or a pattern with `*`, `?` or `[...]`: one target for each branch that matches. Required if branch-based schema refresh is on, forbidden if it is off.",
    ),
    Field(
        "max_branches",
        whole(1, 1_000),
        default="20",
        example=50,
        meaning="The most branches that a pattern may match. If more match, none is refreshed.",
    ),
    Field(
        "refresh",
        word(RefreshKind),
        default="schema",
        example="dbt_sync",
        meaning="`schema`, or `dbt_sync`: only reads the metadata of dbt (descriptions, tags) into a branch, not the warehouse.",
    ),
    Field(
        "mode",
        word(Mode),
        default="hard, or soft with schemas or tables",
        example="soft",
        meaning="`hard` also removes what was dropped; `soft` only adds. A scope and `hard` in one model are an error.",
    ),
    Field(
        "schemas",
        NAMES,
        example=["finance"],
        meaning="Only these schemas are refreshed; sent as written, `*` is a wildcard. One name, or a list.",
    ),
    Field(
        "tables",
        NAMES,
        example=["finance.invoices", "finance.ledger_*"],
        meaning="Only these tables are refreshed; with `schemas`, those of them within these schemas.",
    ),
    Field("tags", NAMES, example=["nightly", "emea"], meaning="Words to select models by."),
    Field(
        "connection",
        NAME,
        default="looked up",
        example="warehouse-eu",
        meaning="The connection's id, its name, or any label. Refreshes on one connection never overlap.",
    ),
    Field(
        "reads",
        NAMES,
        default="the scopes",
        example=["finance", "ledger"],
        meaning="The schemas or tables that this model reads. A change that touches one of them concerns the model.",
    ),
    Field("wait", FLAG, default="true", meaning="Whether the job is followed to its end."),
    Field(
        "timeout",
        DURATION,
        default="30m",
        example="45m",
        meaning="From the accepted refresh to a finished job; waiting for quota is not counted.",
    ),
    Field(
        "retries",
        whole(0, 100),
        default="3",
        meaning="How often a failure that allows a retry is retried; 429 does not count.",
    ),
    Field(
        "poll",
        nested(POLL),
        default="{min: 2s, max: 60s}",
        example={"min": "2s", "max": "60s"},
        meaning="Bounds for following one job.",
    ),
    Field(
        "on_ambiguous",
        word(OnAmbiguous),
        default="report",
        meaning="If it is unknown whether the refresh call arrived: `report` that, or `resend` the call.",
    ),
    Field(
        "verify",
        word(Verify),
        default="none",
        example="scope",
        meaning="Verification after the job: `none`, `scope` (does the model have the requested scope?), `validate` (did the refresh add validation issues?) or `content` (did the refresh break documents?).",
    ),
    Field("enabled", FLAG, default="true", meaning="`false` keeps a model in the manifest and skips it."),
)

_TARGET_ALIASES: Final = {
    "mode": "hard_refresh hard soft refresh_mode full_refresh type",
    "refresh": "refresh_kind kind refresh_type dbt_sync",
    "branch": "branch_id branch_name git_branch branches branch_pattern",
    "max_branches": "branch_limit max_branch branches_max",
    "schemas": "schema schema_name schema_names",
    "tables": "table table_name table_names views",
    "tags": "tag labels groups group",
    "connection": "connection_id connection_name connections database",
    "instance": "instance_name instances organization org tenant",
    "retries": "retry max_retries attempts max_attempts",
    "timeout": "job_timeout timeout_s timeout_seconds max_wait deadline duration",
    "poll": "poll_interval polling interval poll_min poll_max",
    "enabled": "disabled skip active enable",
    "wait": "follow no_wait async",
    "on_ambiguous": "ambiguous on_unknown resend",
    "reads": "read depends_on sources",
    "verify": "validate verification",
    "it belongs at the top of the manifest": "workers",
    "it belongs to an instance": "request_timeout rate_limit base_url api_keys",
}

DEFAULTS: Final = table(
    "`defaults`",
    *_TARGET_FIELDS,
    Field(
        "collapse",
        FLAG,
        default="true",
        meaning="One refresh may serve several models of the same connection and branch.",
    ),
    aliases=_TARGET_ALIASES | {"it belongs to one model": "id model name model_id label"},
)

MODEL: Final = table(
    "a model",
    Field(
        "id",
        UUID,
        default="looked up by the name",
        example="3c90c3cc-0d44-4b50-8888-8dd25736052a",
        meaning="The model's id in Omni.",
    ),
    Field(
        "name",
        LABEL,
        default="the model's name or id, with @branch",
        example="sales",
        meaning="The label in reports and selections; unique.",
    ),
    Field(
        "model",
        NAME,
        default="the name",
        example="Quarterly Finance",
        meaning="The model's name in Omni, looked up; used without an id.",
    ),
    *_TARGET_FIELDS,
    aliases=_TARGET_ALIASES
    | {
        "id": "model_id uuid guid",
        "model": "model_name",
        "name": "label title",
        "it belongs under `defaults` and applies to the whole manifest": "collapse",
    },
)

_TOP_ALIASES: Final = {
    "models": "model targets target entries refreshes refresh",
    "instances": "instance hosts servers base_url api_key api_keys token url",
    "defaults": "default settings options config",
    "workers": "concurrency threads max_workers parallel parallelism jobs",
    "it belongs under `defaults`, or to a model": " ".join(one.key for one in _TARGET_FIELDS if one.key != "instance"),
    "it belongs under `defaults`": "collapse",
    "it belongs to an instance": "rate_limit request_timeout ca_file api_key_file",
    "version": "schema_version apiversion api_version",
    "notify": "notifications notification notifiers webhook webhooks apprise slack",
}

TOP: Final = table(
    "a manifest",
    Field(
        "version",
        FieldType(_read_version, {"enum": [int(VERSION), VERSION]}),
        default="1",
        meaning="The version of this format.",
    ),
    Field(
        "name",
        MANIFEST_NAME,
        default="its path",
        example="nightly",
        meaning="Identifies the manifest in history, metrics and the lock against a second run. Without it: the path as given, made absolute without following links.",
    ),
    Field(
        "state",
        STATE_PLACE,
        default="the user's state folder",
        example="postgresql://omni@db.example.com/omni?sslmode=verify-full",
        meaning="Where runs, locks and the budget are kept: a folder, or a PostgreSQL database that machines share. The password comes from PGPASSWORD, a service file or a variable.",
    ),
    Field(
        "workers", whole(1, MAX_WORKERS), default="16", meaning="Calls in flight at once. Any number of jobs may run."
    ),
    Field(
        "instances",
        by_name(INSTANCE),
        default="one, from OMNI_BASE_URL and OMNI_API_TOKEN (or OMNI_API_KEY)",
        example={"prod": {"base_url": "https://blobsrus.omniapp.co", "api_keys": ["${OMNI_API_TOKEN}"]}},
        meaning="The Omni instances, by names of your choice.",
    ),
    Field(
        "defaults",
        nested(DEFAULTS),
        example={"mode": "hard", "timeout": "30m"},
        meaning="Settings for every model that does not say otherwise.",
    ),
    Field(
        "notify",
        NOTICES,
        example=[{"apprise": "${SLACK_URL}", "on": "change"}],
        meaning="Where notifications of a run are sent, and when.",
    ),
    Field(
        "models",
        many(MODEL),
        example=[{"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "sales"}],
        required=True,
        meaning="The models to refresh.",
    ),
    aliases=_TOP_ALIASES,
)


def manifest_json_schema() -> JsonSchema:
    """The JSON Schema (2020-12) of a manifest. It is never stricter than the reader, which also checks what no schema can say."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:omni-refresh:manifest:1",
        "title": "omni-refresh manifest",
        "description": "The Omni models to refresh, and how. Keys at the top that begin with x- are ignored.",
        **TOP.schema(),
        "patternProperties": {"^x-": {}},
    }
