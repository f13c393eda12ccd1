"""Shows whom the kernel would end first, in processes of their own: a score is for life."""

import subprocess
import sys

import pytest

SHOW = "from hundredfold import oom; oom.{}(); print(open('/proc/self/oom_score_adj').read())"


@pytest.mark.parametrize(("what", "scores"), [("offer", {500}), ("protect", {-500, 0})])
def test_agents_go_before_daemons(what: str, scores: set[int]) -> None:
    argv = [sys.executable, "-c", SHOW.format(what)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert int(done.stdout) in scores
