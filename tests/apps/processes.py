"""Commands in processes of their own, forked from one process that has imported all that they need."""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, final

ROOT = Path(__file__).parents[2]
MAIN = "from gatewise.apps.command_line import main\nmain()\n"
IMPORTED = """
gatewise.apps.command_line gatewise.apps.commands gatewise.apps.forecast
gatewise.tasks.forecast.run_folder gatewise.tasks.shared.training gatewise.tasks.synthetic.results
lightning.pytorch matplotlib.backends.backend_agg pyarrow.pandas_compat
""".split()


@final
class Process:
    """Python code, by default that of the command `gatewise`, with its arguments.

    One process runs at a time.
    """

    def __init__(self, *arguments: str, cwd: Path, code: str = MAIN) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._printed = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        server = _server()
        assert server.stdin
        assert server.stdout
        self._answers = server.stdout
        given = {"code": code, "arguments": ["gatewise", *arguments], "cwd": str(cwd)}
        request = {**given, "environment": dict(os.environ), "printed": list(map(str, self._printed))}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        self.pid = int(self._answers.readline())

    def runs(self) -> bool:
        """Whether it has not ended."""
        return not select.select([self._answers], [], [], 0)[0]

    def end(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end and return its status and what it printed; kill it after `timeout` seconds."""
        ended = bool(select.select([self._answers], [], [], timeout)[0])
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        status = int(self._answers.readline())
        out, err = (path.read_text(encoding="utf-8") for path in self._printed)
        self._folder.cleanup()
        assert ended, f"it ran for more than {timeout} s"
        return subprocess.CompletedProcess([], status, out, err)


def run_forked(*arguments: str, cwd: Path, code: str = MAIN) -> subprocess.CompletedProcess[str]:
    """Run code, by default the command `gatewise`, and wait for its end."""
    return Process(*arguments, cwd=cwd, code=code).end()


@functools.cache
def _server() -> subprocess.Popen[bytes]:
    """The process that forks; it ends with this one."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.apps.processes"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    atexit.register(server.communicate)  # closes its input
    return server


def _fork() -> str:
    """Fork for each request. Returns in the forked processes alone: the code that is to run."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return _forked(request)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    sys.exit()


def _forked(request: dict[str, Any]) -> str:
    """Become the process of a request, up to its code."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    printed = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in request["printed"])
    for number, file in enumerate((nothing, *printed)):
        os.dup2(file, number)
        os.close(file)
    sys.argv = request["arguments"]
    return str(request["code"])


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    warnings.resetwarnings()
    exec(_fork(), {"__name__": "__main__"})
