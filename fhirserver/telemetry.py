"""Log lines: JSON where a machine reads them, one readable line on a terminal; each with the id of its request."""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import msgspec

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_sent = re.compile(r"[A-Za-z0-9._\-]{1,64}")

# What every LogRecord has; the rest came in as `extra=` and is worth printing.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def begin(sent: str) -> str:
    """The id of a request: the X-Request-Id that came with it, where that is one, else a new one."""
    name = sent if _sent.fullmatch(sent) else token_hex(16)
    request_id.set(name)  # uvicorn runs every request in a context of its own
    return name


def configure(level: str) -> None:
    """Send the whole process's log to stderr, once per process, from a root."""
    handler = logging.StreamHandler()
    handler.setFormatter(ReadableLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("pymongo", "asyncio", "uvicorn", "celery", "kombu", "amqp", "redis"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request, what the caller added, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := request_id.get():
            line["request"] = request
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode("utf-8", "backslashreplace")


class ReadableLines(logging.Formatter):
    """`12:00:01 warning  store.embedded  mongod ended [request]`, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        request = request_id.get()
        line = f"{time} {record.levelname.lower():8} {record.getMessage()}" + (f" [{request}]" if request else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
