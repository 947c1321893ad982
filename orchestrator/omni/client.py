"""The API client: one typed question, one typed answer, or a CallError that keeps what decides the next step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

from orchestrator.log import Redactor
from orchestrator.manifest.manifest import Instance, RefreshKind, Secret
from orchestrator.omni.address import (
    UnsendableName,
    api_document_target,
    connection_target,
    connections_target,
    environments_target,
    job_target,
    model_target,
    models_target,
    ping_target,
    refresh_target,
    whoami_target,
)
from orchestrator.omni.answers import (
    ApiDocument,
    ConnectionEnvironment,
    ConnectionRecord,
    ContentDocument,
    JobAnswer,
    JobState,
    ModelsPage,
    ModelsQuery,
    RefreshAnswer,
    RefreshRequest,
    RefreshSchedule,
    ValidationIssue,
    View,
    WhoAmI,
)
from orchestrator.omni.api_document import read_api_document
from orchestrator.omni.errors import CallErrorKind, KeyRefused, Refused
from orchestrator.omni.fields import UnreadableAnswer
from orchestrator.omni.job_answers import read_job, read_refresh
from orchestrator.omni.read_answers import (
    read_connection,
    read_connections,
    read_content,
    read_environments,
    read_issues,
    read_models,
    read_schedules,
    read_schemas,
    read_views,
    read_whoami,
)
from orchestrator.omni.transport import Transport
from orchestrator.omni.verdict import make_error, make_unreadable, read_date

T = TypeVar("T")

SMALL_ANSWER_BYTES = 1 << 20
"""An answer about one thing is read up to this, decoded."""

LIST_ANSWER_BYTES = 32 << 20
"""A list, or a model's YAML, is read up to this, decoded."""


ACCEPTED: Final = RefreshAnswer(job_id=None, state=JobState.RUNNING, word=None)
"""A refresh that the server accepted without a word about it."""


class OmniClient:
    """The API of one instance: an async context manager, opened inside the running loop. It knows no quota: the rate limiter
    does.

    Every call raises a CallError if it gets no answer (orchestrator.omni.errors), and nothing else. The key
    comes with each call, is sent in one header to the base URL's origin, and is in no error.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        utcnow: Callable[[], datetime],
        user_agent: str,
        connect_timeout_s: float = 10.0,
        max_answer_bytes: int = LIST_ANSWER_BYTES,
        direct: bool = False,
    ) -> None:
        """`direct` leaves out the environment's proxies: for a stand-in server on loopback."""
        self._utcnow = utcnow
        self._max_answer_bytes = max_answer_bytes
        self._redactors: dict[Secret, Redactor] = {}
        # what the latest answer said of the server's clock
        self.server_time: datetime | None = None
        self._wire = Transport(instance, user_agent=user_agent, connect_timeout_s=connect_timeout_s, direct=direct)

    async def __aenter__(self) -> Self:
        """Open; nothing is sent yet. Raises UsageError for certificate or proxy settings that cannot be used."""
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, error, traceback)

    async def refresh(self, ask: RefreshRequest, key: Secret) -> RefreshAnswer:
        """Start one refresh. DeliveryUnknown means that it may have started; so does a 2xx that reports no start."""
        read = partial(read_refresh, redact=self._redactor(key).without_known)
        return await self._ask(
            lambda: refresh_target(ask), key, read, method="POST", alone=True, of_job=True, if_accepted=ACCEPTED
        )

    async def job(self, job_id: str, key: Secret, kinds: Collection[RefreshKind] = (RefreshKind.SCHEMA,)) -> JobAnswer:
        """Poll a job. An answer about a job of another kind than `kinds` is unreadable."""
        read = partial(read_job, job_id=job_id, kinds=kinds, redact=self._redactor(key).without_known)
        return await self._ask(lambda: job_target(job_id), key, read, of_job=True)

    async def models(self, query: ModelsQuery, key: Secret) -> ModelsPage:
        """Read one page of models."""
        return await self._ask(lambda: models_target(query), key, read_models, max_bytes=LIST_ANSWER_BYTES)

    async def connections(self, key: Secret) -> tuple[ConnectionRecord, ...]:
        """List the connections; for administrators only."""
        return await self._ask(connections_target, key, read_connections, max_bytes=LIST_ANSWER_BYTES)

    async def connection(self, connection_id: str, key: Secret) -> ConnectionRecord:
        """Read one connection."""
        return await self._ask(lambda: connection_target(connection_id), key, read_connection)

    async def schemas(self, model_id: str, key: Secret, branch: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """List a model's schemas, catalog-scoped if the connection has several catalogs.

        `branch` holds the branch's id by the name of its parameter: `branchId` in the reference pages, `branch_id` in the
        vendor's CLI.
        """
        target = partial(model_target, model_id, "schemas", **(branch or {}))
        return await self._ask(target, key, read_schemas, max_bytes=LIST_ANSWER_BYTES)

    async def views(
        self,
        model_id: str,
        key: Secret,
        branch_id: str | None = None,
        schema: str | None = None,
        *,
        with_fields: bool = False,
    ) -> tuple[View, ...]:
        """Read a model's views back, `with_fields` or without. `schema` (one a call) loads one that is offloaded or inactive,
        and only its views.
        """
        target = partial(model_target, model_id, "yaml", mode="combined", branchId=branch_id, includeSchemas=schema)
        return await self._ask(target, key, partial(read_views, with_fields=with_fields), max_bytes=LIST_ANSWER_BYTES)

    async def validate(self, model_id: str, key: Secret, branch_id: str | None = None) -> tuple[ValidationIssue, ...]:
        """List what the validation of a model finds."""
        target = partial(model_target, model_id, "validate", branchId=branch_id)
        return await self._ask(target, key, read_issues, max_bytes=LIST_ANSWER_BYTES)

    async def content(
        self,
        model_id: str,
        key: Secret,
        branch_id: str | None = None,
        *,
        filter_mode: str | None = None,
        find: str | None = None,
        find_type: str | None = None,
    ) -> tuple[ContentDocument, ...]:
        """List what the content validator shows of the documents that use a model, without those in personal folders.

        `filter_mode` is `WITH_ISSUES` for those with issues alone. `find` limits the list to documents that use one thing of
        the model; `find_type` says what that is: `VIEW`, `TOPIC`, or `FIELD` (`view.field`).
        """
        target = partial(
            model_target,
            model_id,
            "content-validator",
            branch_id=branch_id,
            content_filter_mode=filter_mode,
            find=find,
            find_type=find_type,
        )
        return await self._ask(target, key, partial(read_content, branch_id=branch_id), max_bytes=LIST_ANSWER_BYTES)

    async def schedules(self, connection_id: str, key: Secret) -> tuple[RefreshSchedule, ...]:
        """List a connection's native refresh schedules."""
        return await self._ask(lambda: connection_target(connection_id, "schedules"), key, read_schedules)

    async def whoami(self, model_ids: Iterable[str], key: Secret) -> WhoAmI:
        """Ask who the key acts as; 404 if one of the models is not visible to it."""
        return await self._ask(partial(whoami_target, tuple(model_ids)), key, read_whoami)

    async def environments(self, key: Secret) -> tuple[ConnectionEnvironment, ...]:
        """List the connection environments; for administrators only."""
        return await self._ask(environments_target, key, read_environments, max_bytes=LIST_ANSWER_BYTES)

    async def api_document(self, key: Secret) -> ApiDocument:
        """Read the instance's own OpenAPI document.

        A refusal says nothing about the key: this page is not part of the API, and an instance may refuse it to keys.
        """
        try:
            return await self._ask(api_document_target, key, read_api_document, max_bytes=LIST_ANSWER_BYTES)
        except KeyRefused as error:
            refused = Refused(CallErrorKind.FORBIDDEN, error.message, http_status=error.http_status)
        raise refused

    async def ping(self, key: Secret) -> None:
        """Make one small read, by which a circuit breaker checks that the instance answers. The content is ignored."""
        await self._ask(ping_target, key, lambda _: None)

    async def _ask(
        self,
        target: Callable[[], str],
        key: Secret,
        read: Callable[[bytes], T],
        *,
        method: str = "GET",
        alone: bool = False,
        max_bytes: int = SMALL_ANSWER_BYTES,
        of_job: bool = False,
        if_accepted: T | None = None,
    ) -> T:
        """Send one question and read its answer; status first, body second. Errors are raised without a context.

        The key is taken out of what the server says, before any of it is cut. The reader of an answer `of_job` does that by
        itself: a job is polled by its id, so the id stays as it is, and what shows or stores one redacts it. A 202 without
        a body is answered by `if_accepted`: that status itself means that the request was accepted (RFC 9110, 15.3.3).
        """
        problem: Exception
        try:
            where = target()
        except UnsendableName as error:
            problem = Refused(CallErrorKind.BAD_REQUEST, str(error))
        else:
            if not _can_be_a_header(key):
                raise KeyRefused(CallErrorKind.KEY_REFUSED, "the key holds characters that no header may carry")
            max_bytes = min(max_bytes, self._max_answer_bytes)
            reply = await self._wire.exchange(method, where, key, max_bytes=max_bytes, alone=alone)
            self.server_time = read_date(reply.headers)
            redactor = self._redactor(key)
            if not reply.is_success:
                raise make_error(reply, now=self._utcnow(), redact=redactor.redact)
            if if_accepted is not None and reply.status == 202 and not reply.body.strip():
                return if_accepted
            try:
                return read(reply.body if of_job else _without_key(reply.body, redactor))
            except UnreadableAnswer as error:
                # it may be another request's answer, and then the next one on this connection is so, too
                reply.close_connection()
                problem = make_unreadable(str(error), reply, redact=redactor.redact)
        raise problem

    def _redactor(self, key: Secret) -> Redactor:
        redactor = self._redactors.get(key)
        if redactor is None:
            redactor = self._redactors[key] = Redactor((key,))
        return redactor


def _without_key(body: bytes, redactor: Redactor) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    shown = redactor.without_known(text)
    return body if shown == text else shown.encode("utf-8", "surrogateescape")


def _can_be_a_header(key: Secret) -> bool:
    text = key.reveal()
    return bool(text) and text.isascii() and text.isprintable()
