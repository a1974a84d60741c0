"""The time between the signal to stop and the end of the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.serving.gateway.errors import SERVER, ApiError


@dataclass(slots=True)
class Draining:
    """Whether the gateway is about to stop.

    Load balancers see it at `/ready`. New requests are refused while running ones go on.

    Attributes:
        begun: Whether draining has begun.
    """

    begun: bool = False

    def check(self) -> None:
        """Refuse new requests.

        Raises:
            ApiError: If draining has begun (503).
        """
        if self.begun:
            raise ApiError(
                503,
                "the gateway is about to stop: send the request again to another one",
                SERVER,
                code="draining",
                headers={"Retry-After": "1", "Connection": "close"},
            )
