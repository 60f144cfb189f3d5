"""Operations of an OpenAPI document: as FastAPI writes it, called at a real server, and as hostile hands write it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException, Query, Request
from pydantic import BaseModel
from running import sloop

from sloop.calls.schema import call_errors
from sloop.records import ToolCall, UserError
from sloop.tools.contract import ToolError, definition, run_tool
from sloop.tools.openapi import OpenApi


class Guest(BaseModel):
    name: str
    age: int | None = None


class Booking(BaseModel):
    guests: list[Guest]
    room: int


app = FastAPI()


@app.get("/rooms/{room}/bookings")
def list_bookings(
    room: str, tags: Annotated[list[str], Query()], limit: int = 10, x_trace: Annotated[str, Header()] = ""
) -> dict[str, Any]:
    """List bookings."""
    return {"room": room, "tags": tags, "limit": limit, "trace": x_trace}


@app.post("/rooms/{room}/bookings")
def book(room: int, booking: Booking, request: Request) -> dict[str, Any]:
    """Book a room."""
    if not booking.guests:
        raise HTTPException(409, "nobody comes")
    return {"path": room, "body": booking.model_dump(), "key": request.headers.get("authorization")}


@app.post("/login")
def login(user: Annotated[str, Form()], words: Annotated[list[str], Form()]) -> str:
    return f"{user} {'-'.join(words)}"


@app.put("/names")
def put_names(names: list[str]) -> list[str]:
    return names[::-1]


@app.patch("/kind")
async def kind(request: Request) -> str:
    return request.headers["content-type"]


@app.api_route("/echo/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
async def echo(request: Request) -> list[str]:
    return [request.method, str(request.url.query), (await request.body()).decode()]


@app.get("/styled/{rest:path}", include_in_schema=False)
async def styled(request: Request) -> list[str | None]:
    return [request.scope["raw_path"].decode().removeprefix("/styled/"), *map(request.headers.get, ("x-h", "cookie"))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(json.dumps(app.openapi()), encoding="utf-8")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", path
    server.should_exit = True
    thread.join()


def opened(document: str, *, base_url: str | None = None, token_variable: str | None = None) -> OpenApi:
    return OpenApi(document=document, base_url=base_url, token_variable=token_variable, keep_going=False, seconds=30.0)


def tools(served: tuple[str, Path], **settings: Any) -> dict[str, Any]:
    url, path = served
    found = opened(str(path), base_url=url, **settings).runnable()
    return {name.split("_rooms")[0].split("_login")[0].split("_names")[0]: tool for name, tool in found.items()}


def call(tool: Any, **arguments: Any) -> Any:
    assert call_errors(ToolCall(name="f", arguments=arguments), [definition("f", tool)]) == ()
    return json.loads(asyncio.run(run_tool(tool, arguments)))


def test_path_query_and_headers_are_arguments(served: tuple[str, Path]) -> None:
    listed = tools(served)["list_bookings"]
    assert listed.description().startswith("List Bookings")
    assert set(listed.arguments()["properties"]) == {"room", "tags", "limit", "x-trace"}
    assert listed.arguments()["required"] == ["room", "tags"]
    assert not listed.mutates
    told = call(listed, room="a b?c#d", tags=["x y", "z&"], limit=3, **{"x-trace": "t"})
    assert told == {"room": "a b?c#d", "tags": ["x y", "z&"], "limit": 3, "trace": "t"}


def test_a_body_s_properties_are_arguments_beside_a_path_part_of_the_same_name(served: tuple[str, Path]) -> None:
    book = tools(served)["book"]
    assert book.mutates
    assert book.arguments()["properties"]["guests"]["items"] == {"$ref": "#/$defs/Guest"}
    told = call(book, room=1, room_body=2, guests=[{"name": "Ada", "age": None}])
    assert told == {"path": 1, "body": {"guests": [{"name": "Ada", "age": None}], "room": 2}, "key": None}


def test_forms_and_bodies_that_are_no_objects_are_sent(served: tuple[str, Path]) -> None:
    assert call(tools(served)["login"], user="ada", words=["a", "b"]) == "ada a-b"
    assert call(tools(served)["put"], body=["a", "b"]) == ["b", "a"]


def test_a_token_comes_from_the_environment(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKING_TOKEN", "hush")
    book = tools(served, token_variable="BOOKING_TOKEN")["book"]
    assert call(book, room=1, room_body=2, guests=[{"name": "Ada"}])["key"] == "Bearer hush"


def test_an_error_of_the_server_is_told_in_its_words(served: tuple[str, Path]) -> None:
    with pytest.raises(ToolError, match=r"HTTP 409: .*nobody comes"):
        call(tools(served)["book"], room=1, room_body=2, guests=[])


@pytest.mark.parametrize("room", ["..", ".", ""])
def test_no_argument_leads_to_another_path(served: tuple[str, Path], room: str) -> None:
    with pytest.raises(ToolError, match="cannot stand in a path"):
        call(tools(served)["list_bookings"], room=room, tags=[])


def test_a_server_that_is_not_there_is_told(served: tuple[str, Path]) -> None:
    tool = next(iter(opened(str(served[1]), base_url="http://127.0.0.1:9").runnable().values()))
    with pytest.raises(ToolError, match="Connect"):
        call(tool, room="1", tags=[])


def document(tmp_path: Path, schema: Any, **more: Any) -> Path:
    body = {"content": {"application/json": {"schema": schema}}}
    given = {
        "openapi": "3.0.3",
        "paths": {"/a": {"post": {"operationId": "f", "requestBody": body}}},
        **more,
    }
    path = tmp_path / "api.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    return path


def test_the_dialect_of_3_0_is_made_good(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "age": {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True},
        },
    }
    (tool,) = opened(str(document(tmp_path, schema))).tools()
    assert set(tool.properties) == {"age"}
    for value, wrong in ((None, False), (1, False), (0, True)):
        assert bool(call_errors(ToolCall(name="f", arguments={"age": value}), [tool])) == wrong


def test_a_schema_that_holds_itself_stands_alone(tmp_path: Path) -> None:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/components/schemas/Node"}, "value": {"type": "string"}},
    }
    path = document(tmp_path, {"$ref": "#/components/schemas/Node"}, components={"schemas": {"Node": node}})
    (tool,) = opened(str(path)).tools()
    good = {"value": "a", "next": {"value": "b", "next": {}}}
    assert call_errors(ToolCall(name="f", arguments=good), [tool]) == ()
    assert call_errors(ToolCall(name="f", arguments={"next": {"value": 1}}), [tool])


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (
            {"type": "object", "properties": {"a": {"$ref": "other.json#/A"}}},
            "refers to 'other.json#/A', which is outside",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}}, "which it does not hold"),
        ({"$ref": "#/paths/~1a/post/requestBody/content/application~1json/schema"}, "refers to itself"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "strin"),
    ],
)
def test_an_operation_that_cannot_be_read_is_named_by_its_pointer(tmp_path: Path, schema: Any, told: str) -> None:
    path = document(tmp_path, schema)
    with pytest.raises(UserError, match=told) as refused:
        opened(str(path)).tools()
    assert "#/paths/~1a/post" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("swagger: '2.0'", "3.0 and 3.1 are read"),
        ("openapi: 3.0.0\npaths: {}", "no operations"),
        ("openapi: [", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 10)}]\n" for k in range(8)
        ), "more than 500000 values"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_a_mistake_of_the_reader_s(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        opened(str(path)).tools()


def test_nothing_runs_without_an_address(served: tuple[str, Path]) -> None:
    with pytest.raises(UserError, match="base_url="):
        opened(str(served[1])).runnable()
    with pytest.raises(UserError, match="begins with http"):
        opened("x.json", base_url="file:///etc")


BASE = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
ITEMS = {"type": "array", "items": {"type": "string"}}


def posted(schema: Any, **more: Any) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {"operationId": "f", "requestBody": body}, **more}


@pytest.mark.parametrize(
    ("item", "given", "sent"),
    [
        (
            {"get": {"parameters": [{"name": "q", "in": "query", "content": {"application/json": {"schema": BASE}}}]}},
            {"q": {"id": "7"}},
            ["GET", "q=%7B%22id%22:+%227%22%7D", ""],
        ),
        (
            {
                "get": {"operationId": "f"},
                "parameters": [
                    {"name": "q", "in": "query", "style": "pipeDelimited", "explode": False, "schema": ITEMS}
                ],
            },
            {"q": ["a", "b"]},
            ["GET", "q=a%7Cb", ""],
        ),
        (
            {"get": {"parameters": [{"name": "q", "in": "query", "explode": False, "schema": {"type": "object"}}]}},
            {"q": {"a": "b", "c": 1}},
            ["GET", "q=a,b,c,1", ""],
        ),
        (
            {"get": {"parameters": [{"name": "q", "in": "query", "schema": {"type": "object"}}]}},
            {"q": {"a": "b", "c": [1, 2]}},
            ["GET", "a=b&c=1&c=2", ""],
        ),
        (
            {"get": {"parameters": [{"name": "q", "in": "query", "style": "deepObject", "schema": {}}]}},
            {"q": {"a": "b"}},
            ["GET", "q%5Ba%5D=b", ""],
        ),
        ({"$ref": "#/components/pathItems/shared"}, {"q": 1}, ["GET", "q=1", ""]),
        (posted({"type": "object", "properties": {"a": {"type": "string"}}}), {}, ["POST", "", "{}"]),
        (
            posted({"allOf": [{"$ref": "#/components/schemas/Base"}], "properties": {"a": {"type": "string"}}}),
            {"body": {"id": "7", "a": "b"}},
            ["POST", "", '{"id": "7", "a": "b"}'],
        ),
    ],
    ids=[
        "content",
        "pipes",
        "object in one",
        "object",
        "deep object",
        "path item",
        "all left out",
        "allOf beside properties",
    ],
)
def test_what_a_document_may_write_is_sent_as_it_says(
    served: tuple[str, Path], tmp_path: Path, item: Any, given: dict[str, Any], sent: list[str]
) -> None:
    shared = {"get": {"parameters": [{"name": "q", "in": "query", "schema": {"type": "integer"}}]}}
    parts = {"schemas": {"Base": BASE}, "pathItems": {"shared": shared}}
    path = document(tmp_path, {}, paths={"/echo/a": item}, components=parts)
    (tool,) = opened(str(path), base_url=served[0]).runnable().values()
    assert call(tool, **given) == sent
    with pytest.raises(ToolError, match="no argument is called so"):
        asyncio.run(tool.call({"other": 1}))


COLOR = {"R": 100, "G": 200, "B": "1/2"}
SHADES = ["blue", "black"]


# The rows of OpenAPI 3.1.1, "Style Examples", and of RFC 6570, sections 3.2.2, 3.2.5 and 3.2.7
@pytest.mark.parametrize(
    ("style", "explode", "value", "sent"),
    [
        ("simple", False, "blue", "blue"),
        ("simple", False, SHADES, "blue,black"),
        ("simple", True, SHADES, "blue,black"),
        ("simple", False, COLOR, "R,100,G,200,B,1%2F2"),
        ("simple", True, COLOR, "R=100,G=200,B=1%2F2"),
        ("label", False, "blue", ".blue"),
        ("label", False, SHADES, ".blue,black"),
        ("label", True, SHADES, ".blue.black"),
        ("label", False, COLOR, ".R,100,G,200,B,1%2F2"),
        ("label", True, COLOR, ".R=100.G=200.B=1%2F2"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, SHADES, ";color=blue,black"),
        ("matrix", True, SHADES, ";color=blue;color=black"),
        ("matrix", False, COLOR, ";color=R,100,G,200,B,1%2F2"),
        ("matrix", True, COLOR, ";R=100;G=200;B=1%2F2"),
    ],
)
def test_a_part_of_a_path_is_written_in_its_style(
    served: tuple[str, Path], tmp_path: Path, style: str, explode: bool, value: Any, sent: str
) -> None:
    part = {"name": "color", "in": "path", "required": True, "style": style, "explode": explode, "schema": {}}
    path = document(tmp_path, {}, paths={"/styled/{color}": {"get": {"operationId": "f", "parameters": [part]}}})
    (tool,) = opened(str(path), base_url=served[0]).runnable().values()
    assert call(tool, color=value)[0] == sent


@pytest.mark.parametrize(("explode", "sent"), [(False, "R,100,G,200,B,1/2"), (True, "R=100,G=200,B=1/2")])
def test_objects_stand_in_headers_and_cookies(
    served: tuple[str, Path], tmp_path: Path, explode: bool, sent: str
) -> None:
    parts = [
        {"name": "x-h", "in": "header", "explode": explode, "schema": {}},
        {"name": "c", "in": "cookie", "explode": False, "schema": {}},
    ]
    path = document(tmp_path, {}, paths={"/styled/a": {"get": {"operationId": "f", "parameters": parts}}})
    (tool,) = opened(str(path), base_url=served[0]).runnable().values()
    assert call(tool, **{"x-h": COLOR, "c": COLOR})[1:] == [sent, "c=R,100,G,200,B,1/2"]


def test_a_body_is_sent_as_the_kind_of_json_that_the_document_names(served: tuple[str, Path], tmp_path: Path) -> None:
    body = {"required": True, "content": {"application/merge-patch+json": {"schema": BASE}}}
    path = document(tmp_path, {}, paths={"/kind": {"patch": {"operationId": "f", "requestBody": body}}})
    (tool,) = opened(str(path), base_url=served[0]).runnable().values()
    assert call(tool, id="7") == "application/merge-patch+json"


def test_a_second_operation_of_a_name_is_left_out_and_the_first_stays_itself(
    served: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"/echo/a": {"get": {"operationId": "f"}}, "/echo/b": posted(BASE), "/echo/c": {"$ref": "other.yaml"}}
    path = str(document(tmp_path, {}, paths=paths))
    with pytest.raises(UserError, match=r"(?s)a second operation is named f.*echo~1c/.ref.*outside"):
        opened(path).tools()
    source = OpenApi(document=path, base_url=served[0], token_variable=None, keep_going=True, seconds=30.0)
    assert call(source.runnable()["f"]) == ["GET", "", ""]
    said = f"{path}: 2 of 3 definitions are left out (tools.keep_going=true)."
    assert source.notes()[0] == said
    assert sloop("gen", "preview=1", "tools=openapi", f"tools.document={path}", "tools.keep_going=true") == 0
    assert f"note: {said}" in capsys.readouterr().out
