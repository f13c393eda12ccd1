"""A real browser without a window: what a page becomes in it, what it complains of, and what it looks like."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_COMPLAINT = re.compile(r"^.*(?:CONSOLE|Uncaught).*$", re.MULTILINE)


def find_browser() -> str | None:
    """Return where there is a browser, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@dataclass(frozen=True)
class Browser:
    """A browser that keeps what it keeps in a directory of its own."""

    program: str
    directory: Path

    def open(self, page: Path) -> tuple[str, list[str]]:
        """Return what a page has become, as HTML, and what there was to complain of on its console."""
        done = self._run(page, "--enable-logging=stderr", "--dump-dom")
        return done.stdout, _COMPLAINT.findall(done.stderr)

    def photograph(self, page: Path, picture: Path, *, dark: bool, width: int = 1100, height: int = 1600) -> Path:
        """Write a picture of the top of a page."""
        colours = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        self._run(page, colours, f"--window-size={width},{height}", "--hide-scrollbars", f"--screenshot={picture}")
        return picture

    def _run(self, page: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        always = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        always += ["--disable-breakpad", "--disable-dev-shm-usage", f"--user-data-dir={self.directory / 'profile'}"]
        return subprocess.run(
            [self.program, *always, *arguments, page.absolute().as_uri()],
            env={**os.environ, "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
