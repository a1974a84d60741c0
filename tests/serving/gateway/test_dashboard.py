from __future__ import annotations

import json
import re
from pathlib import Path

from support.gateways import Gateway, asked, use

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


def test_the_dashboard_shows_all_metrics_and_no_others() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        await gate.ask(asked(n=99))
        return (await gate.get("/metrics")).body.decode()

    told = set(re.findall(r"^(dreamr:\w+)", use(work), re.MULTILINE))
    wanted = set(re.findall(r"dreamr:\w+", DASHBOARD.read_text()))
    assert wanted <= told
    # All metrics are shown, apart from the parts of shown ones.
    plain = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in told}
    assert plain == {re.sub(r"_(bucket|total)$", "", name) for name in wanted}


def test_panels_have_titles_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["title"] for panel in panels)
