"""OpenTelemetry spans of runs."""

from dreamr.serving.spans.export import open_exporter
from dreamr.serving.spans.run_spans import RunSpans

__all__ = ["RunSpans", "open_exporter"]
