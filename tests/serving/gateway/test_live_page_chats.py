"""Chats of the live page: kept in the browser, opened again, continued and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from dreamr.conversation import Conversation, Text
from support.attachments import pdf, png, wav
from support.gateways import QUESTION
from support.listening import listening
from support.pages import PHONE, Held, finished, mishearing, noting, opened, page_of, send

pytestmark = pytest.mark.browser


def titles(page: Any) -> list[str]:
    found: list[str] = page.locator("#list .title span").all_inner_texts()
    return found


def test_chats_outlive_the_page(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url) as page:
        send(page, QUESTION, tmp_path / "r.png")
        page.click("#fresh")
        assert page.locator(".run").count() == 0
        send(page, "Another question?")
        assert titles(page) == ["Another question?", QUESTION]
        page.reload()
        opened(page)
        assert page.locator(".run h2").all_inner_texts() == ["Another question?"]
        page.click(f"#list button:has-text('{QUESTION}')")
        page.locator(".run h2", has_text=QUESTION).wait_for()
        assert page.locator(".answer").inner_text() == "3.70"
        assert page.locator("li.accepted .score").inner_text() == "judge ratio 0.93"
        assert page.locator(".lane i.rejected").count() == 1
        assert page.locator(".thumbs img").evaluate("it => it.decode().then(() => it.width)") > 0
        assert page.locator("#list [aria-current]").inner_text().startswith(QUESTION)


def test_a_chat_is_continued_after_the_page_was_closed(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30, 220))
    seen: list[Conversation] = []
    with listening(noting(seen)) as url, page_of(browser, url) as page:
        send(page, QUESTION, tmp_path / "bill.pdf")
        page.reload()
        opened(page)
        send(page, "And coffee?")
    last = seen[-1]
    assert [turn.role for turn in last.turns] == ["user", "assistant", "user"]
    assert last.turns[0] == seen[0].turns[0]
    assert last.turns[1].parts == (Text("3.70"),)


def test_a_file_is_uploaded_once_and_again_when_it_has_expired(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30))
    seen: list[Conversation] = []
    with listening(noting(seen)) as url, page_of(browser, url, errors=True) as page:
        send(page, QUESTION, tmp_path / "bill.pdf")
        send(page, "And coffee?")
        [file] = httpx2.get(f"{url}/v1/files").json()["data"]
        httpx2.delete(f"{url}/v1/files/{file['id']}").raise_for_status()
        send(page, "And tea?")
        assert page.locator(".wrong:visible").count() == 0
        [other] = httpx2.get(f"{url}/v1/files").json()["data"]
        assert other["id"] != file["id"]
    assert len(seen[-1].images) == 1


def test_files_go_with_the_question_where_the_gateway_stores_none(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30))
    seen: list[Conversation] = []
    with (
        listening(noting(seen), max_stored_bytes=0) as url,
        page_of(browser, url, errors=True) as page,
    ):
        send(page, QUESTION, tmp_path / "bill.pdf")
    assert len(seen[0].images) == 1


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "has_touch": True}])
def test_a_chat_is_deleted_with_its_files_after_a_second_press(
    browser: Any, tmp_path: Path, options: Any
) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30))
    with listening() as url, page_of(browser, url, **options) as page:
        send(page, QUESTION, tmp_path / "bill.pdf")
        if page.locator("#chats").is_visible():
            page.click("#chats")
        remove = page.get_by_role("button", name=f"Delete chat {QUESTION}")
        remove.click()
        assert titles(page) == [QUESTION]
        with page.expect_response(lambda found: found.request.method == "DELETE"):
            remove.click()
        assert titles(page) == []
        assert page.locator(".run").count() == 0
        assert httpx2.get(f"{url}/v1/files").json()["data"] == []
        kept(page, 0)
        page.reload()
        opened(page)
        assert titles(page) == []


def test_a_file_of_an_edited_question_outlives_the_chat_that_it_came_from(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url, errors=True) as page:
        send(page, QUESTION, tmp_path / "r.png")
        page.get_by_role("button", name="Edit the question").click()
        page.click("#fresh")
        send(page, "Another question?")
        for _ in range(2):
            page.get_by_role("button", name=f"Delete chat {QUESTION}").click()
        page.locator("#list li").nth(1).wait_for(state="detached")
        kept(page, 2)
        page.reload()
        opened(page)
        assert titles(page) == ["Another question?"]
        assert page.locator(".thumbs img").evaluate("it => it.decode().then(() => it.width)") > 0
        send(page, "And coffee?")


def deleting(page: Any) -> tuple[Held, Any]:
    """Ask, and press the button that deletes the chat; return what holds the answer, and it."""
    held = Held(page)
    page.fill("#question", QUESTION)
    page.keyboard.press("Enter")
    remove = page.get_by_role("button", name=f"Delete chat {QUESTION}")
    remove.press("Enter")
    return held, remove


def test_a_chat_that_is_being_deleted_stays_so_when_the_list_is_drawn_again(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        held, remove = deleting(page)
        held.answer()  # the list is drawn again, with the time of the answer
        page.locator("#list small", has_text="running").wait_for(state="detached")
        assert remove.inner_text() == "Delete?"
        page.keyboard.press("Enter")
        page.locator("#list li").wait_for(state="detached")


def test_another_button_takes_back_that_a_chat_is_deleted(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        held, remove = deleting(page)
        held.answer()
        page.locator("#list small", has_text="running").wait_for(state="detached")
        page.focus("#fresh")
        assert remove.inner_text() != "Delete?"


# Number of chats and files in the browser's database.
COUNT = """new Promise((done) => {
  const request = indexedDB.open("dreamr");
  request.onsuccess = () => {
    const stores = request.result.transaction(["chats", "files"]);
    const counts = ["chats", "files"].map((name) => stores.objectStore(name).count());
    stores.oncomplete = () => {
      request.result.close();
      done(counts.reduce((sum, { result }) => sum + result, 0));
    };
  };
})"""


def kept(page: Any, count: int) -> None:
    """Wait until the browser keeps this number of chats and files."""
    for _ in range(100):
        if page.evaluate(COUNT) == count:
            return
        page.wait_for_timeout(20)
    pytest.fail(f"the browser does not keep {count} chats and files")


def test_the_oldest_chats_are_dropped_when_there_are_too_many(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        call = """async ([most, bytes]) => {
          const { excess } = await import("./static/store.js");
          const chats = [3, 1, 2, 0].map((updated) => ({ id: `c${updated}`, updated, bytes: 10 }));
          return excess(chats, "c0", { most, bytes }).map(({ id }) => id);
        }"""
        assert page.evaluate(call, [4, 40]) == []
        assert page.evaluate(call, [2, 1000]) == ["c1", "c2"]
        assert page.evaluate(call, [100, 25]) == ["c1", "c2"]
        assert page.evaluate(call, [100, 5]) == ["c1", "c2", "c3"]  # never the one being written


def test_an_answer_is_written_while_another_chat_is_shown(browser: Any) -> None:
    seen: list[Conversation] = []
    with (
        listening(noting(seen, token_seconds=0.3)) as url,
        page_of(browser, url) as page,
    ):
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator("ol.steps li").first.wait_for()
        page.click("#fresh")
        finished(page)
        assert page.locator(".run").count() == 0
        page.click("#list .title")
        page.locator("#send", has_text="Stop").wait_for()
        page.locator(".answer", has_text="3.70").wait_for()


# Opens two chats of the list at once, the lower one first, and waits until their files are read.
OPEN_BOTH = """new Promise((done) => {
  const [upper, lower] = document.querySelectorAll("#list .title");
  lower.click();
  upper.click();
  const request = indexedDB.open("dreamr");
  request.onsuccess = () => {
    const change = request.result.transaction("files", "readwrite"); // after what reads them
    change.objectStore("files").count();
    change.oncomplete = () => { request.result.close(); done(); };
  };
})"""


def test_the_chat_that_was_chosen_last_is_shown(browser: Any, tmp_path: Path) -> None:
    """Though the files of one that was chosen before take longer to read."""
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url) as page:
        send(page, QUESTION, tmp_path / "r.png")
        page.click("#fresh")
        send(page, "Another question?")
        page.reload()
        opened(page)
        page.evaluate(OPEN_BOTH)
        assert page.locator(".run h2").all_inner_texts() == ["Another question?"]


def test_two_tabs_share_their_chats(browser: Any, tmp_path: Path) -> None:
    """Questions of both tabs in one chat are kept, and each tab shows those of the other."""
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url) as first:
        send(first, QUESTION, tmp_path / "r.png")
        second = first.context.new_page()
        second.goto(first.url)
        opened(second)
        send(second, "Asked in the second tab?")
        first.locator(".run h2", has_text="Asked in the second tab?").wait_for()
        send(first, "Asked in the first tab?")
        second.locator(".run").nth(2).locator(".answer", has_text="3.70").wait_for()
        asked = [QUESTION, "Asked in the second tab?", "Asked in the first tab?"]
        first.click("#fresh")
        send(first, "A chat of its own?")
        second.locator("#list .title", has_text="A chat of its own?").wait_for()
        assert second.locator(".run h2").all_inner_texts() == asked
        second.reload()
        opened(second)
        assert second.locator(".run h2").all_inner_texts() == asked
        assert second.locator(".thumbs img").evaluate("it => it.decode().then(() => it.width)") > 0


def test_tabs_that_answer_at_the_same_time_keep_both_answers(browser: Any) -> None:
    with (
        listening(noting([], token_seconds=0.1)) as url,
        page_of(browser, url) as first,
    ):
        send(first, QUESTION)
        second = first.context.new_page()
        second.goto(first.url)
        opened(second)
        for page, question in ((first, "First?"), (second, "Second?")):
            page.fill("#question", question)
            page.click("#send")
        for page in (first, second):
            finished(page)
            page.locator(".run").nth(2).locator(".answer", has_text="3.70").wait_for()
            page.locator(".run").nth(1).locator(".answer", has_text="3.70").wait_for()
        second.reload()
        opened(second)
        assert second.locator(".run h2").all_inner_texts() == [QUESTION, "First?", "Second?"]
        assert second.locator(".answer").all_inner_texts() == ["3.70"] * 3


def test_a_chat_that_one_tab_deletes_is_gone_in_the_other(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as first:
        send(first, QUESTION)
        second = first.context.new_page()
        second.goto(first.url)
        opened(second)
        for _ in range(2):
            second.get_by_role("button", name=f"Delete chat {QUESTION}").click()
        first.locator("#hello").wait_for()
        assert titles(first) == []
        assert first.locator(".run").count() == 0


def test_a_correction_that_is_being_written_stays_while_another_tab_continues_the_chat(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "question.wav").write_bytes(wav(0.5))
    with (
        mishearing() as url,
        page_of(browser, url) as first,
    ):
        send(first, "", tmp_path / "question.wav")
        second = first.context.new_page()
        second.goto(first.url)
        opened(second)
        first.click(".heard button")
        first.locator(".correction textarea").fill("What do tea and ")
        send(second, "And coffee?")
        first.locator(".run").nth(1).locator(".answer", has_text="3.70").wait_for()
        first.keyboard.type("milk cost together?")
        first.keyboard.press("Enter")
        first.locator(".heard", has_text=f"Corrected in question.wav: “{QUESTION}”").wait_for()
        finished(first)
        assert first.locator(".run h2").all_inner_texts() == ["And coffee?", QUESTION]


# As in a browser that blocks the data of sites.
BLOCKED = """
Object.defineProperty(window, "indexedDB", { value: null });
Object.defineProperty(window, "sessionStorage", {
  get() { throw new DOMException("blocked", "SecurityError"); },
});
"""


def test_a_page_without_storage_says_so(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sk-one\n")
    wrong: list[str] = []
    with listening(keys_file=str(tmp_path / "keys")) as url:
        context = browser.new_context()
        context.add_init_script(BLOCKED)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.locator("#kept", has_text="keeps no chats").wait_for()
        page.fill("#key", "sk-one")
        page.locator("#key").blur()
        page.locator("#about", has_text="target").wait_for()
        send(page, QUESTION)
        context.close()
    assert wrong == []
