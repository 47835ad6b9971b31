"""What hangs on this computer to make it a car: cameras, serial ports, and who else may open them."""

import os

from vehicle.computer import Computer
from vehicle.findings import LOG_IN_AGAIN, Finding, Level, Need

PORT_GRABBERS = {
    "ModemManager": "sudo systemctl disable --now ModemManager",
    "brltty": "sudo apt-get remove brltty",
}
"""Services that open serial adapters by themselves: the first sends modem commands to new ports, the
second takes CH340 adapters, which many boards have, for Braille displays."""


def examine(computer: Computer) -> list[Finding]:
    """Look for what a real car needs; opens no device."""
    return [_cameras(computer), _serial_ports(computer), _groups(computer), _port_grabbers(computer)]


def _cameras(computer: Computer) -> Finding:
    links = {path.resolve(): computer.shown(path) for path in computer.paths("dev/v4l/by-id/*")}
    cameras: list[str] = []
    denied: list[str] = []
    for device in computer.paths("dev/video[0-9]*"):
        name = computer.read(f"sys/class/video4linux/{device.name}/name") or "unnamed"
        link = links.get(device.resolve(), "no by-id link")
        cameras.append(f"{computer.shown(device)} {name} ({link})")
        if not os.access(device, os.R_OK | os.W_OK):
            denied.append(computer.shown(device))
    return _of_devices(
        "cameras",
        cameras,
        denied,
        absent="no /dev/video*",
        remedy="connect the camera",
        group="video",
    )


def _serial_ports(computer: Computer) -> Finding:
    links = {path.resolve(): computer.shown(path) for path in computer.paths("dev/serial/by-id/*")}
    devices = [path for pattern in ("dev/ttyUSB*", "dev/ttyACM*") for path in computer.paths(pattern)]
    ports = [links.get(device.resolve(), f"{computer.shown(device)} (no by-id link)") for device in devices]
    denied = [computer.shown(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    return _of_devices(
        "serial ports",
        ports,
        denied,
        absent="no /dev/serial/by-id",
        remedy="connect the board by a USB cable that carries data",
        group="dialout",
    )


def _of_devices(
    name: str, shown: list[str], denied: list[str], *, absent: str, remedy: str, group: str
) -> Finding:
    """Judge devices of one kind; `group` may open those that were `denied`."""
    if not shown:
        seen = f"{absent}; `make demo` drives without one"
        return Finding(name, Level.MISSING, seen, Need.REAL_CAR, f"{remedy}, then look at: dmesg | tail")
    if denied:
        seen = f"{'; '.join(shown)}; no access to {', '.join(denied)}"
        remedy = f"sudo usermod -aG {group} $USER, {LOG_IN_AGAIN}"
        return Finding(name, Level.WARN, seen, Need.REAL_CAR, remedy)
    return Finding(name, Level.OK, "; ".join(shown), Need.REAL_CAR)


def _groups(computer: Computer) -> Finding:
    wanted = ("dialout", "video")
    if computer.user_id == 0:
        return Finding("groups", Level.OK, "root needs none", Need.REAL_CAR)
    ids = {
        name: int(group_id)
        for name, _, group_id, *_ in (line.split(":") for line in computer.read("etc/group").splitlines())
    }
    absent = [name for name in wanted if ids.get(name) not in computer.group_ids]
    if absent:
        return Finding(
            "groups",
            Level.WARN,
            f"not in {', '.join(absent)}",
            Need.REAL_CAR,
            f"sudo usermod -aG {','.join(absent)} $USER, {LOG_IN_AGAIN}",
        )
    return Finding("groups", Level.OK, ", ".join(wanted), Need.REAL_CAR)


def _port_grabbers(computer: Computer) -> Finding:
    running = {
        computer.read(f"{path.relative_to(computer.root)}") for path in computer.paths("proc/[0-9]*/comm")
    }
    found = [name for name in PORT_GRABBERS if name in running]
    if not found:
        return Finding("port grabbers", Level.OK, "none running", Need.REAL_CAR)
    return Finding(
        "port grabbers",
        Level.WARN,
        f"{', '.join(found)} opens serial ports by itself",
        Need.REAL_CAR,
        "; ".join(PORT_GRABBERS[name] for name in found),
    )
