"""Every key of a manifest, for the reader, the JSON Schema and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.manifest.credentials import Address, ApiKeys, CaFile, KeyFiles, StatePlace
from orchestrator.manifest.fields import (
    ByName,
    Duration,
    Field,
    Flag,
    JsonSchema,
    Many,
    NameField,
    Names,
    Nested,
    Uuid,
    Whole,
    Word,
    table,
)
from orchestrator.manifest.manifest import Mode, OnAmbiguous, RefreshKind, Verify
from orchestrator.manifest.notices import Notices
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.yaml_nodes import Node

VERSION: Final = "1"
MAX_WORKERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Version:
    """The version of the manifest's format."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        """The version, or None with an error."""
        text = reading.text(node, key)
        if text is None or text == VERSION:
            return text
        message, hint = (
            f"`{key}` is {reading.show(text)}",
            f"this program reads version {VERSION}: write `{key}: {VERSION}`",
        )
        reading.error(node.place, message, code="unknown-version", hint=hint)
        return None

    def schema(self) -> JsonSchema:
        """The one version."""
        return {"enum": [int(VERSION), VERSION]}


RATE_LIMIT: Final = table(
    "`rate_limit`",
    Field(
        key="requests",
        kind=Whole(1, 100_000),
        default="60",
        meaning="The number of calls in any `per`, of any kind.",
        example=60,
    ),
    Field(
        key="per", kind=Duration(), default="60s", meaning="The window that the calls are counted in.", example="60s"
    ),
    aliases=dict.fromkeys(("limit", "max", "calls", "rate", "count"), "requests")
    | dict.fromkeys(("period", "window", "interval", "seconds", "time", "every"), "per"),
)

POLL: Final = table(
    "`poll`",
    Field(
        key="min",
        kind=Duration(),
        default="2s",
        meaning="The shortest time between two polls of one job. Below 1s only against this machine (loopback).",
        example="2s",
    ),
    Field(
        key="max",
        kind=Duration(),
        default="60s",
        meaning="The longest time between two polls of one job, if the budget allows.",
        example="60s",
    ),
    aliases=dict.fromkeys(("minimum", "from", "interval", "every", "start", "initial"), "min")
    | dict.fromkeys(("maximum", "to", "until", "limit"), "max"),
)

INSTANCE: Final = table(
    "an instance",
    Field(
        key="base_url",
        kind=Address(),
        default="",
        meaning="The instance's address, with or without a trailing slash or `/api`; https, or http to this machine.",
        example="https://blobsrus.omniapp.co",
        required=True,
    ),
    Field(
        key="api_keys",
        kind=ApiKeys(),
        default="",
        meaning="The keys, each as `${VARIABLE}`: never the key itself. The quota of each is used.",
        example=["${OMNI_API_TOKEN}"],
    ),
    Field(
        key="api_key_file",
        kind=KeyFiles(),
        default="",
        meaning="A file that contains one key, or several such files; from the manifest's folder. Adds to `api_keys`.",
        example="/run/secrets/omni",
    ),
    Field(
        key="rate_limit",
        kind=Nested(RATE_LIMIT),
        default="{requests: 60, per: 60s}",
        meaning="What one key may send.",
        example={"requests": 60, "per": "60s"},
    ),
    Field(
        key="request_timeout",
        kind=Duration(),
        default="30s",
        meaning="How long one call may take.",
        example="30s",
    ),
    Field(
        key="ca_file",
        kind=CaFile(),
        default="",
        meaning="Certificates (PEM) of the authority that signed the instance's; from the manifest's folder.",
        example="corporate-ca.pem",
    ),
    aliases=dict.fromkeys(("url", "host", "hostname", "base", "endpoint", "address", "server"), "base_url")
    | dict.fromkeys(("api_key", "key", "keys", "token", "tokens", "api_token", "api_tokens", "bearer"), "api_keys")
    | dict.fromkeys(("key_file", "token_file", "api_keys_file", "api_key_files", "api_token_file"), "api_key_file")
    | dict.fromkeys(("rate", "limit", "limits", "quota", "rpm", "requests_per_minute", "requests"), "rate_limit")
    | dict.fromkeys(("ca", "cafile", "ca_bundle", "ca_cert", "cacert", "cert", "certificate", "tls"), "ca_file")
    | dict.fromkeys(("timeout", "http_timeout", "read_timeout"), "request_timeout")
    | dict.fromkeys(
        ("verify", "verify_ssl", "ssl_verify", "verify_tls", "insecure"),
        "certificates are always verified: name your authority with `ca_file`",
    )
    | {"workers": "it belongs at the top of the manifest"},
)

_TARGET_FIELDS: Final = (
    Field(
        key="instance",
        kind=NameField(),
        default="the only one",
        meaning="Which instance the model belongs to; required if there are several.",
        example="prod",
    ),
    Field(
        key="branch",
        kind=NameField(),
        default="",
        meaning="A branch's name or id, or a pattern with `*`, `?` or `[...]`: one target for each branch that matches. "
        "Required if branch-based schema refresh is on, forbidden if it is off.",
        example="nightly/schema",
    ),
    Field(
        key="max_branches",
        kind=Whole(1, 1_000),
        default="20",
        meaning="The most branches that a pattern may match. If more match, none is refreshed.",
        example=50,
    ),
    Field(
        key="refresh",
        kind=Word(RefreshKind),
        default="schema",
        meaning="`schema`, or `dbt_sync`: only reads the metadata of dbt (descriptions, tags) into a branch, not the warehouse.",
        example="dbt_sync",
    ),
    Field(
        key="mode",
        kind=Word(Mode),
        default="hard, or soft with schemas or tables",
        meaning="`hard` also removes what was dropped; `soft` only adds. A scope and `hard` in one model are an error.",
        example="soft",
    ),
    Field(
        key="schemas",
        kind=Names(),
        default="",
        meaning="Only these schemas are refreshed; sent as written, `*` is a wildcard. One name, or a list.",
        example=["finance"],
    ),
    Field(
        key="tables",
        kind=Names(),
        default="",
        meaning="Only these tables are refreshed; with `schemas`, those of them within these schemas.",
        example=["finance.invoices", "finance.ledger_*"],
    ),
    Field(key="tags", kind=Names(), default="", meaning="Words to select models by.", example=["nightly", "emea"]),
    Field(
        key="connection",
        kind=NameField(),
        default="looked up",
        meaning="The connection's id, its name, or any label. Refreshes on one connection never overlap.",
        example="warehouse-eu",
    ),
    Field(
        key="reads",
        kind=Names(),
        default="the scopes",
        meaning="The schemas or tables that this model reads. A change that touches one of them concerns the model.",
        example=["finance", "ledger"],
    ),
    Field(
        key="wait",
        kind=Flag(),
        default="true",
        meaning="Whether the job is followed to its end.",
        example=True,
    ),
    Field(
        key="timeout",
        kind=Duration(),
        default="30m",
        meaning="From the accepted refresh to a finished job; waiting for quota is not counted.",
        example="45m",
    ),
    Field(
        key="retries",
        kind=Whole(0, 100),
        default="3",
        meaning="How often a failure that allows a retry is retried; 429 does not count.",
        example=3,
    ),
    Field(
        key="poll",
        kind=Nested(POLL),
        default="{min: 2s, max: 60s}",
        meaning="Bounds for following one job.",
        example={"min": "2s", "max": "60s"},
    ),
    Field(
        key="on_ambiguous",
        kind=Word(OnAmbiguous),
        default="report",
        meaning="If it is unknown whether the refresh call arrived: `report` that, or `resend` the call.",
        example="report",
    ),
    Field(
        key="verify",
        kind=Word(Verify),
        default="none",
        meaning="Verification after the job: `none`, `scope` (does the model have the requested scope?) or `validate` (did the refresh add validation issues?).",
        example="scope",
    ),
    Field(
        key="enabled",
        kind=Flag(),
        default="true",
        meaning="`false` keeps a model in the manifest and skips it.",
        example=True,
    ),
)

_TARGET_ALIASES: Final = (
    dict.fromkeys(("hard_refresh", "hard", "soft", "refresh_mode", "full_refresh", "type"), "mode")
    | dict.fromkeys(("refresh_kind", "kind", "refresh_type", "dbt_sync"), "refresh")
    | dict.fromkeys(("branch_id", "branch_name", "git_branch", "branches", "branch_pattern"), "branch")
    | dict.fromkeys(("branch_limit", "max_branch", "branches_max"), "max_branches")
    | dict.fromkeys(("schema", "schema_name", "schema_names"), "schemas")
    | dict.fromkeys(("table", "table_name", "table_names", "views"), "tables")
    | dict.fromkeys(("tag", "labels", "groups", "group"), "tags")
    | dict.fromkeys(("connection_id", "connection_name", "connections", "database"), "connection")
    | dict.fromkeys(("instance_name", "instances", "organization", "org", "tenant"), "instance")
    | dict.fromkeys(("retry", "max_retries", "attempts", "max_attempts"), "retries")
    | dict.fromkeys(("job_timeout", "timeout_s", "timeout_seconds", "max_wait", "deadline", "duration"), "timeout")
    | dict.fromkeys(("poll_interval", "polling", "interval", "poll_min", "poll_max"), "poll")
    | dict.fromkeys(("disabled", "skip", "active", "enable"), "enabled")
    | dict.fromkeys(("follow", "no_wait", "async"), "wait")
    | dict.fromkeys(("ambiguous", "on_unknown", "resend"), "on_ambiguous")
    | dict.fromkeys(("read", "depends_on", "sources"), "reads")
    | dict.fromkeys(("validate", "verification"), "verify")
    | {"workers": "it belongs at the top of the manifest"}
    | dict.fromkeys(("request_timeout", "rate_limit", "base_url", "api_keys"), "it belongs to an instance")
)

DEFAULTS: Final = table(
    "`defaults`",
    *_TARGET_FIELDS,
    Field(
        key="collapse",
        kind=Flag(),
        default="true",
        meaning="One refresh may serve several models of the same connection and branch.",
        example=True,
    ),
    aliases=_TARGET_ALIASES | dict.fromkeys(("id", "model", "name", "model_id", "label"), "it belongs to one model"),
)

MODEL: Final = table(
    "a model",
    Field(
        key="id",
        kind=Uuid(),
        default="looked up by the name",
        meaning="The model's id in Omni.",
        example="3c90c3cc-0d44-4b50-8888-8dd25736052a",
    ),
    Field(
        key="name",
        kind=NameField(any_character=True),
        default="the model's name or id, with @branch",
        meaning="The label in reports and selections; unique.",
        example="sales",
    ),
    Field(
        key="model",
        kind=NameField(),
        default="the name",
        meaning="The model's name in Omni, looked up; used without an id.",
        example="Quarterly Finance",
    ),
    *_TARGET_FIELDS,
    aliases=_TARGET_ALIASES
    | dict.fromkeys(("model_id", "uuid", "guid"), "id")
    | dict.fromkeys(("model_name",), "model")
    | dict.fromkeys(("label", "title"), "name")
    | {"collapse": "it belongs under `defaults` and applies to the whole manifest"},
)

_TOP_ALIASES: Final = (
    dict.fromkeys(("model", "targets", "target", "entries", "refreshes", "refresh"), "models")
    | dict.fromkeys(("instance", "hosts", "servers", "base_url", "api_key", "api_keys", "token", "url"), "instances")
    | dict.fromkeys(("default", "settings", "options", "config"), "defaults")
    | dict.fromkeys(("concurrency", "threads", "max_workers", "parallel", "parallelism", "jobs"), "workers")
    | dict.fromkeys(
        (one.key for one in _TARGET_FIELDS if one.key != "instance"), "it belongs under `defaults`, or to a model"
    )
    | dict.fromkeys(("collapse",), "it belongs under `defaults`")
    | dict.fromkeys(("rate_limit", "request_timeout", "ca_file", "api_key_file"), "it belongs to an instance")
    | dict.fromkeys(("schema_version", "apiversion", "api_version"), "version")
    | dict.fromkeys(("notifications", "notification", "notifiers", "webhook", "webhooks", "apprise", "slack"), "notify")
)

TOP: Final = table(
    "a manifest",
    Field(
        key="version",
        kind=Version(),
        default="1",
        meaning="The version of this format.",
        example=1,
    ),
    Field(
        key="name",
        kind=NameField(no_slash=True),
        default="its path",
        meaning="Identifies the manifest in history, metrics and the lock against a second run. Without it: the path as "
        "given, made absolute without following links.",
        example="nightly",
    ),
    Field(
        key="state",
        kind=StatePlace(),
        default="the user's state folder",
        meaning="Where runs, locks and the budget are kept: a folder, or a PostgreSQL database that machines share. The "
        "password comes from PGPASSWORD, a service file or a variable.",
        example="postgresql://omni@db.example.com/omni?sslmode=verify-full",
    ),
    Field(
        key="workers",
        kind=Whole(1, MAX_WORKERS),
        default="16",
        meaning="Calls in flight at once. Any number of jobs may run.",
        example=16,
    ),
    Field(
        key="instances",
        kind=ByName(INSTANCE),
        default="one, from OMNI_BASE_URL and OMNI_API_TOKEN (or OMNI_API_KEY)",
        meaning="The Omni instances, by names of your choice.",
        example={"prod": {"base_url": "https://blobsrus.omniapp.co", "api_keys": ["${OMNI_API_TOKEN}"]}},
    ),
    Field(
        key="defaults",
        kind=Nested(DEFAULTS),
        default="",
        meaning="Settings for every model that does not say otherwise.",
        example={"mode": "hard", "timeout": "30m"},
    ),
    Field(
        key="notify",
        kind=Notices(),
        default="",
        meaning="Where notifications of a run are sent, and when.",
        example=[{"apprise": "${SLACK_URL}", "on": "change"}],
    ),
    Field(
        key="models",
        kind=Many(MODEL),
        default="",
        meaning="The models to refresh.",
        example=[{"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "sales"}],
        required=True,
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
