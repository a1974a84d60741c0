"""The endpoint that counts the tokens of a prompt."""

from __future__ import annotations

from anyio.abc import TaskGroup
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from dreamr.serving.gateway.endpoint import Endpoint
from dreamr.serving.gateway.job import Job
from dreamr.serving.gateway.keys import Client
from dreamr.serving.gateway.runs import Runs, public_error


class TokenCount(Endpoint):
    """An endpoint that answers with the number of tokens of a prompt, without a run."""

    def _name(self, request: Request, client: Client) -> str | None:
        """Return None: counting again is as good."""
        return None

    async def _work(
        self, job: Job, runs: Runs, tasks: TaskGroup, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Count the tokens of a valid request and send their number."""
        try:
            count = await runs.count(job)
        except Exception as error:
            await self._refuse(public_error(error, self._served.public), scope, receive, send, job)
            return
        self._log(job, 200)
        body = {"input_tokens": count}
        await JSONResponse(body, headers=job.quota.headers)(scope, receive, send)
