"""Teach the network that everybody trains for a DeepRacer to drive as a shipped policy does.

`python -m models.training.distil plover --out distilled.tar.gz` leaves an archive as a training console
exports it: a frozen TensorFlow graph of full size, which laps. Needs the `train` extra.

The student looks at one picture of 160 x 120 and learns the teacher's probabilities. At first the teacher
drives; then, car by car, the student, and the teacher says what it would have done there.
"""

import argparse
import io
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calibration.car import HIL_AWS
from models import metadata
from models.bundle import check_bundle
from models.errors import PolicyError
from models.metadata import Action, PolicyMetadata, Sensor
from models.policy import Policy
from models.standard_graph import GREY_LEVEL_MAX, HEIGHT_PX, SHALLOW, WIDTH_PX, write_frozen_graph
from models.training.env import Course, EnvSettings
from models.training.fleet import FleetSettings
from vehicle.hil.track import REVERSED, TRACKS, load_track

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Tell: TypeAlias = Callable[[str], None]

CARS, DECISIONS = 40, 120  # in each round
ROUNDS = 5
LAST_EPOCHS = 6  # over all pictures, when they are together; one in each round before
BATCH = 256
LEARNING_RATE = 5e-4
ROOMS = 6
SEED = 5300


class Distilled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    pictures: int
    agrees_frac: float
    """Of the last round's decisions, before it was learned from: the student chose as the teacher did."""


class Student(nn.Module):
    """SHALLOW of models.standard_graph: pictures of 0..255, batch x 1 x height x width, to logits."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        channels, rows, columns = 1, HEIGHT_PX, WIDTH_PX
        self.layers = nn.ModuleDict()
        for index, (kernel, filters, stride) in enumerate(SHALLOW.convolutions):
            self.layers[f"Conv2d_{2 * index}"] = nn.Conv2d(channels, filters, kernel, stride)
            channels = filters
            rows, columns = (rows - kernel) // stride + 1, (columns - kernel) // stride + 1
        self.layers["Dense_0"] = nn.Linear(rows * columns * channels, SHALLOW.dense_units)
        self.layers["policy_fc"] = nn.Linear(SHALLOW.dense_units, actions)
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits."""
        values = (pictures.float() / GREY_LEVEL_MAX).contiguous(memory_format=torch.channels_last)
        for layer in self.layers.values():
            if isinstance(layer, nn.Linear):
                values = values.permute(0, 2, 3, 1).flatten(1) if values.dim() == 4 else values
            values = layer(values)
            if layer is not self.layers["policy_fc"]:
                values = torch.relu(values)
        return values

    def weights(self, name: str, _shape: tuple[int, ...]) -> Floats:
        """Return weights as TensorFlow has them, by models.standard_graph's names."""
        layer, kind = name.split("/")
        if kind == "bias":
            return np.asarray(self.layers[layer].bias.detach().numpy(), np.float32)
        values = self.layers[layer].weight.detach()
        order = (2, 3, 1, 0) if values.dim() == 4 else (1, 0)
        return np.ascontiguousarray(values.permute(*order).numpy())


class Lessons:
    """Drives rounds and keeps every picture with what the teacher answered to it."""

    def __init__(self, teachers: list[Policy], actions: tuple[Action, ...]) -> None:
        self._teachers, self._actions = teachers, actions
        self.pictures: list[Bytes] = []
        self.answers: list[Floats] = []

    def drive(self, student: Student, driven_by_student: int, seed: int) -> float:
        """Drive one round; return on what share of the decisions student and teacher chose alike."""
        course = _course(self._actions, len(self._teachers), seed)
        for car, teacher in enumerate(self._teachers):
            course.start(car)
            teacher.reset()
        alike = []
        for _ in range(DECISIONS):
            seen = course.images.copy()
            wanted = [
                teacher.decide(course.fleet.sight(car), HIL_AWS) for car, teacher in enumerate(self._teachers)
            ]
            self.pictures.append(seen)
            self.answers.append(np.array([decision.output for decision in wanted], np.float32))
            chosen = np.array([decision.index for decision in wanted])
            with torch.no_grad():
                own = student(torch.from_numpy(seen)).argmax(1).numpy()
            alike.append(float((own == chosen).mean()))
            chosen[:driven_by_student] = own[:driven_by_student]
            _, ended, late = course.step(chosen)
            for over in np.flatnonzero(ended | late).tolist():
                course.start(over)
                self._teachers[over].reset()
        return float(np.mean(alike))

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Return every picture with its answer, in random order."""
        cars = len(self._teachers)
        order = rng.permutation(len(self.pictures) * cars)
        for begin in range(0, len(order), BATCH):
            chosen = [divmod(int(place), cars) for place in order[begin : begin + BATCH]]
            yield (
                torch.from_numpy(np.stack([self.pictures[moment][car] for moment, car in chosen])),
                torch.from_numpy(np.stack([self.answers[moment][car] for moment, car in chosen])),
            )


def distil(
    teacher: str | Path, out: Path, *, seed: int = SEED, tell: Tell = lambda _words: None
) -> Distilled:
    """Teach and write the archive; raises PolicyError for a teacher without a list of actions in m/s."""
    cv2.setNumThreads(1)
    torch.manual_seed(seed)
    bundle, runtime = check_bundle(teacher)
    actions = bundle.metadata.action_space
    if not isinstance(actions, tuple):
        raise PolicyError(f"{bundle.name} chooses from a range; a teacher needs a list of actions")
    student = Student(len(actions))
    lessons = Lessons([Policy(bundle, runtime) for _ in range(CARS)], actions)
    optimizer = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE)
    rng = np.random.default_rng(seed)
    alike = 0.0
    for number in range(ROUNDS):
        alike = lessons.drive(student, CARS * number // (ROUNDS - 1), seed + number)
        tell(f"round {number + 1} of {ROUNDS}: {alike:.1%} of the decisions alike")
        is_last = number == ROUNDS - 1
        for epoch in range(LAST_EPOCHS if is_last else 1):
            rate = LEARNING_RATE * (1 - epoch / LAST_EPOCHS)
            wrong = _learn(student, optimizer, lessons.batches(rng), rate)
            tell(f"  learned from {len(lessons.pictures) * CARS} pictures; off by {wrong:.4f}")
    write_export(out, student, bundle.metadata)
    return Distilled(pictures=len(lessons.pictures) * CARS, agrees_frac=alike)


def write_export(out: Path, student: Student, taught: PolicyMetadata) -> None:
    """Write `agent/model.pb` and `model_metadata.json` as a .tar.gz, with the teacher's actions."""
    description = PolicyMetadata(
        action_space=taught.action_space,
        sensors=(Sensor.FRONT_FACING_CAMERA,),
        neural_network="DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        version=5.0,
        action_units=taught.action_units,
        control_rate_hz=taught.control_rate_hz,
    )
    network = msgspec.structs.replace(SHALLOW, actions=taught.output_count)
    with tempfile.TemporaryDirectory(prefix="lapwing") as folder, tarfile.open(out, "w:gz") as archive:
        graph = Path(folder) / "model.pb"
        write_frozen_graph(graph, network, weights=student.weights)
        archive.add(graph, "agent/model.pb")
        text = metadata.encode(description)
        member = tarfile.TarInfo("model_metadata.json")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))


def _learn(
    student: Student, optimizer: torch.optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]], rate: float
) -> float:
    """Pass once over the batches; return the mean divergence from the teacher's probabilities."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    total, count = 0.0, 0
    for pictures, answers in batches:
        wrong = nn.functional.kl_div(torch.log_softmax(student(pictures), 1), answers, reduction="batchmean")
        optimizer.zero_grad()
        wrong.backward()
        optimizer.step()
        total, count = total + float(wrong.detach()), count + 1
    return total / count


def _course(actions: tuple[Action, ...], cars: int, seed: int) -> Course:
    tracks = [load_track(name + way) for name in TRACKS for way in ("", REVERSED)]
    fleet = FleetSettings(count=cars, randomise=True, colour=True, rooms_per_track=ROOMS, seed=seed)
    settings = EnvSettings(fleet=fleet, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    return Course(tracks, actions, settings)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.training.distil", description=__doc__)
    parser.add_argument("teacher", help="a shipped policy, or a bundle's folder")
    parser.add_argument("--out", type=Path, required=True, help="the .tar.gz to write")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()

    def tell(words: str) -> None:
        sys.stderr.write(words + "\n")

    found = distil(given.teacher, given.out, seed=given.seed, tell=tell)
    sys.stdout.write(
        f"{given.out}: {found.pictures} pictures; in the last round, before it was learned from, "
        f"{found.agrees_frac:.1%} of the student's choices were the teacher's\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
