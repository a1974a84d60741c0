from __future__ import annotations

import json
import re
from pathlib import Path

from support.gateways import Gateway, asked, use

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        await gate.ask(asked(n=2))
        return (await gate.get("/metrics")).body.decode()

    told = set(re.findall(r"^(dreamr:\w+)", use(work), re.MULTILINE))
    wanted = set(re.findall(r"dreamr:\w+", DASHBOARD.read_text()))
    assert wanted <= told
    # And of what is told, all is shown that is no part of something shown.
    plain = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in told}
    assert plain == {re.sub(r"_(bucket|total)$", "", name) for name in wanted}


def test_its_panels_have_titles_and_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["title"] for panel in panels)
