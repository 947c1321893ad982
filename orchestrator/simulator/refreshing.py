"""The two main calls: starting a refresh, and polling its job."""

from orchestrator.simulator.answer import (
    UUID,
    Answer,
    ApiError,
    SimulatedInstance,
    SimulatedRequest,
    require_flag,
    require_known,
)
from orchestrator.simulator.world import REFRESHABLE, LiveModel

_NONE: frozenset[str] = frozenset()


def start_refresh(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """POST /v1/models/{modelId}/refresh. The order of checks: form, scope, model, permission, branch, overlap."""
    branch_id = ask.query.get("branch_id")
    instance.require_uuid("modelId", model_id)
    if branch_id is not None:
        instance.require_uuid("branch_id", branch_id)
    require_known(ask.query, frozenset(instance.answers.refresh_parameters))
    is_hard = require_flag(ask.query, "hard_refresh", default=True)
    schemas, tables = _listed(ask.query.get("schemas")), _listed(ask.query.get("tables"))
    if is_hard and (schemas or tables):
        raise ApiError(400, "Bad Request: selective schemas/tables filters require hard_refresh=false")
    model = instance.model(model_id, missing="Not Found: Model not found")
    _require_permission(model)
    if branch_id is not None:
        branch_id = branch_id.lower()
    _require_branch(instance, model, branch_id)
    now_s = ask.now_s + ask.effect_delay_s
    if instance.refuses_overlap and instance.stage.running_job(model.connection, now_s) is not None:
        raise ApiError(409, "Conflict: A schema refresh is already running for this connection", model=model)
    job = instance.stage.start_refresh(model, branch_id, is_hard=is_hard, schemas=schemas, tables=tables, now_s=now_s)
    answers = instance.answers
    is_final = answers.final_at_once and job.duration_s == 0
    status = job.result.lower() if is_final else answers.refresh_status
    body = {"modelId": model_id, "status": status}
    if answers.job_id:
        body = {"jobId": job.id, **body}
    return Answer(status=200, body=body, model=model, job=job, job_status=status, tells_end=is_final, is_start=True)


def start_dbt_sync(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """POST /v1/models/{modelId}/dbt-sync: reads the metadata of dbt into a branch, and no tables."""
    answers, branch_id = instance.answers, ask.query.get("branch_id", "")
    if not answers.dbt_sync:
        raise ApiError(404, "Not Found")
    instance.require_uuid("modelId", model_id)
    instance.require_uuid("branch_id", branch_id)
    require_known(ask.query, frozenset({"branch_id"}))
    model = instance.model(model_id, missing="Not Found: Model not found")
    _require_permission(model)
    branch_id = branch_id.lower()
    _require_branch_of(instance, model, branch_id)
    now_s = ask.now_s + ask.effect_delay_s
    job = instance.stage.start_refresh(
        model, branch_id, is_hard=False, schemas=(), tables=(), now_s=now_s, job_type="dbt_sync"
    )
    body = {"jobId": job.id, "modelId": model_id, "status": answers.refresh_status}
    return Answer(status=200, body=body, model=model, job=job, job_status=answers.refresh_status, is_start=True)


def tell_status(instance: SimulatedInstance, ask: SimulatedRequest, job_id: str) -> Answer:
    """GET /v1/jobs/{jobId}/status."""
    if not UUID.fullmatch(job_id):
        raise ApiError(400, "Bad Request: jobId: Invalid uuid")
    require_known(ask.query, _NONE)
    answers = instance.answers
    job = instance.stage.find_job(job_id.lower())
    is_known = job is not None and job.started_s + answers.job_visible_after <= ask.now_s
    if job is None or not is_known or (answers.job_kept is not None and ask.now_s >= job.ends_s + answers.job_kept):
        raise ApiError(404, "Not Found: Job not found")
    has_ended = job.ends_s <= ask.now_s
    status = job.result if has_ended else answers.running
    body = {"job_id": job.id, "job_type": job.job_type or answers.job_type, "status": status}
    model = instance.stage.models.get(job.model_id)
    return Answer(status=200, body=body, model=model, job=job, job_status=status, tells_end=has_ended)


def _listed(text: str | None) -> tuple[str, ...]:
    """The entries of a comma-separated list, as they are."""
    return tuple(text.split(",")) if text else ()


def _require_permission(model: LiveModel) -> None:
    """A connection admin may refresh; a modeler may too, if the connection has exactly one shared model."""
    if model.kind not in REFRESHABLE:
        raise ApiError(400, f"Bad Request: Models of kind {model.kind} cannot be refreshed", model=model)
    connection = model.connection
    role = connection.spec.role
    may = role == "CONNECTION_ADMIN" or (role == "MODELER" and connection.shared_models == 1)
    if model.traits.forbidden or not may:
        raise ApiError(403, "Forbidden: Insufficient permissions", model=model)


def _require_branch(instance: SimulatedInstance, model: LiveModel, branch_id: str | None) -> None:
    if not model.connection.spec.branch_based:
        if branch_id is not None:
            message = "Bad Request: branch_id must not be provided when branch schema refresh is not enabled"
            raise ApiError(400, message, model=model)
    elif branch_id is None:
        raise ApiError(400, "Bad Request: branch_id is required when branch schema refresh is enabled", model=model)
    else:
        _require_branch_of(instance, model, branch_id)


def _require_branch_of(instance: SimulatedInstance, model: LiveModel, branch_id: str) -> None:
    if branch_id not in instance.stage.branch_ids(model):
        message = "Not Found: Branch not found or does not belong to the model's shared model"
        raise ApiError(404, message, model=model)
