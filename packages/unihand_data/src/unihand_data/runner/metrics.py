"""The job's metrics by name, and one way to record them: Ray's exporter in a Ray worker, ``prometheus_client`` else.

Ray exports a metric as ``ray_<name>``; the scrape configuration in ``infra/prometheus`` strips the prefix, so that
dashboards and alerts know one name for both engines.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

log = logging.getLogger(__name__)

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


#: Every metric there is. Dashboards and alert rules are checked against this list.
METRICS = (
    Metric("unihand_stage_calls_total", "counter", "Calls of a stage, failed attempts included", ("stage",)),
    Metric("unihand_stage_units_total", "counter", "Units a stage handed on", ("stage",)),
    Metric("unihand_stage_seconds", "histogram", "Wall time of one successful stage call", ("stage",), _SECONDS),
    Metric("unihand_rejects_total", "counter", "Reject rows by stage and reason", ("stage", "reason")),
    Metric("unihand_units_total", "counter", "Units that reached the ledger, by status", ("status",)),
    Metric("unihand_parts_total", "counter", "Staging parts written"),
    Metric("unihand_part_seconds", "histogram", "Wall time of writing one staging part", (), _SECONDS),
    Metric("unihand_frames_total", "counter", "Frames of the units written"),
    Metric("unihand_bytes_total", "counter", "Encoded bytes of the units written"),
    Metric("unihand_tokens_total", "counter", "Tokens of language backends; kinds do not overlap", ("kind",)),
    Metric("unihand_cost_usd_total", "counter", "Money spent on language backends, in USD", ("backend",)),
    Metric("unihand_items_listed_total", "counter", "Input items listed by the driver"),
    Metric("unihand_items_skipped_total", "counter", "Input items that the ledger already holds"),
    Metric("unihand_queue_units", "gauge", "Units handed to the engine and not yet in the ledger"),
    Metric("unihand_reject_share", "gauge", "Rejected and failed over finished units of this run"),
)
_BY_NAME = {m.name: m for m in METRICS}
_made: dict[tuple[str, bool], Any] = {}


def count(name: str, value: float = 1.0, **labels: str) -> None:
    """Add to a counter. Zero is not recorded (Ray refuses it)."""
    if value > 0:
        metric, ray = _get(name, "counter")
        metric.inc(value, tags=labels) if ray else _labelled(metric, labels).inc(value)


def observe(name: str, value: float, **labels: str) -> None:
    """Add an observation to a histogram."""
    metric, ray = _get(name, "histogram")
    metric.observe(value, tags=labels) if ray else _labelled(metric, labels).observe(value)


def set_value(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    metric, ray = _get(name, "gauge")
    metric.set(value, tags=labels) if ray else _labelled(metric, labels).set(value)


def serve(port: int) -> int:
    """Expose the local engine's metrics on loopback and return the port (Ray exports its own)."""
    from prometheus_client import start_http_server

    server, _ = start_http_server(port, addr="127.0.0.1")
    return server.server_port


def _labelled(metric: Any, labels: dict[str, str]) -> Any:
    return metric.labels(**labels) if labels else metric


def _get(name: str, kind: str) -> tuple[Any, bool]:
    spec = _BY_NAME.get(name)
    if spec is None or spec.kind != kind:
        raise KeyError(f"{name} is no {kind} of the metric registry (unihand_data/runner/metrics.py)")
    ray = _under_ray()
    key = (name, ray)
    if key not in _made:
        _made[key] = _make_ray(spec) if ray else _make_local(spec)
    return _made[key], ray


def _under_ray() -> bool:
    import sys

    module = sys.modules.get("ray")  # never import Ray just to count
    return bool(module is not None and module.is_initialized())


def _make_ray(spec: Metric) -> Any:
    from ray.util import metrics as ray_metrics

    if spec.kind == "counter":
        return ray_metrics.Counter(spec.name, spec.help, tag_keys=spec.labels)
    if spec.kind == "gauge":
        return ray_metrics.Gauge(spec.name, spec.help, tag_keys=spec.labels)
    return ray_metrics.Histogram(spec.name, spec.help, boundaries=list(spec.buckets), tag_keys=spec.labels)


def _make_local(spec: Metric) -> Any:
    import prometheus_client as prom

    if spec.kind == "counter":
        return prom.Counter(spec.name, spec.help, spec.labels)
    if spec.kind == "gauge":
        return prom.Gauge(spec.name, spec.help, spec.labels)
    return prom.Histogram(spec.name, spec.help, spec.labels, buckets=spec.buckets)
