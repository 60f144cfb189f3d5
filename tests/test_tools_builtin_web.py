"""What `web_fetch` may not reach: each attack has a server that would have noticed, and the same call done honestly."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sloop.tools.builtin.web import WebFetch, is_public

SECRET = "what only this machine may know"
MOST = 20_000


class Site(ThreadingHTTPServer):
    """A server on every address of this machine, both families where there are two, that counts who comes."""

    daemon_threads = True

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.visits = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        both = socket.has_dualstack_ipv6()
        self.socket = socket.create_server(
            ("", 0), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )
        self.port = self.socket.getsockname()[1]
        self.here = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def get_request(self) -> Any:
        found = super().get_request()
        self.visits += 1
        return found

    def end(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


def _say(handler: BaseHTTPRequestHandler, body: bytes, kind: str = "text/plain", **headers: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 4096)


def _dripping(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def _broken(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")


BOMB = gzip.compress(bytes(50_000_000))
PAGES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "/": lambda h: _say(h, b"hello"),
    "/json": lambda h: _say(h, b'{"a": 1}', "application/problem+json"),
    "/packed": lambda h: _say(h, gzip.compress(b"hello"), Content_Encoding="gzip"),
    "/latin": lambda h: _say(h, "\u00e9".encode("latin-1"), "text/plain; charset=latin-1"),
    "/charset": lambda h: _say(h, b"hello", "text/plain; charset=nonsense"),
    "/image": lambda h: _say(h, b"\x89PNG", "image/png"),
    "/bytes": lambda h: _say(h, b"\x00", "application/octet-stream"),
    "/bomb": lambda h: _say(h, BOMB, Content_Encoding="gzip"),
    "/brotli": lambda h: _say(h, b"hello", Content_Encoding="br"),
    "/unpacked": lambda h: _say(h, b"hello", Content_Encoding="gzip"),
    "/half": lambda h: _say(h, gzip.compress(b"hello")[:-9], Content_Encoding="gzip"),
    "/headers": lambda h: _say(h, b"hello", X="x" * 100_000),
    "/large": lambda h: _say(h, b"x" * (MOST + 1)),
    "/endless": _endless,
    "/dripping": _dripping,
    "/silent": lambda h: time.sleep(3),
    "/broken": _broken,
    "/garbage": lambda h: h.wfile.write(b"\x00\x01 no HTTP\r\n\r\n"),
}
REDIRECTS: dict[str, str] = {}


def _public(handler: BaseHTTPRequestHandler) -> None:
    if handler.path in REDIRECTS:
        handler.send_response(302)
        handler.send_header("Location", REDIRECTS[handler.path])
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    try:
        PAGES[handler.path.partition("?")[0]](handler)
    except OSError:  # the reader has had enough
        handler.close_connection = True


@pytest.fixture(scope="module")
def public() -> Iterator[Site]:
    """What stands for the public web: its address is allowed."""
    site = Site(_public)
    yield site
    site.end()


@pytest.fixture(scope="module")
def private() -> Iterator[Site]:
    """What must not be reached."""
    site = Site(lambda handler: _say(handler, SECRET.encode()))
    yield site
    site.end()


def _fetch(tool: WebFetch, url: str) -> dict[str, Any]:
    return asyncio.run(tool.call({"url": url}))


def _seen(public: Site) -> WebFetch:
    return WebFetch(allow=[public.here], most_bytes=MOST, seconds=10)


FORMS = (
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7F.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "127.255.255.254",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25lo]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "127\u30020\u30020\u30021",
    "user:word@127.0.0.1",
    "example.org@127.0.0.1",
)


@pytest.mark.parametrize("host", FORMS)
def test_no_form_of_a_private_address_is_reached(private: Site, host: str) -> None:
    """The port is allowed, so that the address alone is why."""
    before = private.visits
    with pytest.raises(ValueError, match=r"not an address of the public web|four decimal|name or password|cannot|http"):
        _fetch(WebFetch(ports=[private.port], seconds=10), f"http://{host}:{private.port}/")
    assert private.visits == before
    found = _fetch(WebFetch(allow=[private.here]), f"http://{private.here}/")
    assert found["text"] == SECRET
    assert private.visits == before + 1


ADDRESSES = {
    "a file": "file:///etc/passwd",
    "a file of a host": "file://localhost/etc/passwd",
    "FTP": "ftp://127.0.0.1/",
    "gopher": "gopher://127.0.0.1:{port}/_GET",
    "data": "data:text/plain,hello",
    "a script": "javascript:alert(1)",
    "a unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "a websocket": "ws://127.0.0.1:{port}/",
    "no scheme": "//127.0.0.1:{port}/",
    "no host": "http:///etc/passwd",
    "nothing": "",
    "a line break": "http://127.0.0.1:{port}/\r\nX-Header: 1",
    "a backslash": "http://example.org\\@127.0.0.1:{port}/",
    "a fragment": "http://127.0.0.1:{port}#@example.org/",
    "a port too large": "http://127.0.0.1:99999/",
    "too long": "http://127.0.0.1/" + "a" * 5000,
    "a port that is not the web's": "http://127.0.0.1:22/",
}


@pytest.mark.parametrize("attack", ADDRESSES)
def test_no_odd_address_is_asked_for(private: Site, attack: str) -> None:
    before = private.visits
    with pytest.raises(ValueError, match=r".") as refused:
        _fetch(WebFetch(ports=[private.port]), ADDRESSES[attack].format(port=private.port))
    assert private.visits == before
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1:{port}/", "public web"),
        ("http://localhost:{port}/", "public web"),
        ("//127.0.0.1:{port}/", "public web"),
        ("http://[::1]:{port}/", "public web"),
        ("http://2130706433:{port}/", "four decimal"),
        ("http://user@127.0.0.1:{port}/", "name or password"),
        ("http://169.254.169.254/latest/meta-data/", "public web"),
        ("file:///etc/passwd", "http"),
        ("/loop", "redirects"),
        ("/chain", "public web"),
    ],
)
def test_no_redirect_leads_inside(public: Site, private: Site, target: str, reason: str) -> None:
    before = private.visits
    REDIRECTS.update({"/away": target.format(port=private.port), "/loop": "/loop", "/home": "/packed"})
    REDIRECTS["/chain"] = f"http://127.0.0.1:{private.port}/"
    tool = _seen(public)
    with pytest.raises(ValueError, match=reason):
        _fetch(tool, f"http://{public.here}/away")
    assert private.visits == before
    found = _fetch(tool, f"http://{public.here}/home")
    assert (found["text"], found["url"]) == ("hello", f"http://{public.here}/packed")


def _resolved(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let a name resolve to one address after the other, as a hostile name server has it; the last one stays."""
    asked: list[str] = []
    true = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "rebind.example":
            return true(host, port, *args, **more)
        asked.append(answers[min(len(asked), len(answers) - 1)])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in asked[-1].split()]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_that_resolves_to_something_else_the_second_time(public: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both addresses are the server's, which counts; one is allowed."""
    asked = _resolved(monkeypatch, "127.0.0.1", "127.0.0.2")
    tool, url = _seen(public), f"http://rebind.example:{public.port}/"
    before = public.visits
    assert _fetch(tool, url)["text"] == "hello"
    with pytest.raises(ValueError, match=r"127\.0\.0\.2"):
        _fetch(tool, url)
    assert asked == ["127.0.0.1", "127.0.0.2"]  # asked once a call: what is judged is what is connected to
    assert public.visits == before + 1


def test_a_name_that_resolves_to_something_else_after_a_redirect(public: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _resolved(monkeypatch, "127.0.0.1", "127.0.0.2")
    REDIRECTS["/again"] = "/"
    before = public.visits
    with pytest.raises(ValueError, match=r"127\.0\.0\.2"):
        _fetch(_seen(public), f"http://rebind.example:{public.port}/again")
    assert public.visits == before + 1


@pytest.mark.parametrize("addresses", ["127.0.0.2 127.0.0.1", "10.0.0.1 127.0.0.1"])
def test_of_several_addresses_the_allowed_one_alone_is_reached(
    public: Site, monkeypatch: pytest.MonkeyPatch, addresses: str
) -> None:
    _resolved(monkeypatch, addresses)
    before = public.visits
    assert _fetch(_seen(public), f"http://rebind.example:{public.port}/")["text"] == "hello"
    assert public.visits == before + 1


def test_a_proxy_of_the_environment_is_not_asked(public: Site, private: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{private.here}")
    before = private.visits
    assert _fetch(_seen(public), f"http://{public.here}/")["text"] == "hello"
    assert private.visits == before


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("/image", "image/png is no text"),
        ("/bytes", "application/octet-stream is no text"),
        ("/brotli", "encoding br"),
        ("/unpacked", "not packed as it says"),
        ("/half", "not packed as it says: it breaks off"),
        ("/headers", "Got more than|too (long|large)|8190"),
        ("/dripping", "no answer within"),
        ("/silent", "no answer within"),
        ("/broken", "payload is not completed"),
        ("/garbage", "Bad status|Invalid|Expected"),
    ],
)
def test_what_is_no_text_in_time_is_refused(public: Site, page: str, reason: str) -> None:
    tool = WebFetch(allow=[public.here], most_bytes=MOST, seconds=0.7 if "within" in reason else 10)
    with pytest.raises(ValueError, match=reason):
        _fetch(tool, f"http://{public.here}{page}")
    assert _fetch(_seen(public), f"http://{public.here}/")["text"] == "hello"


@pytest.mark.parametrize("page", ["/large", "/endless", "/bomb"])
def test_what_is_too_large_is_cut_and_says_so(public: Site, page: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = _fetch(_seen(public), f"http://{public.here}{page}")
    assert len(found["text"]) == MOST
    assert found["cut"] == f"after {MOST} bytes"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB, of 50 MB in the bomb


@pytest.mark.parametrize(
    ("page", "text"),
    [("/", "hello"), ("/json", '{"a": 1}'), ("/packed", "hello"), ("/latin", "\u00e9"), ("/charset", "hello")],
)
def test_texts_are_read(public: Site, page: str, text: str) -> None:
    found = _fetch(_seen(public), f"http://{public.here}{page}")
    assert (found["status"], found["text"], "cut" in found) == (200, text, False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("240.0.0.1", False),
        ("::ffff:93.184.215.14", False),
        ("64:ff9b::5db8:d70e", False),
        ("2002:5db8:d70e::", False),
        ("2001:db8::1", False),
        ("fe80::1%lo", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
