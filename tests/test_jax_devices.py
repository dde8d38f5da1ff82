"""The script that trains on two devices and in two processes, on JAX."""

import json
import subprocess
import sys

import keras
import pytest

from tests.fresh_process import ROOT

SCRIPT = ROOT / "benchmarks" / "jax_devices.py"


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="keras.distribution is for JAX")
def test_two_devices_and_two_processes_take_the_steps_of_one():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=600, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    measured = json.loads(done.stdout)
    stored = json.loads(SCRIPT.with_suffix(".json").read_text(encoding="utf-8"))
    assert list(measured) == list(stored)
    for name, result in measured.items():
        assert result["devices"] == stored[name]["devices"]
        assert result["loss"] == pytest.approx(stored[name]["loss"], rel=1e-3)
        assert result["difference"] < 1e-3
