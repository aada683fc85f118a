"""``--json-events`` in the words of ``ptychodus-reconstruct-subprocess``: a filter from standard input to standard output."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

__all__ = ["Words", "run"]


class Words:
    """Lines of ptycho as lines of ptychodus, whose epochs are counted through all stages."""

    def __init__(self) -> None:
        self._began, self._done, self._before, self._stage = "", 0, 0, ""

    def of(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The line of ptychodus, or None where it has no word for what happened."""
        self._began = self._began or line["time"]
        elapsed = {"elapsed_s": (datetime.fromisoformat(line["time"]) - datetime.fromisoformat(self._began)).total_seconds()}
        kind, values, told = line["kind"], line["values"], {"event": line["kind"]}
        if kind == "started":
            return told | {"message": line["message"]}
        if kind == "epoch":
            if line["stage"] != self._stage:
                self._stage, self._before = line["stage"], self._done
            self._done += 1
            loss = values.get("loss")
            return (
                told | {"epoch": self._done, "num_epochs": max(self._done, self._before + line["total"]), "loss": loss} | elapsed
            )
        if kind == "checkpoint":
            return told | {"epoch": self._done, "path": line["path"]}
        if kind == "finished":
            return told | {"epoch": self._done, "cancelled": values["interrupted"], "path": line["path"] or None} | elapsed
        if kind == "error":
            return told | {
                "type": values["code"],
                "message": " ".join(filter(None, [line["message"], values["remedy"]])),
                "traceback": "",
            }
        return None


def run() -> None:
    """The console script."""
    words = Words()
    for line in sys.stdin:
        if (told := words.of(json.loads(line))) is not None:
            print(json.dumps(told), flush=True)
