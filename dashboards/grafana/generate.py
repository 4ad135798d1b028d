#!/usr/bin/env python3
"""Writes the dashboards' JSON beside this file; with --check, says which of them is not what the source makes.

    pip install -r dashboards/grafana/requirements.txt
    python3 dashboards/grafana/generate.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from boards import controller, overview, workers
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

HERE = Path(__file__).parent
BOARDS = {"overview": overview.board, "workers": workers.board, "controller": controller.board}


def main() -> int:
    arguments = argparse.ArgumentParser(description="Write the dashboards' JSON")
    arguments.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = arguments.parse_args().check
    return check_files() if check else write_files()


def write_files() -> int:
    for name, board in BOARDS.items():
        path(name).write_text(text(board()))
    return 0


def check_files() -> int:
    stale = [name for name, board in BOARDS.items() if path(name).read_text() != text(board())]
    for name in stale:
        print(f"{path(name)} is out of date: run dashboards/grafana/generate.py", file=sys.stderr)
    return 1 if stale else 0


def path(name: str) -> Path:
    return HERE / f"{name}.json"


def text(board: Dashboard) -> str:
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
