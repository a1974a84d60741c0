"""Fields, keys and buttons of the live page: what sends a question and what stops an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.attachments import wav
from support.gateways import QUESTION
from support.listening import listening
from support.pages import Held, finished, mishearing, page_of, returned, send, streamed

pytestmark = pytest.mark.browser

COMPLETIONS = "**/v1/chat/completions"
MODELS = "**/v1/models"


def test_legal_values_of_the_options_are_sent_with_the_button(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        held = Held(page)
        page.click("#options summary")
        page.fill("#threshold", "0.975")
        page.fill("#deadline", "0.25")
        page.fill("#question", QUESTION)
        page.click("#send")
        held.answer()
        options = held.requests[0]["dreamr"]
    assert (options["threshold"], options["deadline"]) == (0.975, 0.25)


def test_an_illegal_value_in_a_hidden_field_is_refused_with_a_message(browser: Any) -> None:
    with listening() as url, page_of(browser, url, errors=True) as page:
        page.click("#options summary")
        page.fill("#window", "-1")
        page.click("#options summary")
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="window").wait_for()


def test_a_value_that_is_not_a_number_is_not_ignored(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.click("#options summary")
        page.locator("#window").press_sequentially("1e")
        page.click("#options summary")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator("#trouble", has_text="The value of Window is not a number").wait_for()
        assert page.evaluate("document.activeElement.id") == "window"
        assert page.locator(".run").count() == 0
        assert page.input_value("#question") == QUESTION


def test_an_answer_is_stopped_whatever_the_fields_hold(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        Held(page)
        page.click("#options summary")
        page.fill("#window", "1000")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.click("#send.stop")
        page.locator(".wrong", has_text="Stopped").wait_for()


@pytest.mark.parametrize("field", ["window", "threshold", "deadline"])
def test_enter_in_a_field_does_not_stop_an_answer(browser: Any, field: str) -> None:
    with listening() as url, page_of(browser, url) as page:
        held = Held(page)
        page.click("#options summary")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator("#send.stop").wait_for()
        page.press(f"#{field}", "Enter")
        held.answer()
        assert page.locator(".wrong:visible").count() == 0


def test_the_button_stops_an_answer_with_the_keyboard(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        Held(page)
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.press("#send.stop", "Enter")
        page.locator(".wrong", has_text="Stopped").wait_for()


PROMPT = """() => {
  const { mediaDevices } = navigator;
  const ask = mediaDevices.getUserMedia.bind(mediaDevices);
  window.prompts = [];
  mediaDevices.getUserMedia = (wanted) => new Promise((done) => {
    window.prompts.push(() => done(ask(wanted)));
  });
}"""


def test_one_recording_is_started_while_the_microphone_is_asked_for(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.evaluate(PROMPT)
        page.click("#record")
        page.click("#record")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")  # the recording belongs to the question
        assert page.locator(".run").count() == 0
        assert page.evaluate("prompts.length") == 1
        page.evaluate("prompts.forEach((allow) => allow())")
        page.locator("#record", has_text="Stop").wait_for()
        page.click("#record")
        page.locator("#waiting .file", has_text="recording.webm").wait_for()
        assert page.locator("#waiting .file").count() == 1
        assert page.locator("#record").inner_text() == "Record"


def test_a_refused_microphone_can_be_asked_for_again(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.evaluate("""() => {
          const { mediaDevices } = navigator;
          const ask = mediaDevices.getUserMedia.bind(mediaDevices);
          mediaDevices.getUserMedia = () => {
            mediaDevices.getUserMedia = ask;
            return Promise.reject(new DOMException("refused", "NotAllowedError"));
          };
        }""")
        page.click("#record")
        page.locator("#trouble", has_text="does not allow this page").wait_for()
        page.click("#record")
        page.locator("#record", has_text="Stop").wait_for()


def test_a_refused_question_leads_to_the_field_of_the_key(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sk-one\n")
    with (
        listening(keys_file=str(tmp_path / "keys")) as url,
        page_of(browser, url, errors=True) as page,
    ):
        page.locator("#about", has_text="requires an API key").wait_for()
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        returned(page, QUESTION)
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type("sk-one")
        page.keyboard.press("Enter")
        page.locator(".answer", has_text="3.70").wait_for()


@pytest.mark.parametrize("sign", ["a question", "online", "visibilitychange"])
def test_the_models_are_asked_for_again_once_the_gateway_is_back(browser: Any, sign: str) -> None:
    with listening() as url, page_of(browser, url, errors=True) as page:
        page.route(MODELS, lambda route: route.fulfill(status=503, json={}))
        page.reload()
        page.locator("#about", has_text="The gateway returned status 503").wait_for()
        page.unroute(MODELS)
        if sign == "a question":
            send(page, QUESTION)
        else:
            page.evaluate("sign => document.dispatchEvent(new Event(sign, {bubbles: true}))", sign)
        page.locator("#about", has_text="target").wait_for()


# What replaces an answer


# A run whose draft has written a step when the target fails.
OPENED = [
    {"event": "LaneOpened", "time": 0, "lane": 1, "role": "draft", "position": 0, "resample": 0},
    {"event": "StepReady", "time": 0, "lane": 1, "role": "draft", "position": 0}
    | {"step": {"text": "Tea costs 2.50."}},
    {"event": "LaneOpened", "time": 0, "lane": 2, "role": "target", "position": 0, "resample": 0},
]


def failing(page: Any, how: str) -> None:
    """Let the gateway be unreachable, refuse each question, or fail before an answer begins."""
    error = {"error": {"message": "the gateway is busy", "code": "overloaded"}}
    if how == "down":
        page.route(COMPLETIONS, lambda route: route.abort())
    elif how == "busy":
        page.route(COMPLETIONS, lambda route: route.fulfill(status=429, json=error))
    else:
        events = OPENED if how == "opened" else []
        chunks = [*({"choices": [], "dreamr": {"event": one}} for one in events), error]
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks)
        page.route(
            COMPLETIONS,
            lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
        )


def shown(page: Any) -> list[tuple[str, str]]:
    """Return the questions that are shown, with their answers."""
    runs = page.locator(".run:visible").all()
    return [(one.locator("h2").inner_text(), one.locator(".answer").inner_text()) for one in runs]


@pytest.mark.parametrize("how", ["down", "busy", "failed", "opened"])
@pytest.mark.parametrize("edited", [False, True])
def test_an_answer_stays_if_the_request_that_would_replace_it_fails(
    browser: Any, how: str, edited: bool
) -> None:
    with listening() as url, page_of(browser, url, errors=True) as page:
        send(page, QUESTION)
        failing(page, how)
        if edited:
            page.get_by_role("button", name="Edit the question").click()
            page.fill("#question", "What does tea cost?")
            page.keyboard.press("Enter")
        else:
            page.get_by_role("button", name="Ask again").click()
        page.locator("#trouble:visible").wait_for()
        assert shown(page) == [(QUESTION, "3.70")]
        assert page.input_value("#question") == ("What does tea cost?" if edited else "")
        page.reload()
        page.locator(".run").first.locator(".answer", has_text="3.70").wait_for()


def test_a_question_whose_run_fails_before_anything_is_written_is_put_back(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        failing(page, "opened")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator(".wrong", has_text="the gateway is busy").wait_for()
        returned(page, QUESTION)
        page.unroute(COMPLETIONS)
        page.keyboard.press("Enter")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert shown(page) == [(QUESTION, "3.70")]


@pytest.mark.parametrize("edited", [False, True])
def test_a_request_that_is_repeated_after_a_failure_replaces_the_answer(
    browser: Any, edited: bool
) -> None:
    question = "What does tea cost?" if edited else QUESTION
    with listening() as url, page_of(browser, url, errors=True) as page:
        send(page, QUESTION)
        failing(page, "busy")
        if edited:
            page.get_by_role("button", name="Edit the question").click()
            page.fill("#question", question)
            page.keyboard.press("Enter")
        else:
            page.get_by_role("button", name="Ask again").click()
        page.locator("#trouble:visible").wait_for()
        page.unroute(COMPLETIONS)
        held = Held(page)
        if edited:
            page.click("#send")
        else:
            page.get_by_role("button", name="Ask again").click()
        held.answer("4.10")
        assert [one["content"] for one in held.requests[0]["messages"]] == [question]
        assert shown(page) == [(question, "4.10")]
        assert page.locator("#trouble:visible").count() == 0


def test_an_answer_stays_if_the_request_that_would_replace_it_is_stopped(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        send(page, QUESTION)
        Held(page)
        page.get_by_role("button", name="Ask again").click()
        page.click("#send.stop")
        finished(page)
        assert shown(page) == [(QUESTION, "3.70")]


def test_a_correction_that_fails_is_put_back(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "question.wav").write_bytes(wav(0.5))
    with (
        mishearing() as url,
        page_of(browser, url, errors=True) as page,
    ):
        send(page, "", tmp_path / "question.wav")
        failing(page, "busy")
        page.click(".heard button")
        page.locator(".correction textarea").fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator("#trouble:visible").wait_for()
        assert shown(page) == [("Spoken question", "3.70")]
        page.unroute(COMPLETIONS)
        page.click("#send")
        page.locator(".heard", has_text=f"Corrected in question.wav: “{QUESTION}”").wait_for()
        finished(page)
        assert shown(page) == [(QUESTION, "3.70")]


def test_a_question_that_was_written_meanwhile_is_kept(browser: Any) -> None:
    """Then an edited question that failed is shown with its error, beside the earlier answer."""
    with listening() as url, page_of(browser, url, errors=True) as page:
        send(page, QUESTION)
        held = Held(page)
        page.get_by_role("button", name="Edit the question").click()
        page.fill("#question", "What does tea cost?")
        page.keyboard.press("Enter")
        page.locator("#send.stop").wait_for()
        page.fill("#question", "And coffee?")
        held.refuse()
        finished(page)
        assert shown(page) == [(QUESTION, "3.70"), ("What does tea cost?", "")]
        assert page.input_value("#question") == "And coffee?"


def test_an_answer_stays_while_the_tools_cannot_be_read(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        send(page, QUESTION)
        page.click("#options summary")
        page.fill("#tools", "{")
        page.get_by_role("button", name="Ask again").click()
        page.locator("#trouble", has_text="not a JSON list").wait_for()
        assert shown(page) == [(QUESTION, "3.70")]
        page.get_by_role("button", name="Edit the question").click()
        page.fill("#question", "What does tea cost?")
        page.keyboard.press("Enter")
        page.locator("#trouble", has_text="not a JSON list").wait_for()
        assert shown(page) == [(QUESTION, "3.70")]
        assert page.input_value("#question") == "What does tea cost?"
        page.fill("#tools", "")
        page.click("#send")
        page.locator(".run h2", has_text="What does tea cost?").wait_for()
        finished(page)
        assert shown(page) == [("What does tea cost?", "3.70")]


def test_results_of_tools_stay_while_the_tools_cannot_be_read(browser: Any) -> None:
    call = {"index": 0, "id": "call-1", "function": {"name": "price", "arguments": "{}"}}
    with listening() as url, page_of(browser, url) as page:
        held = Held(page)
        page.fill("#question", QUESTION)
        page.click("#send")
        held.stream(streamed({"tool_calls": [call]}))
        result = page.get_by_role("textbox", name="Result of price")
        result.fill("2.50")
        page.click("#options summary")
        page.fill("#tools", "{")
        page.get_by_role("button", name="Send result").click()
        page.locator("#trouble", has_text="not a JSON list").wait_for()
        assert result.input_value() == "2.50"
        page.fill("#tools", "")
        page.get_by_role("button", name="Send result").click()
        held.answer()
        page.fill("#tools", "{")
        page.get_by_role("button", name="Ask again").click()
        page.locator("#trouble", has_text="not a JSON list").wait_for()
        assert shown(page)[-1] == ("Results of tools", "3.70")
        page.fill("#tools", "")
        page.get_by_role("button", name="Ask again").click()
        held.answer()
    assert [one["messages"][-1]["role"] for one in held.requests] == ["user", "tool", "tool"]
