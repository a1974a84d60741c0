from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreamr.engines import ModelSource, is_served
from dreamr.engines.address import is_address, parse_address, without_secrets
from dreamr.errors import ModelNotFound

ACCEPTED = {
    "http://gpu:8000/v1": "http://gpu:8000/v1",
    "http://gpu:8000": "http://gpu:8000/v1",
    "http://gpu:8000/": "http://gpu:8000/v1",
    "HTTP://GPU:8000/v1": "http://gpu:8000/v1",
    "  https://api.example.com/v1\n": "https://api.example.com/v1",
    "'http://gpu:8000/v1'": "http://gpu:8000/v1",
    "<http://gpu:8000/v1>": "http://gpu:8000/v1",
    "\ufeffhttp://gpu:8000/v1": "http://gpu:8000/v1",
    "127.0.0.1:9100/plain/v1": "http://127.0.0.1:9100/plain/v1",
    "localhost:8000": "http://localhost:8000/v1",
    "localhost": "http://localhost/v1",
    "gpu1:8000": "http://gpu1:8000/v1",
    "gpu1:443/v1": "https://gpu1:443/v1",
    "gpu1/v1/models": "http://gpu1/v1",
    "[::1]:8000": "http://[::1]:8000/v1",
    "http://[::1]:8000/v1": "http://[::1]:8000/v1",
    "http://gpu:8000/v1/chat/completions": "http://gpu:8000/v1",
    "http://gpu:8000/v1/models/": "http://gpu:8000/v1",
    "http://gpu:8000/chat/completions": "http://gpu:8000/v1",
    "http://gpu:8000/docs#/": "http://gpu:8000/v1",
    "http://localhost:11434/api/chat": "http://localhost:11434/v1",
    "http://gpu:8000//v1//": "http://gpu:8000/v1",
    "http://gpu:8000/v1#part": "http://gpu:8000/v1",
    "https://host.example/v1beta/openai/": "https://host.example/v1beta/openai",
}
REFUSED = {
    "ftp://gpu/v1": "begin the address of a server with http:// or https://",
    "http://gpu:99999/v1": "write a port from 1 to 65535",
    "http://gpu:port/v1": "write a port from 1 to 65535",
    "http://gpu:0": "write a port from 1 to 65535",
    "http://::1:8000/v1": "write an IPv6 address in brackets, http://[::1]:8000/v1 for example",
    "::1": "write an IPv6 address in brackets, http://[::1]:8000/v1 for example",
    "http://[::1/v1": "write http://host:port/v1",
    "http://:8000/v1": "write http://host:port/v1",
    ":8000/v1": "write http://localhost:8000/v1",
    "http:/gpu:8000/v1": "write http://gpu:8000/v1",
    "http:127.0.0.1:8000": "write http://127.0.0.1:8000",
    "https//gpu/v1": "write https://gpu/v1",
    "https:": "write https://host:port/v1",
    "http://gpu one/v1": "write http://host:port/v1",
    "http://gpu\\v1": "write http://host:port/v1",
    "http://gpu\x1b[2J/v1": "write http://host:port/v1",
    "api.example.com/v1": "write https://api.example.com/v1 or http://api.example.com/v1",
    "api.example.com:8443": "write https://api.example.com:8443/v1 or "
    "http://api.example.com:8443/v1",
    "https://huggingface.co/Qwen/Qwen3": "to load a model of the Hugging Face hub, write its id, "
    "owner/name",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_an_address_that_can_mean_one_server_only_is_accepted(text: str) -> None:
    assert is_served(text)
    assert parse_address(text).base == ACCEPTED[text]
    assert ModelSource(role="target", name=text).location == ACCEPTED[text]


@pytest.mark.parametrize("text", REFUSED)
def test_another_address_is_refused_with_the_right_form(text: str) -> None:
    assert is_served(text)
    with pytest.raises(ModelNotFound) as found:
        parse_address(text)
    message = str(found.value)
    assert message.endswith(f" is not a server URL: {REFUSED[text]}")
    assert message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "Qwen/Qwen3-VL-8B-Instruct",
        "gpt2",
        "embedded",
        "./model",
        "../v1/models",
        "/models/http/v1",
        "~/models/a",
        "models/v1/base",
        "owner/v1",
        "httpmodel",
        "qwen3:8b",
        "C:/models/a",
        "",
    ],
)
def test_folders_names_and_ids_are_not_addresses(text: str) -> None:
    assert not is_served(text)


def test_a_folder_with_the_name_of_an_address_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_served("run:12")
    (tmp_path / "run:12").mkdir()
    assert not is_served("run:12")


@pytest.mark.parametrize(
    "text",
    [
        "http://me:s3cret@gpu:8000/v1",
        "http://me:s3cret/x@gpu:8000/v1",
        "http://me:s3cret#x@gpu:8000/v1",
        "me:s3cret@gpu:8000",
        "https://s3cret@gpu/v1",
        "http://gpu/v1?key=s3cret",
        "http://gpu/v1?s3cret#a",
        "http://gpu:port/v1?key=s3cret",
        "gpu.example?key=s3cret://",
    ],
)
def test_neither_a_password_nor_a_query_is_shown(text: str) -> None:
    assert is_served(text)
    with pytest.raises(ModelNotFound) as found:
        parse_address(text)
    assert "s3cret" not in str(found.value)


def test_a_query_is_refused_with_the_address_before_it() -> None:
    with pytest.raises(ModelNotFound, match=r"must not contain a query .*: write http://gpu/v1$"):
        parse_address("http://gpu/v1/models?api-version=1")


def test_a_long_address_is_shortened_in_messages() -> None:
    with pytest.raises(ModelNotFound) as found:
        parse_address("http://gpu/" + "a" * 10_000)
    assert len(str(found.value)) < 250


def test_an_address_in_a_message_has_no_secrets() -> None:
    assert without_secrets("https://me:pw@gpu:1/a?token=x#y") == "https://gpu:1/a"


PIECES = st.sampled_from(
    [
        *("http", "https", "ftp", ":", "/", "//", "@", "gpu", "1.2.3.4", "[::1]", "::", "8000"),
        *(
            "99999",
            "v1",
            "/models",
            "?",
            "#",
            " ",
            "\n",
            ".",
            "%",
            "é",
            "\x00",
            "\u202e",
            "own/name",
        ),
    ]
)


@example("http/models/models")
@example("http://gpu/docs/models")
@example("http://gpu/models/docs")
@given(st.lists(PIECES, max_size=9).map("".join))
def test_any_text_is_an_address_of_a_usable_form_or_one_clear_line(text: str) -> None:
    is_address(text)
    try:
        address = parse_address(text)
    except ModelNotFound as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 400
        return
    parts = urlsplit(address.base)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.path.strip("/")
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    assert parse_address(address.base) == address, "a base URL stays as it is"
