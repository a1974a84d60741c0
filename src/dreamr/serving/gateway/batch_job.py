"""A batch of a client, and how it is kept."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dreamr.serving.gateway.shared_files import StoredFile

OVER = ("completed", "failed", "cancelled")
_WINDOW_SECONDS = 86400


class BatchBody(BaseModel):
    """The body of a request for a batch."""

    model_config = ConfigDict(strict=True, extra="ignore")
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/messages"]
    completion_window: Literal["24h"] = "24h"
    metadata: dict[str, str] | None = None


@dataclass(slots=True, eq=False)
class BatchJob:
    """A batch of a client.

    Attributes:
        owner: Name of the client.
        body: What the client asked for.
        file: The file of requests.
        total: Number of requests.
        id: Id of the batch.
        status: Status in the words of OpenAI's API.
        times: Times of changes, in seconds since the epoch, by the name of their field.
        done: Requests that are answered or failed.
        failed: Requests that failed.
        output: File of answers, None if there are none yet.
        errors: File of errors, None if there are none.
        problem: Why the batch as a whole failed.
    """

    owner: str
    body: BatchBody
    file: StoredFile
    total: int
    id: str = field(default_factory=lambda: f"batch_{secrets.token_hex(16)}")
    status: str = "validating"
    times: dict[str, int] = field(default_factory=lambda: {"created_at": int(time.time())})
    done: int = 0
    failed: int = 0
    output: str | None = None
    errors: str | None = None
    problem: str = ""

    @property
    def over(self) -> bool:
        """Whether it is completed, failed or canceled."""
        return self.status in OVER

    def become(self, status: str) -> None:
        """Change the status, and note when."""
        self.status = status
        self.times[f"{status}_at"] = int(time.time())

    def dumped(self) -> bytes:
        """Return the batch as it is kept."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(
            {**values, "body": self.body.model_dump(), "file": asdict(self.file)}
        ).encode()

    @classmethod
    def read(cls, content: bytes) -> BatchJob:
        """Return a batch from what is kept of it."""
        values = json.loads(content)
        body, file = BatchBody(**values.pop("body")), StoredFile(**values.pop("file"))
        return cls(body=body, file=file, **values)

    def to_json(self) -> dict[str, Any]:
        """Return the batch object of OpenAI's API."""
        fields = ("in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled")
        problem = {"code": "batch_failed", "message": self.problem, "param": None, "line": None}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.body.endpoint,
            "errors": {"object": "list", "data": [problem]} if self.problem else None,
            "input_file_id": self.file.id,
            "completion_window": self.body.completion_window,
            "status": self.status,
            "output_file_id": self.output,
            "error_file_id": self.errors,
            "created_at": self.times["created_at"],
            "expires_at": self.times["created_at"] + _WINDOW_SECONDS,
            "expired_at": None,
            **{f"{name}_at": self.times.get(f"{name}_at") for name in fields},
            "request_counts": {
                "total": self.total,
                "completed": self.done - self.failed,
                "failed": self.failed,
            },
            "metadata": self.body.metadata,
        }
