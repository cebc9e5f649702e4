"""Stacks as runtimes print them -> frames, innermost first. Chrome, Firefox, Safari, Node, Python,
Java.

A stack comes from outside: lines and their number are cut, and no pattern goes back over a line
more than once for each character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_LINES, MOST_CHARACTERS = 300, 500  # of a stack, of a line
_UNKNOWN = {"", "?", "<anonymous>", "anonymous", "<unknown>", "native", "Native Method"}

# at checkout (https://shop.example/main.js:1:2345), also without the function or the place
_V8 = re.compile(r"\s*at (?:(.{0,200}?) \((.{1,400})\)|(\S{1,400}))\s*")
_PLACE = re.compile(r"(.*?):(\d+)(?::(\d+))?")
# checkout@https://shop.example/main.js:1:2345
_AT_SIGN = re.compile(r"\s*([^@]{0,200})@(?:(\S{1,400}?):(\d+)(?::(\d+))?|(\[native code\]))\s*")
_BARE = re.compile(r"\s*([a-z-]{2,20}://\S{1,400}?):(\d+):(\d+)\s*")
_PYTHON = re.compile(r'\s*File "([^"]{1,400})", line (\d+)(?:, in (.{1,200}))?\s*')
# at com.shop.Cart.total(Cart.java:42)
_JAVA = re.compile(r"\s*at ([^\s()]{1,400})\(([^()]{0,200})\)\s*(?:~?\[[^\]]*\])?\s*")
_JAVA_MODULE = re.compile(r"[a-z][\w.]*(?:@[\w.+-]+)?/{1,2}(?=[a-z])")
_THREAD = re.compile(r'Exception in thread "[^"]{0,100}" ')
_UNCAUGHT = re.compile(r"Uncaught (?:\(in promise\) )?")
_TYPED = re.compile(r"([A-Za-z_$][\w.$]{0,150})(?: \[\w{1,60}\])?(?::\s?(.*))?", re.DOTALL)
_IS_TYPE = re.compile(
    r".*(?:Error|Exception|Warning|Interrupt|Fault|Failure|Rejection|Timeout|Exit|Throwable)"
)

_NOT_OURS = (
    "node_modules/", "node:", "internal/", "site-packages/", "dist-packages/", "webpack/runtime",
    "webpack/bootstrap", "cdn.jsdelivr.net/", "unpkg.com/", "googletagmanager.com/",
    "chrome-extension:", "moz-extension:", "safari-extension:", "safari-web-extension:",
    "[native code]", "<frozen ", "<string>",
)  # fmt: skip
_STANDARD_PYTHON = re.compile(r".*/lib/python\d[\d.]*/(?!site-packages|dist-packages)[^/].*")
_JAVA_LIBRARIES = (
    "java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.",
    "android.", "androidx.", "com.android.", "dalvik.", "org.springframework.", "org.apache.",
    "org.hibernate.", "org.eclipse.jetty.", "org.junit.", "io.netty.", "io.undertow.", "reactor.",
    "com.fasterxml.", "com.google.common.", "okhttp3.", "retrofit2.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One call. function: "" where it has no name; line, column: from 1; in_app: no library's."""

    function: str
    file: str
    line: int | None = None
    column: int | None = None
    in_app: bool = True


@dataclass(frozen=True, slots=True)
class Stack:
    """What a printed stack says. type, message: of its first line, "" where it has none."""

    type: str
    message: str
    frames: tuple[Frame, ...]


def parse(text: str) -> Stack:
    """Read a stack as it was printed; text that is none has no frames."""
    lines = [line[:MOST_CHARACTERS] for line in text.splitlines()[:MOST_LINES]]
    if any(_PYTHON.fullmatch(line) for line in lines):
        return _python(lines)
    head: list[str] = []
    frames: list[Frame] = []
    for line in lines:
        if line.lstrip().startswith("Caused by: "):  # what was thrown comes first
            break
        frame = _frame(line)
        if frame is not None:
            frames.append(frame)
        elif not frames:
            head.append(line)
    return Stack(*typed("\n".join(head).strip()), tuple(frames))


def typed(text: str) -> tuple[str, str]:
    """(type, message) of `TypeError: x is not a function`; no type where there is none."""
    text = _UNCAUGHT.sub("", _THREAD.sub("", text, count=1), count=1)
    found = _TYPED.fullmatch(text)
    if found and (_IS_TYPE.fullmatch(found[1]) or _has_class(found[1])):
        return found[1], (found[2] or "").strip()
    return "", text.strip()


def _has_class(name: str) -> bool:
    """Is it shop.errors.OutOfStock, with a package and a class?"""
    *package, last = name.split(".")
    return bool(package and all(package)) and last[:1].isupper()


def structured(frames: Iterable[Any]) -> tuple[Frame, ...]:
    """Frames as Sentry's and PostHog's SDKs send them, which list the innermost last."""
    found = [_of_object(one) for one in frames if isinstance(one, Mapping)]
    return tuple(reversed(found))


def _of_object(one: Mapping[str, Any]) -> Frame:
    function = _name(_text(one.get("function")) or _text(one.get("resolved_name")))
    file = _text(one.get("filename")) or _text(one.get("source")) or _text(one.get("abs_path"))
    module = _text(one.get("module"))
    said = one.get("in_app")
    line, column = _number(one.get("lineno")), _number(one.get("colno"))
    if line is None:
        line = _number(one.get("line"))
    if one.get("platform") == "java" and module:
        function = f"{module}.{function}"
        return Frame(function, file, line, column, _is_java_ours(function, said))
    return Frame(function, file or module, line, column, _is_ours(file or module, said))


def _frame(line: str) -> Frame | None:
    if (found := _JAVA.fullmatch(line)) and " (" not in line:
        function = _JAVA_MODULE.sub("", found[1], count=1)
        if "." in function and not found[2].startswith(("http", "/")):
            place = _PLACE.fullmatch(found[2])
            file, number = (place[1], int(place[2])) if place else (found[2], None)
            return Frame(function, _known(file), number, None, _is_java_ours(function))
    if found := _V8.fullmatch(line):
        return _v8(found[1] or "", found[2] or found[3])
    if found := _AT_SIGN.fullmatch(line):
        file = found[2] or found[5]
        line_number, column = (int(n) if n else None for n in (found[3], found[4]))
        return Frame(_name(found[1]), file, line_number, column, _is_ours(file))
    if found := _BARE.fullmatch(line):
        return Frame("", found[1], int(found[2]), int(found[3]), _is_ours(found[1]))
    return None


def _v8(function: str, place: str) -> Frame:
    if place.startswith("eval at "):  # eval at f (https://…), <anonymous>:1:1
        place = place.rpartition("(")[2].partition(")")[0] or place
    found = _PLACE.fullmatch(place)
    file = found[1] if found else place
    line = int(found[2]) if found else None
    column = int(found[3]) if found and found[3] else None
    known = _known(file)
    is_place = bool(found) or "/" in file
    if not function and not is_place and known:  # at Array.map
        return Frame(_name(file), "", None, None, False)
    return Frame(_name(function), known, line, column, is_place and _is_ours(known))


def _python(lines: list[str]) -> Stack:
    """The last traceback is of what was raised; the last line outside of it says what that was."""
    starts = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    lines = lines[starts[-1] + 1 :] if starts else lines
    frames: list[Frame] = []
    said: list[str] = []
    for line in lines:
        if found := _PYTHON.fullmatch(line):
            frames.append(Frame(_name(found[3] or ""), found[1], int(found[2]), None,
                                _is_ours(found[1])))  # fmt: skip
            said.clear()
        elif line and not line[0].isspace():
            said.append(line)
        elif said:
            said.append(line)  # a message of several lines
    return Stack(*typed("\n".join(said).strip()), tuple(reversed(frames)))


def _is_ours(file: str, said: Any = None) -> bool:
    if isinstance(said, bool):
        return said
    path = file.replace("\\", "/")
    return bool(path) and not (
        any(part in path for part in _NOT_OURS) or _STANDARD_PYTHON.fullmatch(path)
    )


def _is_java_ours(function: str, said: Any = None) -> bool:
    return said if isinstance(said, bool) else not function.startswith(_JAVA_LIBRARIES)


def _name(function: str) -> str:
    """Without what says how it was called; Firefox marks functions inside others with / and <."""
    name = function.strip().removeprefix("async ").removeprefix("new ").partition(" [as ")[0]
    name = name.removeprefix("async*").rstrip("/<")
    if name.endswith(".<anonymous>"):
        name = name.removesuffix(".<anonymous>")
        name = "" if name in ("Object", "Module") else name
    name = name.removeprefix("Object.").removeprefix("Module.")
    return "" if name in _UNKNOWN else name


def _known(file: str) -> str:
    return "" if file in _UNKNOWN or file == "Unknown Source" else file


def _text(value: Any) -> str:
    return value[:MOST_CHARACTERS] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
