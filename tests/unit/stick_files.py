"""A file system whose /proc, /sys and /media are a test's: sticks plugged in, mounted, pulled out."""

from pathlib import Path

ROOT_LINE = "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw"
PROC_LINE = "23 22 0:21 / /proc rw,nosuid shared:2 - proc proc rw"


class FakeComputer:
    """Its disk is sda; sticks come as sdb and so on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lines = [ROOT_LINE, PROC_LINE]
        self.plug("sda", "8:0", "8:2", removable=False, bus="pci0000:00/ata1", size=1000)
        self._write()

    def plug(
        self, disk: str, number: str, part: str, *, removable: bool, bus: str, size: int, model: str = "Disk"
    ) -> None:
        """Let a disk with one partition appear."""
        device = self.root / "sys/devices" / bus / "block" / disk
        (device / f"{disk}1").mkdir(parents=True)
        (device / "removable").write_text(f"{int(removable)}\n")
        (device / "size").write_text(f"{size}\n")
        (device / "device").mkdir()
        (device / "device/model").write_text(f"{model}  \n")
        for link, target in (
            (self.root / "sys/block" / disk, device),
            (self.root / "sys/dev/block" / number, device),
            (self.root / "sys/dev/block" / part, device / f"{disk}1"),
        ):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def plug_stick(self, disk: str = "sdb", minor: int = 16, *, size: int = 1000) -> str:
        """Let a stick appear that nothing has mounted; return its partition's number."""
        part = f"8:{minor + 1}"
        self.plug(disk, f"8:{minor}", part, removable=True, bus=f"pci0/usb1/{disk}", size=size, model="Flash")
        return part

    def mount(self, part: str, point: str, *, options: str = "rw,nosuid", source: str = "/dev/sdb1") -> Path:
        """Mount a partition; return where its files are."""
        place = self.root / point.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        written = point.replace(" ", "\\040")
        self._lines.append(f"90 22 {part} / {written} {options} shared:9 - vfat {source} rw,codepage=437")
        self._write()
        return place

    def pull(self, point: str) -> None:
        """Let a mounted stick go."""
        written = point.replace(" ", "\\040")
        self._lines = [line for line in self._lines if f" {written} " not in line]
        self._write()

    def _write(self) -> None:
        there = self.root / "proc/self/mountinfo"
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text("\n".join(self._lines) + "\n")
