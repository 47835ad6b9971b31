"""What the doctor says of computers made of files, each with something missing."""

import io
import os
import resource

import msgspec
import pytest
from rich.console import Console

from vehicle import doctor
from vehicle.computer import Computer, installed_version, try_realtime
from vehicle.findings import Level, Need, is_fit, print_findings

GOOD_CPU = "processor\t: 0\nmodel name\t: Chip 9000\nflags\t\t: fpu sse4_2 avx avx2\n\nprocessor\t: 1\n"


def write(root, path, text=""):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def link(root, path, target):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(root / target)


@pytest.fixture
def root(tmp_path):
    """A computer on which nothing is wrong, with a camera and a board."""
    write(tmp_path, "proc/cpuinfo", GOOD_CPU)
    write(tmp_path, "proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 2000000 kB\n")
    write(tmp_path, "proc/1/comm", "systemd\n")
    write(tmp_path, "etc/group", "root:x:0:\ndialout:x:20:\nvideo:x:44:\n")
    write(tmp_path, "dev/ptmx")
    write(tmp_path, "dev/video0")
    write(tmp_path, "sys/class/video4linux/video0/name", "Front camera\n")
    link(tmp_path, "dev/v4l/by-id/usb-front-index0", "dev/video0")
    write(tmp_path, "dev/ttyUSB0")
    link(tmp_path, "dev/serial/by-id/usb-board", "dev/ttyUSB0")
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    write(tmp_path, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "45000\n")
    return tmp_path


@pytest.fixture
def computer(root):
    def build(**changes):
        settings = {
            "root": root,
            "machine": "x86_64",
            "user_id": 1000,
            "group_ids": (20, 44, 1000),
            "run_dir": root.__class__("/tmp/lapwing-1000/lapwing"),
            "find_program": lambda name: f"/usr/bin/{name}",
            "limit": lambda _: resource.RLIM_INFINITY,
            "try_realtime": lambda: "",
            "free_disk_bytes": lambda: 50 << 30,
            "version_of": lambda package: "1.2.3",
        }
        return Computer(**{**settings, **changes})

    return build


def finding(name, computer):
    return next(found for found in doctor.examine(computer) if found.name == name)


def test_a_computer_with_everything_has_no_remedies(computer):
    findings = doctor.examine(computer())
    assert {found.name: found for found in findings if found.level is not Level.OK} == {}
    assert [found.remedy for found in findings if found.remedy] == []
    assert is_fit(findings)


def test_everything_that_is_not_ok_says_what_to_do(tmp_path, computer):
    bare = computer(
        root=tmp_path / "nothing",
        limit=lambda _: 0,
        try_realtime=lambda: "Operation not permitted",
        free_disk_bytes=lambda: 0,
        find_program=lambda _: None,
        group_ids=(1000,),
    )
    complaints = [found for found in doctor.examine(bare) if found.level is not Level.OK]
    assert len(complaints) >= 9
    assert [found.name for found in complaints if not found.remedy] == []


def test_cameras_are_shown_by_name_and_link(computer):
    assert finding("cameras", computer()).seen == "/dev/video0 Front camera (/dev/v4l/by-id/usb-front-index0)"


def test_serial_ports_are_shown_by_their_lasting_name(computer):
    assert finding("serial ports", computer()).seen == "/dev/serial/by-id/usb-board"


@pytest.mark.parametrize(
    ("name", "seen", "group"),
    [
        ("cameras", "/dev/video0 Front camera (/dev/v4l/by-id/usb-front-index0)", "video"),
        ("serial ports", "/dev/serial/by-id/usb-board", "dialout"),
    ],
)
def test_a_device_that_may_not_be_opened_is_named_with_the_group_that_may(
    computer, monkeypatch, name, seen, group
):
    monkeypatch.setattr(os, "access", lambda *_: False)
    device = {"video": "/dev/video0", "dialout": "/dev/ttyUSB0"}[group]
    found = finding(name, computer())
    assert (found.level, found.seen) == (Level.WARN, f"{seen}; no access to {device}")
    assert found.remedy.startswith(f"sudo usermod -aG {group} $USER")


def test_devices_are_never_opened(computer, monkeypatch):
    opened = []
    for module in (os, io):
        real_open = module.open

        def watch(path, *args, real_open=real_open, **kwargs):
            opened.append(str(path))
            return real_open(path, *args, **kwargs)

        monkeypatch.setattr(module, "open", watch)
    doctor.examine(computer())
    assert any("cpuinfo" in path for path in opened), "the watch does not work"
    assert [path for path in opened if "/dev/" in path] == []


def test_a_missing_camera_does_not_make_a_laptop_unfit(root, computer):
    (root / "dev/video0").unlink()
    (root / "dev/ttyUSB0").unlink()
    findings = doctor.examine(computer())
    missing = {found.name: found.needed_for for found in findings if found.level is Level.MISSING}
    assert missing == {"cameras": Need.REAL_CAR, "serial ports": Need.REAL_CAR}
    assert is_fit(findings)


def test_a_laptop_that_does_not_train_is_fit_and_told_how_to(computer):
    driving = computer(version_of=lambda package: "" if package == "torch" else "1.2.3")
    assert finding("training", driving).remedy == "pip install 'lapwing[train]'"
    assert is_fit(doctor.examine(driving))


def test_a_missing_package_makes_the_computer_unfit(computer):
    broken = computer(version_of=lambda package: "" if package == "pyserial" else "1.2.3")
    assert finding("packages", broken).seen == "not installed: pyserial"
    assert not is_fit(doctor.examine(broken))


def test_a_device_without_access_names_the_group_to_join(computer, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "usermod -aG video" in finding("cameras", computer()).remedy
    assert "usermod -aG dialout" in finding("serial ports", computer()).remedy


def test_a_processor_without_sse42_cannot_drive(root, computer):
    write(root, "proc/cpuinfo", "processor : 0\nmodel name : Old\nflags : fpu sse2\n")
    findings = doctor.examine(computer())
    assert not is_fit(findings)


def test_the_cars_own_processor_is_fit_and_told_that_it_is_slower(root, computer):
    write(
        root,
        "proc/cpuinfo",
        "processor : 0\nmodel name : Atom E3930\nflags : fpu sse4_2\n\nprocessor : 1\n",
    )
    found = finding("processor", computer())
    assert found.level is Level.OK
    assert "SSE kernels" in found.seen


def test_a_processor_without_x86_flags_is_no_complaint_elsewhere(root, computer):
    write(root, "proc/cpuinfo", "processor : 0\nFeatures : fp asimd\n")
    assert finding("processor", computer(machine="aarch64")).level is Level.OK


def test_a_governor_that_saves_power_is_warned_of(root, computer):
    write(root, "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n")
    found = finding("governor", computer())
    assert (found.level, found.seen) == (Level.WARN, "performance, powersave")


def test_refused_priority_gives_the_reason(computer):
    found = finding("real-time priority", computer(try_realtime=lambda: "Operation not permitted"))
    assert found.level is Level.WARN
    assert "Operation not permitted" in found.seen
    assert "rtprio" in found.remedy


def test_the_trial_of_priority_leaves_this_thread_as_it_was():
    before = os.sched_getscheduler(0)
    try_realtime()
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize(
    ("limit_bytes", "capabilities", "level"),
    [
        (8 << 20, 0, Level.WARN),
        (400 << 20, 0, Level.WARN),  # the vehicle locks nothing then
        (resource.RLIM_INFINITY, 0, Level.OK),
        (8 << 20, 1 << 14, Level.OK),
        (8 << 20, ~(1 << 14) & 0xFFFF, Level.WARN),
    ],
)
def test_locked_memory_is_judged_as_the_vehicle_does(root, computer, limit_bytes, capabilities, level):
    write(
        root, "proc/self/status", f"Name:\tlapwing\nCapEff:\t{capabilities:016x}\nCapBnd:\t{1 << 14:016x}\n"
    )
    assert finding("locked memory", computer(limit=lambda _: limit_bytes)).level is level


def test_a_slow_clock_is_warned_of(root, computer):
    write(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
    assert finding("clock source", computer()).level is Level.WARN


def test_the_hottest_zone_counts(root, computer):
    write(root, "sys/class/thermal/thermal_zone1/type", "gpu\n")
    write(root, "sys/class/thermal/thermal_zone1/temp", "91500\n")
    found = finding("temperature", computer())
    assert (found.level, found.seen) == (Level.WARN, "92 degrees C (gpu)")


def test_a_service_that_takes_serial_ports_is_named_with_its_remedy(root, computer):
    write(root, "proc/77/comm", "ModemManager\n")
    found = finding("port grabbers", computer())
    assert found.remedy == "sudo systemctl disable --now ModemManager"


def test_a_long_run_directory_cannot_hold_sockets(computer, tmp_path):
    found = finding("run directory", computer(run_dir=tmp_path / ("x" * 80)))
    assert found.level is Level.MISSING


def test_only_the_absent_groups_are_asked_for(computer):
    assert "usermod -aG video $USER" in finding("groups", computer(group_ids=(20,))).remedy


def test_an_absent_package_is_named(computer, monkeypatch):
    monkeypatch.setattr(
        doctor.importlib.metadata, "requires", lambda _: ["numpy>=2", "no-such-thing>=1", "x; extra == 'dev'"]
    )
    real = computer(version_of=installed_version)
    assert finding("packages", real).seen == "not installed: no-such-thing"


def test_json_is_one_document_and_the_status_says_whether_it_is_fit(capsys, monkeypatch, computer):
    monkeypatch.setattr(doctor, "Computer", computer)
    status = doctor.run_doctor(as_json=True)
    document = msgspec.json.decode(capsys.readouterr().out)
    assert status == 0
    assert document["fit"] is True
    assert {"name", "level", "seen", "needed_for", "remedy"} == set(document["findings"][0])


def test_a_remedy_is_printed_on_one_line(computer):
    findings = doctor.examine(computer(limit=lambda _: 0))
    out = io.StringIO()
    print_findings(findings, Console(file=out, width=60))
    assert f"  {finding('locked memory', computer(limit=lambda _: 0)).remedy}" in out.getvalue().splitlines()
