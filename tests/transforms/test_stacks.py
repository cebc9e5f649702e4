"""Stacks as browsers and servers print them, read frame by frame."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.stacks import Frame, parse, structured, typed

CHROME = """TypeError: Cannot read properties of undefined (reading 'price')
    at Cart.total (https://shop.example/static/js/main.3f2a9c1b.js:2:48213)
    at async checkout (https://shop.example/static/js/main.3f2a9c1b.js:2:50112)
    at new Order (https://shop.example/static/js/main.3f2a9c1b.js:2:50990)
    at Array.map (<anonymous>)
    at https://shop.example/static/js/main.3f2a9c1b.js:2:51002
    at HTMLButtonElement.<anonymous> (chrome-extension://abcdefgh/inject.js:1:100)
    at eval (eval at run (https://shop.example/a.js:7:9), <anonymous>:1:1)"""
FIREFOX = """total@https://shop.example/static/js/main.3f2a9c1b.js:2:48213
async*checkout@https://shop.example/static/js/main.3f2a9c1b.js:2:50112
setup/</<@https://shop.example/static/js/main.3f2a9c1b.js:2:50990
@https://shop.example/static/js/main.3f2a9c1b.js:2:51002
"""
SAFARI = """total@https://shop.example/static/js/main.3f2a9c1b.js:2:48213
checkout@https://shop.example/static/js/main.3f2a9c1b.js:2:50112
map@[native code]
global code@https://shop.example/static/js/main.3f2a9c1b.js:2:51002
https://shop.example/static/js/main.3f2a9c1b.js:3:7"""
NODE = """RangeError [ERR_OUT_OF_RANGE]: The value of "offset" is out of range.
    at Object.<anonymous> (/srv/app/src/orders.js:42:11)
    at Module._compile (node:internal/modules/cjs/loader:1198:14)
    at Layer.handle [as handle_request] (/srv/app/node_modules/express/lib/router/layer.js:95:5)
    at file:///srv/app/src/server.mjs:7:3
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)"""
PYTHON = """Traceback (most recent call last):
  File "/srv/app/shop/stock.py", line 12, in reserve
    return self._rows[sku]
KeyError: 'A-17'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/python3.11/asyncio/runners.py", line 190, in run
    return runner.run(main)
           ^^^^^^^^^^^^^^^^
  File "/srv/app/.venv/lib/python3.11/site-packages/flask/app.py", line 2190, in wsgi_app
    response = self.full_dispatch_request()
  File "/srv/app/shop/orders.py", line 88, in place
    stock.reserve(sku)
  File "/srv/app/shop/stock.py", line 14, in reserve
    raise OutOfStock(sku)
shop.errors.OutOfStock: A-17
was the last one"""
JAVA = """Exception in thread "main" java.lang.IllegalStateException: cart 4711 is closed
\tat com.shop.Cart.add(Cart.java:42)
\tat com.shop.Checkout.lambda$run$3(Checkout.java:17)
\tat com.shop.Checkout$$Lambda$14/0x0000000800c03000.accept(Unknown Source)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1511)
\tat org.springframework.web.Dispatcher.doGet(Dispatcher.java:9) ~[spring-web-6.jar:6.0]
\tat app//com.shop.Main.main(Main.java:5)
Caused by: java.io.IOException: disk full
\tat com.shop.Disk.write(Disk.java:3)
\t... 3 more"""


def shown(text: str) -> list[tuple[str, str, int | None, bool]]:
    return [(f.function, f.file, f.line, f.in_app) for f in parse(text).frames]


MAIN = "https://shop.example/static/js/main.3f2a9c1b.js"


def test_chrome() -> None:
    assert parse(CHROME).type == "TypeError"
    assert parse(CHROME).message == "Cannot read properties of undefined (reading 'price')"
    assert shown(CHROME) == [
        ("Cart.total", MAIN, 2, True),
        ("checkout", MAIN, 2, True),
        ("Order", MAIN, 2, True),
        ("Array.map", "", None, False),
        ("", MAIN, 2, True),
        ("HTMLButtonElement", "chrome-extension://abcdefgh/inject.js", 1, False),
        ("eval", "https://shop.example/a.js", 7, True),
    ]
    assert parse(CHROME).frames[0].column == 48213


def test_firefox_and_safari_have_no_head() -> None:
    assert (parse(FIREFOX).type, parse(FIREFOX).message) == ("", "")
    assert [f.function for f in parse(FIREFOX).frames] == ["total", "checkout", "setup", ""]
    assert {(f.file, f.in_app) for f in parse(FIREFOX).frames} == {(MAIN, True)}
    assert shown(SAFARI) == [
        ("total", MAIN, 2, True),
        ("checkout", MAIN, 2, True),
        ("map", "[native code]", None, False),
        ("global code", MAIN, 2, True),
        ("", MAIN, 3, True),
    ]


def test_node_knows_its_own_code_from_that_of_others() -> None:
    assert parse(NODE).type == "RangeError"
    assert parse(NODE).message == 'The value of "offset" is out of range.'
    assert shown(NODE) == [
        ("", "/srv/app/src/orders.js", 42, True),
        ("_compile", "node:internal/modules/cjs/loader", 1198, False),
        ("Layer.handle", "/srv/app/node_modules/express/lib/router/layer.js", 95, False),
        ("", "file:///srv/app/src/server.mjs", 7, True),
        ("process.processTicksAndRejections", "node:internal/process/task_queues", 95, False),
    ]


def test_python_is_read_from_its_last_traceback_innermost_first() -> None:
    found = parse(PYTHON)
    assert (found.type, found.message) == ("shop.errors.OutOfStock", "A-17\nwas the last one")
    assert shown(PYTHON) == [
        ("reserve", "/srv/app/shop/stock.py", 14, True),
        ("place", "/srv/app/shop/orders.py", 88, True),
        ("wsgi_app", "/srv/app/.venv/lib/python3.11/site-packages/flask/app.py", 2190, False),
        ("run", "/usr/lib/python3.11/asyncio/runners.py", 190, False),
    ]


def test_java_is_read_up_to_its_cause() -> None:
    found = parse(JAVA)
    assert (found.type, found.message) == ("java.lang.IllegalStateException", "cart 4711 is closed")
    assert shown(JAVA) == [
        ("com.shop.Cart.add", "Cart.java", 42, True),
        ("com.shop.Checkout.lambda$run$3", "Checkout.java", 17, True),
        ("com.shop.Checkout$$Lambda$14/0x0000000800c03000.accept", "", None, True),
        ("java.util.ArrayList.forEach", "ArrayList.java", 1511, False),
        ("org.springframework.web.Dispatcher.doGet", "Dispatcher.java", 9, False),
        ("com.shop.Main.main", "Main.java", 5, True),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("TypeError: x", "TypeError", "x"),
        ("Uncaught (in promise) TypeError: x: y", "TypeError", "x: y"),
        ("DOMException: The play() request was interrupted", "DOMException",
         "The play() request was interrupted"),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("Hello: world", "", "Hello: world"),
        ("http://x.example: refused", "", "http://x.example: refused"),
        ("Script error.", "", "Script error."),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_type_is_known_from_a_message(text: str, kind: str, message: str) -> None:
    assert typed(text) == (kind, message)


def test_text_that_is_no_stack_has_no_frames() -> None:
    for text in ("", "write to ann@example.org: it is late", "a\nb\nc", "at the end of the day"):
        assert parse(text).frames in ((), (Frame("", "", None, None, False),)), text
    assert parse("write to ann@example.org: it is late").frames == ()


def test_frames_of_sdks_have_the_innermost_last() -> None:
    sent = [
        {"function": "main", "filename": "app.py", "lineno": 3, "in_app": True},
        {"function": "get", "filename": "requests/api.py", "lineno": 70, "in_app": False},
        "no frame",
        {"platform": "java", "module": "com.shop.Cart", "function": "add", "filename": "Cart.java"},
        {"function": 7, "filename": None, "lineno": True},
    ]
    assert structured(sent) == (
        Frame("", "", None, None, False),
        Frame("com.shop.Cart.add", "Cart.java", None, None, True),
        Frame("get", "requests/api.py", 70, None, False),
        Frame("main", "app.py", 3, None, True),
    )


@given(st.text(alphabet='at @(:/)<>.[]1x\n\\"File line,', max_size=400))
def test_no_text_fails(text: str) -> None:
    for frame in parse(text).frames:
        assert isinstance(frame, Frame)


@pytest.mark.parametrize("unit", ["a@", "at (", ":1", "@x:1", "at a.b(", 'File "', "x.", "Error"])
def test_a_hostile_stack_takes_no_time(unit: str) -> None:
    text = "\n".join([unit * 5_000] * 2_000)
    began = time.process_time()
    parse(text)
    assert time.process_time() - began < 2
