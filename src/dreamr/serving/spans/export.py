"""Export of spans to a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from dreamr._version import __version__

_FLUSH_MS = 2000  # time limit for the last spans at the end


@contextmanager
def open_exporter(endpoint: str) -> Iterator[Tracer]:
    """Yield a tracer whose spans a thread sends to a collector.

    Args:
        endpoint: URL of the collector for OTLP over HTTP, such as
            `http://localhost:4318/v1/traces`.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": "dreamr"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    try:
        yield provider.get_tracer("dreamr", __version__)
    finally:
        provider.force_flush(_FLUSH_MS)
        provider.shutdown()
