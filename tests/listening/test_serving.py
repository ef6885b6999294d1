"""The server gives its sounds to its own page, and nothing to anybody else."""

import json
import re
import socket
from http.client import HTTPConnection
from threading import Thread

import numpy as np
import pytest
import soundfile
from tests.report.test_page import Page

from leveret import cli
from leveret.listening import serving
from leveret.listening.neighbours import Sounds
from leveret.listening.serving import LARGEST_UPLOAD, ListenServer
from leveret.loading import load_encoder
from leveret.runner import Compute, runners_of

RATE = 16_000
HOSTILE = "<script>alert(1)<_script><img src=x onerror=alert(1)>\u202e"
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server at work, and its folder."""
    there = tmp_path_factory.mktemp("listen")
    folder = there / "sounds"
    folder.mkdir()
    (there / "secret.wav").write_bytes(b"secret")
    for k, name in enumerate(("a.wav", "b.flac", "c.aiff", f"{HOSTILE}.wav")):
        soundfile.write(folder / name, 0.1 * np.random.default_rng(k).standard_normal(8000), RATE)
    (folder / "bad.wav").write_text("not audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVERET_HOME", str(there / "home"))
        runner = runners_of([load_encoder("melstats")], Compute(device="cpu", threads=1))[0]
        with ListenServer(Sounds.of_folder(folder, runner)) as server:
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server, folder
            server.shutdown()
            thread.join()


def ask(server, path, method="GET", headers=None, body=None, host=None):
    """Status, headers, content; the path goes out as it is."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": host or f"127.0.0.1:{server.server_port}", **(headers or {})}.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def own(server):
    return f"http://127.0.0.1:{server.server_port}"


def number_of(server, name):
    return server.sounds.names.index(name)


def test_it_listens_on_this_machine_alone(served):
    server, _ = served
    assert server.server_address[0] == "127.0.0.1"
    assert re.fullmatch(rf"http://127\.0\.0\.1:{server.server_port}/[\w-]{{20,}}/", server.url)


def test_the_page_names_the_sounds_and_what_was_skipped_and_hostile_names_are_inert(served):
    server, _ = served
    status, headers, content = ask(server, f"/{server.key}/")
    assert status == 200
    text = content.decode()
    parsed = Page(text)
    assert [name for name, _, _ in parsed.data["clips"]] == [
        "<script>alert(1)<_script><img src=x onerror=alert(1)>\\u202e.wav", "a.wav", "b.flac", "c.aiff"
    ]  # fmt: skip
    assert "bad.wav" in text
    assert [tag for tag, _ in parsed.tags if tag in ("img", "iframe", "object", "base", "form")] == []
    assert text.count("</script") == 2
    assert "\u202e" not in text
    assert not re.search(r"https?:", text)
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_policies_allow_the_pages_own_parts_alone(served):
    server, _ = served
    allowed = ask(server, f"/{server.key}/")[1]["Content-Security-Policy"]
    assert allowed.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors" in allowed
    assert "unsafe" not in allowed
    for path in ("", "audio/0", "nearest/0", "none"):
        headers = ask(server, f"/{server.key}/{path}")[1]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Access-Control-Allow-Origin"] is None
        assert headers["Server"] == "leveret"


def test_neighbours_of_a_sound_are_the_others(served):
    server, _ = served
    status, headers, content = ask(server, f"/{server.key}/nearest/1")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    found = json.loads(content)["nearest"]
    assert sorted(k for k, _ in found) == [0, 2, 3]
    assert [similarity for _, similarity in found] == sorted((s for _, s in found), reverse=True)


@pytest.mark.parametrize(
    ("asked", "status", "part", "told"),
    [
        (None, 200, slice(None), None),
        ("bytes=0-9", 206, slice(0, 10), "bytes 0-9/{}"),
        ("bytes=100-", 206, slice(100, None), "bytes 100-{last}/{}"),
        ("bytes=-50", 206, slice(-50, None), "bytes {start}-{last}/{}"),
        ("bytes=10-99999999", 206, slice(10, None), "bytes 10-{last}/{}"),
        ("bytes=99999999-", 416, slice(0, 0), "bytes */{}"),
        ("bytes=9-3", 416, slice(0, 0), "bytes */{}"),
        ("bytes=-0", 416, slice(0, 0), "bytes */{}"),
        ("bytes=0-1,5-6", 200, slice(None), None),
        ("bytes=-", 200, slice(None), None),
        ("bytes=\u0661-", 200, slice(None), None),
        ("lines=1-2", 200, slice(None), None),
    ],
)
def test_a_sound_is_sent_whole_or_the_range_that_a_player_seeks(served, asked, status, part, told):
    server, folder = served
    content = (folder / "a.wav").read_bytes()
    header = None if asked is None else asked.encode("utf-8")
    found = ask(server, f"/{server.key}/audio/{number_of(server, 'a.wav')}", headers={"Range": header})
    assert found[0] == status
    assert found[2] == content[part]
    assert (found[1]["Content-Type"], found[1]["Accept-Ranges"]) == ("audio/wav", "bytes")
    size, last = len(content), len(content) - 1
    assert found[1]["Content-Range"] == (told and told.format(size, last=last, start=size - 50))


def test_a_head_has_no_body_and_what_no_browser_plays_comes_decoded(served):
    server, folder = served
    status, headers, content = ask(server, f"/{server.key}/audio/{number_of(server, 'a.wav')}", "HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) == (folder / "a.wav").stat().st_size
    assert ask(server, f"/{server.key}/audio/{number_of(server, 'b.flac')}")[1]["Content-Type"] == "audio/flac"
    _, headers, content = ask(server, f"/{server.key}/audio/{number_of(server, 'c.aiff')}")
    assert headers["Content-Type"] == "audio/wav"
    assert content[:4] == b"RIFF"


HOSTILE_PATHS = [
    "/", "/{key}", "/{key}/secret.wav", "/{key}/../secret.wav", "/{key}/audio/../../secret.wav", "/{key}/audio/a.wav",
    "/{key}/audio/%2e%2e%2fsecret.wav", "/{key}/audio/..%2f..%2fsecret.wav", "/{key}/audio/....//secret.wav",
    "/{key}/audio//etc/passwd", "/{key}/audio/%2fetc%2fpasswd", "/{key}/audio//0", "/{key}/audio/0/", "/{key}/audio/-1",
    "/{key}/audio/4", "/{key}/audio/99999999999999999999", "/{key}/audio/%30", "/{key}/audio/1e0", "/{key}/audio/ 0",
    "/{key}/audio/0%00.wav", "/{key}/audio/\\..\\secret.wav", "/{key}/nearest/../audio/0", "/%2e%2e/{key}/",
    "/../{key}/",
    "/audio/0", "/wrong/audio/0", "//{key}/audio/0x", "/{key}x/", "/x{key}/", "http://127.0.0.1/{key}/", "*", "{key}/",
    "/{key}/.git/config", "/{key}/audio/file:///etc/passwd", "/etc/passwd", "/%c0%ae%c0%ae/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_nothing_outside_is_served_whatever_the_path(served, path):
    server, _ = served
    sent = path.format(key=server.key).replace(" ", "+")
    status, _, content = ask(server, sent)
    assert status in (400, 404)
    assert b"secret" not in content
    assert b"root:" not in content
    assert set(json.loads(content)) == {"error"}


def test_a_file_that_became_a_link_out_of_the_folder_is_not_served(served, tmp_path):
    server, folder = served
    path = folder / "b.flac"
    kept = path.read_bytes()
    secret = tmp_path / "secret.flac"
    secret.write_bytes(b"secret")
    path.unlink()
    path.symlink_to(secret)
    try:
        status, _, content = ask(server, f"/{server.key}/audio/{number_of(server, 'b.flac')}")
        assert (status, b"secret" in content) == (404, False)
    finally:
        path.unlink()
        path.write_bytes(kept)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example",
             "0.0.0.0:{port}", "[::1]:{port}", "localhost:{port}@evil.example", "localhost", " "]
)  # fmt: skip
def test_a_foreign_host_is_refused(served, host):
    server, _ = served
    status, _, content = ask(server, f"/{server.key}/", host=host.format(port=server.server_port))
    assert status == 403
    assert b"clips" not in content


def test_our_other_name_is_ours_and_no_host_or_two_are_refused(served):
    server, _ = served
    assert ask(server, f"/{server.key}/", host=f"LocalHost:{server.server_port}")[0] == 200
    for lines in ("", f"Host: 127.0.0.1:{server.server_port}\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
            raw.sendall(f"GET /{server.key}/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            assert b" 403 " in raw.makefile("rb").readline()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"}, {"Origin": "http://127.0.0.1"}, {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused(served, headers, method):
    server, folder = served
    sent = {name: value.format(port=server.server_port) for name, value in headers.items()}
    body = (folder / "a.wav").read_bytes() if method == "POST" else None
    site = {"Origin": own(server), **BYTES} if method == "POST" else {}
    path = f"/{server.key}/nearest" + ("" if body else "/0")
    status, _, content = ask(server, path, method, {**site, **sent}, body)
    assert status == 403
    assert b"nearest" not in content


def test_a_clip_that_is_sent_gets_its_neighbours(served):
    server, folder = served
    content = (folder / "a.wav").read_bytes()
    status, _, answer = ask(server, f"/{server.key}/nearest", "POST", {"Origin": own(server), **BYTES}, content)
    assert status == 200
    (first, similarity), *_ = json.loads(answer)["nearest"]
    assert (first, similarity) == (number_of(server, "a.wav"), pytest.approx(1, abs=1e-4))


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"not audio", 422),
        ({}, b"", 422),
        ({"Origin": None}, b"x", 403),
        ({"Content-Type": "text/plain"}, b"x", 415),
        ({"Content-Type": "multipart/form-data"}, b"x", 415),
        ({"Content-Length": "many"}, None, 411),
        ({"Content-Length": "-1"}, None, 411),
        ({"Transfer-Encoding": "chunked"}, None, 411),
        ({"Content-Length": str(LARGEST_UPLOAD + 1)}, None, 413),
    ],
)
def test_what_is_no_clip_is_refused_in_a_word(served, headers, body, status):
    server, _ = served
    sent = {"Origin": own(server), **BYTES, **headers}
    found, told, content = ask(server, f"/{server.key}/nearest", "POST", sent, body)
    assert found == status
    assert told["Connection"] == "close"
    assert json.loads(content)["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "<script>"])
def test_other_methods_are_refused_and_not_repeated(served, method):
    server, _ = served
    status, headers, content = ask(server, f"/{server.key}/", method)
    assert status in (400, 501)
    assert headers["Content-Type"] == "application/json"
    assert b"script" not in content


def test_a_browser_that_hangs_up_does_no_harm(served, capfd):
    server, _ = served
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
        raw.sendall(
            f"POST /{server.key}/nearest HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nOrigin: {own(server)}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nRIFF".encode()
        )
    assert ask(server, f"/{server.key}/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_taken_port_is_told_and_so_are_an_empty_folder_and_no_port(served, tmp_path, capsys):
    server, folder = served
    for words, says in (
        ([str(folder), "--port", str(server.server_port)], "cannot be had"),
        ([str(folder), "--port", "70000"], "expected 1 to 65535"),
        ([str(tmp_path)], "no audio at"),
        ([str(tmp_path / "none")], "no folder"),
    ):
        assert cli.main(["listen", *words, "--no-browser", "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("leveret: error: ")
        assert says in error


def test_the_command_serves_until_it_is_stopped(served, capsys, monkeypatch):
    _, folder = served
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.ListenServer, "serve_forever", stopped)
    assert cli.main(["listen", str(folder), "--device", "cpu"]) == 0
    found = capsys.readouterr()
    assert "4 sounds, 1 skipped: http://127.0.0.1:" in found.out
    assert "bad.wav" in found.err
    assert opened == [re.search(r"http://\S+", found.out)[0]]
