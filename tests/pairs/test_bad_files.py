"""Broken pair files: each mistake is one fault that says what to do, at its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dreamr.pairs import BadPairFile, examine, read_pair_file

URL = """\
models:
  m:
    url: http://h:1/v1
pairs:
  p:
    target: m
"""
LAUNCH = """\
models:
  m:
    launch:
      engine: vllm
      model: org/x
pairs:
  p:
    target: m
"""


def launch(line: str) -> str:
    """The file with one more key of the launch, in line 6."""
    return LAUNCH.replace("org/x", f"org/x\n      {line}")


def faults(folder: Path, content: str | bytes) -> list[str]:
    path = folder / "pair.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [fault.at("f")[2:] for fault in examine(path, environment={"WORD": "eight"}).faults]


def warnings(folder: Path, text: str) -> list[str]:
    path = folder / "pair.yaml"
    path.write_text(text)
    found = examine(path, environment={})
    assert not found.faults
    return [warning.at("f")[2:] for warning in found.warnings]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (URL.replace("models", "model"), '1:1: unknown key "model": did you mean "models"?'),
        (URL.replace("pairs", "pair"), '4:1: unknown key "pair": did you mean "pairs"?'),
        (URL.replace("url", "ulr"), '3:5: unknown key "ulr": did you mean "url"?'),
        (URL.replace("target", "tagret"), '6:5: unknown key "tagret": did you mean "target"?'),
        (LAUNCH.replace("engine", "enigne"), '4:7: unknown key "enigne": did you mean "engine"?'),
        (launch("contxt: 1"), '6:7: unknown key "contxt": did you mean "context"?'),
        (URL + "gateway: {prot: 1}\n", '7:11: unknown key "prot": did you mean "port"?'),
        (
            URL.replace("url", "engine: x\n    url"),
            '3:5: unknown key "engine": write it in "launch"',
        ),
    ],
)
def test_a_misspelled_key_is_one_fault_also_if_it_is_required(
    tmp_path: Path, content: str, expected: str
) -> None:
    assert faults(tmp_path, content) == [expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n", "1:1: the file must be a mapping, not a list"),
        ("hello\n", "1:1: the file must be a mapping, not 'hello'"),
        ("# nothing\n", "1:1: the file is empty: declare models and pairs"),
        (URL.replace("http://h:1/v1", "[]"), "3:10: url must not be empty"),
        (URL.replace("http://h:1/v1", "{a: b}"), "3:10: url must be text, not a mapping"),
        (URL.replace("    target: m\n", ""), "5:5: p must be a mapping, not empty"),
        (URL.replace("target: m", "target: [m]"), "6:13: target must be text, not a list"),
        (launch("devices: 0"), "6:16: devices must be a list, not 0: write [0]"),
        (launch("devices: cuda:1"), "6:16: devices must be a list, not 'cuda:1': write [1]"),
        (launch("devices: [cuda]"), "6:17: devices must be a whole number, not 'cuda'"),
        (launch("devices: [-1]"), "6:17: devices must be at least 0, not -1"),
        (launch("devices: [1, 1]"), "6:7: a device is named twice"),
        (
            launch("flags: --seed 1"),
            "6:14: flags must be a list, not '--seed 1': write [--seed, 1]",
        ),
        (
            launch("command: /x/vllm"),
            "6:16: command must be a list, not '/x/vllm': write [/x/vllm]",
        ),
        (launch("env: [A=b]"), "6:12: env must be a mapping of names, not a list"),
        (launch("memory: 80%"), "6:15: memory must be a number, not '80%'"),
        (launch("memory: .nan"), "6:15: memory must be a number, not '.nan'"),
        (launch("context: 32k"), "6:16: context must be a whole number, not '32k'"),
        (
            launch("context: 99999999999999999999"),
            "6:16: context must be at most 2147483647, not 99999999999999999999",
        ),
        (launch("port: ${WORD}"), "6:13: port must be a whole number, not 'eight'"),
        (launch("port: 8500"), "6:13: port 8500 is that of the gateway too: choose another one"),
        (
            LAUNCH.replace("org/x", "http://h:1/v1"),
            '5:14: http://h:1/v1 is an address: write it as "url" instead of "launch"',
        ),
        (
            URL.replace("http://h", "http://user:word@h"),
            "3:10: url: a server URL must not contain a user name or a password: write api_key: "
            "${NAME}, and set that variable",
        ),
        (URL.replace("m:\n    url", "M_1:\n    url"), "2:3: the name in models must be lower-case"),
        ("name: ../x\n" + URL, "1:7: name must be lower-case letters, digits and dashes"),
    ],
)
def test_a_wrong_value_names_what_to_write(tmp_path: Path, content: str, expected: str) -> None:
    found = faults(tmp_path, content)
    assert found
    assert found[0].startswith(expected), found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (URL.replace("  m:", "\tm:"), "2:1: not valid YAML: a tab: use spaces"),
        (URL.replace("url: ", "url:\t"), "3:9: not valid YAML: a tab: use spaces"),
        (URL.replace("    target", " target"), "6:2: not valid YAML: wrong indentation: begin"),
        (URL.replace("http:", "'http:"), "3:10: not valid YAML: a quote that is not closed"),
        (URL + "    window\n    seed: 1\n", "8:5: not valid YAML: a key without a colon"),
        (URL.replace("url: h", "url: a: h"), "3:11: not valid YAML: a second colon: indent"),
        ("a: &a [*a]\n", "1:8: aliases (*a) are not supported: repeat it"),
        (URL + "pairs: {}\n", '7:1: "pairs" is given twice; first in line 4'),
        (URL.encode("utf-16"), "1:1: not UTF-8 text: save it as UTF-8"),
        (URL.encode("utf-16-le"), "1:2: not valid YAML: the character U+0000, which YAML does not"),
        (URL.encode().replace(b"target: m", b"target: \xfc"), "6:1: not UTF-8 text: save it as"),
    ],
)
def test_text_that_is_not_yaml_says_how_to_repair_it(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    [found] = faults(tmp_path, content)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    "text", ["\ufeff" + URL, URL.replace("\n", "\r\n"), "%YAML 1.2\n---\n" + URL]
)
def test_marks_of_other_editors_are_no_fault(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text) == []


@pytest.mark.parametrize("escape", ["\\0", "\\ud800"])
@pytest.mark.parametrize("line", ['flags: ["{}"]', 'env: {{A: "{}"}}', 'command: ["{}"]'])
def test_what_no_process_can_be_given_is_a_fault(tmp_path: Path, line: str, escape: str) -> None:
    [found] = faults(tmp_path, launch(line.format(escape)))
    assert "contains a NUL or half of a surrogate pair: remove the escape" in found
    [found] = faults(tmp_path, URL + f'    gate: cascade\n    profile: "{escape}"\n')
    assert found.startswith("8:14: profile contains a NUL")


def test_a_file_that_is_not_here_is_a_warning(tmp_path: Path) -> None:
    text = LAUNCH.replace("org/x", "./weights") + "gateway: {keys_file: keys.txt}\n"
    assert warnings(tmp_path, text) == [
        f"5:14: there is no {tmp_path / 'weights'}",
        f"9:22: there is no {tmp_path / 'keys.txt'}",
    ]
    (tmp_path / "weights").mkdir()
    (tmp_path / "keys.txt").touch()
    assert warnings(tmp_path, text) == []


def test_a_model_that_drafts_for_itself_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, URL + "    draft: m\n") == [
        "7:5: target and draft are the same model: name a smaller one as the draft"
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("./bin/vllm", "{}/bin/vllm"), ("bin/vllm", "{}/bin/vllm"), ("vllm", "vllm"), ("/x", "/x")],
)
def test_a_program_is_relative_to_the_file_unless_path_has_it(
    tmp_path: Path, word: str, expected: str
) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(launch(f"command: [{word}, serve]"))
    found = read_pair_file(path).models["m"].launch
    assert found is not None
    assert found.command == (expected.format(tmp_path), "serve")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.yaml", "No such file or directory; dreamr pair init writes one"),
        (".", "Is a directory"),
        ("~no-such-user/pair.yaml", "No such file or directory"),
        ("/dev/zero", "not a regular file"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadPairFile, match="cannot read the pair file") as raised:
        read_pair_file(name)
    assert expected in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_pipe_is_read(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, URL.encode())
    os.close(write)
    assert read_pair_file(f"/dev/fd/{read}").pairs["p"].target == "m"
    os.close(read)
