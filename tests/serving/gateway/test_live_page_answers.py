"""What the live page shows of an answer, and how a question is corrected and asked again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation, Text
from dreamr.engines import Capabilities
from support.attachments import pdf, png, wav
from support.gateways import QUESTION
from support.listening import listening
from support.media_files import clip
from support.pages import finished, noting, page_of, send, streamed
from support.pairs import RIGHT, Pair
from support.sounds import Scripted

pytestmark = pytest.mark.browser

DEAF: dict[str, Any] = {"capabilities": Capabilities(hears=False, hearing_problem="text only")}
SPOKEN = RunOptions(method="target", transcriber="small")
MISHEARD = "What do T and milk cost together?"


def test_what_was_heard_is_corrected_and_asked_again(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "question.wav").write_bytes(wav(0.5))
    seen: list[Conversation] = []
    scripted = Scripted({"question.wav": MISHEARD})
    with (
        listening(noting(seen, **DEAF), SPOKEN, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, "", tmp_path / "question.wav")
        heard = page.locator(".heard", has_text=f"Heard in question.wav: “{MISHEARD}”")
        heard.get_by_role("button", name="Correct").click()
        field = page.get_by_role("textbox", name="What was said in question.wav")
        assert field.input_value() == MISHEARD
        field.fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator(".heard", has_text=f"Corrected in question.wav: “{QUESTION}”").wait_for()
        finished(page)
        assert page.locator(".run").count() == 1
        assert page.locator(".run h2").inner_text() == QUESTION
        send(page, "And coffee?")
        assert page.locator(".heard").count() == 1
    assert seen[0].turns[-1].parts == (Text(MISHEARD),)
    assert seen[-1].turns[0].parts == (Text(QUESTION),)


def test_a_correction_is_not_sent_for_another_sound_of_the_same_name(
    browser: Any, tmp_path: Path
) -> None:
    for name, seconds in (("first", 0.5), ("second", 0.6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "question.wav").write_bytes(wav(seconds))
    seen: list[Conversation] = []
    scripted = Scripted({"question.wav": MISHEARD})
    with (
        listening(noting(seen, **DEAF), SPOKEN, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, "", tmp_path / "first" / "question.wav")
        page.click(".heard button")
        page.locator(".correction textarea").fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator(".heard", has_text="Corrected").wait_for()
        finished(page)
        page.get_by_role("button", name="Edit the question").click()
        page.click("#waiting button")
        page.set_input_files("#file", tmp_path / "second" / "question.wav")
        page.locator("#waiting button").wait_for()
        page.click("#send")
        page.locator(".run h2", has_text="Spoken question").wait_for()
        finished(page)
    assert seen[-1].turns[0].parts == (Text(MISHEARD),)


# Deletes the contents of files, as a browser does that needs the room.
FORGET = """new Promise((done) => {
  const request = indexedDB.open("dreamr");
  request.onsuccess = () => {
    const change = request.result.transaction("files", "readwrite");
    change.objectStore("files").clear();
    change.oncomplete = () => { request.result.close(); done(); };
  };
})"""


def test_what_was_heard_outlives_the_sound(browser: Any, tmp_path: Path) -> None:
    for name, seconds in (("first", 0.5), ("second", 0.6)):
        (tmp_path / f"{name}.wav").write_bytes(wav(seconds))
    seen: list[Conversation] = []
    scripted = Scripted({"first.wav": QUESTION, "second.wav": MISHEARD})
    with (
        listening(noting(seen, **DEAF), SPOKEN, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, "", tmp_path / "first.wav")
        page.evaluate(FORGET)
        page.reload()
        page.locator(".thumbs", has_text="not kept").wait_for()
        send(page, "", tmp_path / "second.wav")
        page.get_by_role("button", name="Correct what was heard in second.wav").wait_for()
        assert page.locator(".heard").count() == 2
    assert [turn.parts for turn in seen[-1].turns if turn.role == "user"] == [
        (Text(QUESTION),),
        (Text(MISHEARD),),
    ]


def test_a_corrected_sound_beside_a_question_is_sent_as_text(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "note.wav").write_bytes(wav(0.5))
    seen: list[Conversation] = []
    scripted = Scripted({"note.wav": "T costs 2.50."})
    with (
        listening(noting(seen, **DEAF), SPOKEN, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, QUESTION, tmp_path / "note.wav")
        page.click(".heard button")
        page.locator(".correction textarea").fill("Tea costs 2.50.")
        page.click(".correction button.main")
        page.locator(".heard", has_text="Corrected").wait_for()
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
    texts = [part.text for part in seen[-1].turns[0].parts if isinstance(part, Text)]
    assert texts == ["Speech in note.wav: Tea costs 2.50.\n", QUESTION]


def test_what_was_heard_in_a_video_is_corrected(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip(3, codec="libx264", sound=0.3))
    (tmp_path / "other.mp4").write_bytes(clip(2, codec="libx264", sound=0.6))
    seen: list[Conversation] = []
    scripted = Scripted({"clip.mp4": "T costs 2.50.", "other.mp4": "Good day."})
    with (
        listening(noting(seen, **DEAF), SPOKEN, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, QUESTION, tmp_path / "clip.mp4", tmp_path / "other.mp4")
        page.get_by_role("button", name="Correct what was heard in clip.mp4").click()
        page.locator(".correction textarea").fill("Tea costs 2.50.")
        page.keyboard.press("Enter")
        page.locator(".heard", has_text="Tea costs").wait_for()
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        send(page, "And coffee?")
    for conversation in seen[1:]:
        parts = conversation.turns[0].parts
        text = "".join(part.text for part in parts if isinstance(part, Text))
        assert re.findall("Speech in .*", text) == [
            "Speech in clip.mp4: Tea costs 2.50.",
            "Speech in other.mp4: Good day.",
        ]
        assert len(conversation.images) == 5


def test_what_was_read_of_files_is_shown(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30, 120, 220))
    (tmp_path / "clip.mp4").write_bytes(clip(3, codec="libx264", sound=0.3))
    (tmp_path / "r.png").write_bytes(png())
    seen: list[Conversation] = []
    with listening(noting(seen)) as url, page_of(browser, url) as page:
        page.set_input_files("#file", [tmp_path / n for n in ("r.png", "bill.pdf", "clip.mp4")])
        page.fill("#pages", "1,3")
        page.fill("#frames", "2")
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        found = page.locator(".read").all_inner_texts()
        assert found[0] == "bill.pdf: pages 1, 3 of 3"
        assert found[1].startswith("clip.mp4: 2 frames of 0.")
        assert found[1].endswith(", with sound")
        send(page, "And coffee?")  # about the same files: their choice stays
        assert page.locator(".run").nth(1).locator(".read").count() == 0
    assert len(seen[-1].images) == 5


def test_too_many_pages_are_reduced_with_the_field_of_pages(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30, 120, 220))
    with listening(max_images=2) as url, page_of(browser, url, errors=True) as page:
        assert not page.locator("#pages").is_visible()
        page.set_input_files("#file", tmp_path / "bill.pdf")
        page.locator("#waiting button").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="dreamr.pages").wait_for()
        finished(page)
        assert page.evaluate("document.activeElement.id") == "pages"
        page.keyboard.type("2-3")
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        assert page.locator(".read").inner_text() == "bill.pdf: pages 2\u20133 of 3"
        assert page.locator(".run").count() == 1  # the refused question is replaced


def test_stopping_cancels_the_run_and_keeps_what_was_written(browser: Any) -> None:
    pair = Pair(target={"script": (RIGHT[0], "Milk costs " * 10_000), "token_seconds": 0.01})
    with listening(pair, RunOptions(method="target")) as url, page_of(browser, url) as page:
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator("li.target", has_text="Tea costs 2.50.").wait_for()
        page.click("#send")
        page.locator(".wrong", has_text="Stopped").wait_for()
        finished(page)
        assert page.locator("li.target .text").all_inner_texts() == ["Tea costs 2.50."]
        assert page.locator(".answer:visible").count() == 0
        for _ in range(100):
            if pair.opened["target"].open_streams == 0:
                break
            page.wait_for_timeout(20)
        else:
            pytest.fail("the run continues")


CALL = {
    "index": 0,
    "id": "call-1",
    "type": "function",
    "function": {"name": "price", "arguments": '{"item": '},
}
REST = {"index": 0, "function": {"arguments": '"tea"}'}}
TOOL = {"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}


def test_calls_of_tools_are_shown_and_their_results_sent(browser: Any) -> None:
    answers = [
        streamed({"role": "assistant", "tool_calls": [CALL]}, {"tool_calls": [REST]}),
        streamed({"role": "assistant", "content": "Tea costs 2.50."}, finish="stop"),
    ]
    requests: list[Any] = []

    def answer(route: Any) -> None:
        requests.append(route.request.post_data_json)
        body = answers[len(requests) - 1]
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    with listening() as url, page_of(browser, url) as page:
        page.route("**/v1/chat/completions", answer)
        page.click("#options summary")
        page.fill("#tools", json.dumps([TOOL]))
        page.fill("#question", "What does tea cost?")
        page.click("#send")
        page.locator(".call code", has_text="price").wait_for()
        finished(page)
        assert json.loads(page.locator(".call pre").inner_text()) == {"item": "tea"}
        page.get_by_role("textbox", name="Result of price").fill("2.50")
        page.get_by_role("button", name="Send result").click()
        page.locator(".answer", has_text="Tea costs 2.50.").wait_for()
        finished(page)
        assert page.locator(".call .result").inner_text() == "Result: 2.50"
    first, second = requests
    assert first["tools"] == second["tools"] == [TOOL]
    call = {"name": "price", "arguments": '{"item": "tea"}'}
    assert second["messages"] == [
        {"role": "user", "content": "What does tea cost?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call-1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call-1", "content": "2.50"},
    ]


def test_tools_that_are_not_a_list_are_refused_before_anything_is_sent(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.click("#options summary")
        page.fill("#tools", "{")
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator("#trouble", has_text="not a JSON list").wait_for()
        assert page.input_value("#question") == QUESTION
        assert page.locator(".run").count() == 0


def test_a_model_without_a_draft_is_shown(browser: Any) -> None:
    body = streamed(
        {"role": "assistant", "reasoning_content": "Tea is "},
        {"reasoning_content": "2.50."},
        {"content": "3.70"},
        finish="stop",
    )
    with listening() as url, page_of(browser, url) as page:
        page.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
        )
        send(page, QUESTION)
        assert page.locator("li .text").inner_text() == "Tea is 2.50."
        assert page.locator(".board:visible").count() == 0


USAGE = {"draft": {"accepted": 0}, "target": {"kept": 5}}
SUMMARY = {"seconds": 1.0, "target_alone_seconds": None, "usage": USAGE, "level": "full"}


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"level": "target_alone"}, "The target answered alone: at present"),
        ({"pass_through": "no tool parser"}, "The target answered alone: no tool parser"),
        (
            {"event": {"event": "DeadlineNear", "time": 1.0, "stage": "best", "left": 0.1}},
            "The deadline is near: this is the best answer so far.",
        ),
    ],
)
def test_the_page_says_where_speculation_was_given_up(browser: Any, more: Any, note: str) -> None:
    chunks = (
        {"choices": [{"index": 0, "delta": {"content": "3.70"}, "finish_reason": "stop"}]},
        {"choices": [], "dreamr": {**SUMMARY, **more}},
    )
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    with listening() as url, page_of(browser, url) as page:
        page.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
        )
        send(page, QUESTION)
        page.locator(".notes", has_text=note).wait_for()


def test_a_model_is_chosen_where_the_gateway_serves_several(browser: Any) -> None:
    pair = {"draft": "small", "target": "hub/large", "method": "fpsr", "version": "1"}
    models = {"data": [{"id": "dreamr", "dreamr": pair}, {"id": "plain"}]}
    requests: list[Any] = []

    def answer(route: Any) -> None:
        requests.append(route.request.post_data_json)
        body = streamed({"content": "3.70"}, finish="stop")
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    with listening() as url, page_of(browser, url) as page:
        assert page.locator("#model-field:visible").count() == 0
        page.route("**/v1/models", lambda route: route.fulfill(json=models))
        page.route("**/v1/chat/completions", answer)
        page.reload()
        page.locator("#about", has_text="draft small · target hub/large · fpsr · 1").wait_for()
        page.click("#options summary")
        page.select_option("#model", "plain")
        assert page.locator("#about").inner_text() == "plain"
        page.fill("#deadline", "2.5")
        send(page, QUESTION)
    assert requests[0]["model"] == "plain"
    assert requests[0]["dreamr"]["deadline"] == 2.5


def test_a_question_is_edited_and_asked_again(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "r.png").write_bytes(png())
    seen: list[Conversation] = []
    with listening(noting(seen)) as url, page_of(browser, url) as page:
        send(page, "What does tea cost?", tmp_path / "r.png")
        page.get_by_role("button", name="Edit the question").click()
        assert page.locator("#waiting img").count() == 1
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator(".run h2", has_text=QUESTION).wait_for()
        finished(page)
        page.get_by_role("button", name="Ask again").click()
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert page.locator(".run").count() == 1
    assert [len(one.turns) for one in seen] == [1] * len(seen)
    assert len(seen[-1].images) == 1


def test_files_are_dropped_and_pasted(browser: Any) -> None:
    give = """(kind) => {
      const data = new DataTransfer();
      for (const name of ["a.txt", "a.txt"]) data.items.add(new File(["%PDF-1.7"], name));
      const options = { bubbles: true, cancelable: true };
      document.querySelector("#question").dispatchEvent(kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, ...options })
        : new ClipboardEvent("paste", { clipboardData: data, ...options }));
    }"""
    with listening() as url, page_of(browser, url) as page:
        page.evaluate(give, "drop")
        page.locator("#waiting button").nth(1).wait_for()
        page.evaluate(give, "paste")
        page.locator("#waiting button").nth(3).wait_for()
        assert page.evaluate(DRAG_TEXT)  # left to the browser
        names = page.locator("#waiting .file span").all_inner_texts()
        assert names == ["a.txt", "a-2.txt", "a-3.txt", "a-4.txt"]
        assert page.locator("#pages").is_visible()


DRAG_TEXT = """() => {
  const data = new DataTransfer();
  data.setData("text/plain", "tea");
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  return document.querySelector("#question").dispatchEvent(new DragEvent("drop", options));
}"""
