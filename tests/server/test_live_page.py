from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from asking import use

from dreamr.server._page import read_page


def test_the_page_asks_nobody_but_the_gateway() -> None:
    found = use(lambda gate: gate.get("/"))
    page = found.body.decode()
    assert found.status == 200
    assert not re.search(r"https?://|//[a-z]+\.", page)
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    # Written into elements as text, so that no answer can be markup.
    assert "innerHTML" not in page


def test_a_models_name_cannot_leave_its_place() -> None:
    page, _ = read_page('x"</script><script>alert(1)')
    assert page.count("<script>") == 1 + page.count("<script>alert")
    assert "</script><script>alert" not in page
