#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The installed files do what they are for: the unit is one that systemd takes, exposes no more than 2.0, and names a
configuration that loads; sysusers and tmpfiles make what the unit and the configuration speak of.

usage: unit_test.py UNIT SYSUSERS TMPFILES CONFIG NETCHAND; 77 where systemd's tools are missing.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MOST_EXPOSED = 20  # tenths; systemd's own scale, where 0 is best


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def verify(unit):
    """systemd's complaints; none when it takes the unit."""
    result = run("systemd-analyze", "verify", "--man=no", str(unit))
    return result.stderr.strip() or (f"exit {result.returncode}" if result.returncode else "")


def exposed(unit):
    """What makes the unit too exposed, or nothing."""
    result = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit))
    return result.stdout if result.returncode else ""


def changed(directory, text, *substitutions):
    unit = pathlib.Path(directory) / "netchan.service"
    for pattern, replacement in substitutions:
        text, count = re.subn(pattern, replacement, text, flags=re.M)
        assert count, f"the unit has no {pattern}"
    unit.write_text(text)
    return unit


def check_unit(directory, text, config, netchand):
    # The paths are those of an installation; here they must exist.
    here = (r"^(ExecStart(?:Pre)?=)\S+", rf"\g<1>{netchand}"), (r"-c \S+", f"-c {config}")
    unit = changed(directory, text, *here)
    assert not verify(unit), verify(unit)
    assert not exposed(unit), exposed(unit)

    settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.M))
    for capability in "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF":
        assert capability in settings["AmbientCapabilities"].split(), capability
    assert settings["AmbientCapabilities"] == settings["CapabilityBoundingSet"]
    assert settings["Type"] == "notify" and settings["User"] == "netchan" and "WatchdogSec" in settings
    assert "ExecReload" not in settings, "there is no reload yet"

    # Both judges must be able to say no.
    assert verify(changed(directory, text, *here, (r"^Type=notify$", "Type=notfy")))
    assert verify(changed(directory, text, (r"^(ExecStart=)\S+", r"\1/nonexistent/netchand")))
    assert exposed(changed(directory, text, *here, (r"^NoNewPrivileges=.*$", ""), (r"^CapabilityBoundingSet=.*$", "")))


def check_users(directory, sysusers, tmpfiles):
    root = pathlib.Path(directory) / "root"
    for folder, source in ("sysusers.d", sysusers), ("tmpfiles.d", tmpfiles):
        (root / "usr/lib" / folder).mkdir(parents=True)
        shutil.copy(source, root / "usr/lib" / folder / "netchan.conf")
    (root / "etc").mkdir()
    result = run("systemd-sysusers", f"--root={root}")
    assert result.returncode == 0, result.stderr
    accounts = {line.split(":")[0]: line.split(":") for line in (root / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0]: line.split(":") for line in (root / "etc/group").read_text().splitlines()}
    assert accounts["netchan"][3] == groups["netchan"][2], "netchan's own group"
    assert accounts["netchan"][6].endswith("nologin")
    assert "netchan" in groups["netchan-admin"][3].split(",")
    if os.geteuid() == 0:  # only root may give a directory away
        result = run("systemd-tmpfiles", "--create", f"--root={root}")
        assert result.returncode == 0, result.stderr
        made = (root / "run/netchan").stat()
        assert made.st_uid == int(accounts["netchan"][2]) and made.st_mode & 0o777 == 0o755


def check_config(config, netchand):
    result = run(netchand, "--check", "-c", config)
    assert result.returncode == 0, result.stderr
    assert "packet memory" in result.stdout, result.stdout


def main():
    unit, sysusers, tmpfiles, config, netchand = map(os.path.abspath, sys.argv[1:])
    if not all(map(shutil.which, ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"))):
        print("systemd's tools are missing (package systemd)")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        check_unit(directory, pathlib.Path(unit).read_text(), config, netchand)
        check_users(directory, sysusers, tmpfiles)
    check_config(config, netchand)
    return 0


if __name__ == "__main__":
    sys.exit(main())
