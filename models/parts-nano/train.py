"""Train parts-nano from nothing: render scenes, train, export, measure.

    pip install '.[all,train]'
    python models/parts-nano/train.py --out runs/parts-nano            # resumes where it was stopped
    python models/parts-nano/train.py --out runs/parts-nano --publish  # and puts the result into this folder

Everything is seeded. Two runs on one machine and one version of the libraries see the same pictures in the
same order; sums of floats in parallel may still differ in their last bits.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from data import SIDE, Feeder, render
from export import to_onnx
from loss import loss
from measure import VALIDATION_SEED, accuracy, dataset, held_out, robustness
from network import PartsNano
from publish import publish
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from edgecv import machine
from edgecv.report import Chart, Page, Section, charts, write_html, write_svg
from edgecv.scenes import CLASSES

TRAIN_SEED = 0
GRADIENT_NORM = 10.0
WEIGHT_DECAY = 0.02
WARMUP_STEPS = 300
EMA_DECAY = 0.999


@dataclass(frozen=True)
class Plan:
    """What a run does; a checkpoint of another plan is refused, but for its number of epochs. low_side: the
    pictures' side during the first low_epochs, which are cheaper by its square."""

    scenes: int = 9_000
    epochs: int = 11
    low_epochs: int = 5
    low_side: int = 224
    batch: int = 32
    learning_rate: float = 3e-3
    seed: int = 7
    bf16: bool = False

    def side(self, epoch: int) -> int:
        return self.low_side if epoch < self.low_epochs else SIDE


class Average:
    """Exponential moving average of weights and statistics (Tarvainen & Valpola 2017), warmed up."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval()
        self.steps = 0

    @torch.no_grad()
    def update(self, trained: nn.Module) -> None:
        self.steps += 1
        decay = min(EMA_DECAY, (1 + self.steps) / (10 + self.steps))
        for mean, value in zip(
            self.network.state_dict().values(), trained.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


class Run:
    """The state of a training and its checkpoint."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out
        torch.manual_seed(plan.seed)
        self.network = PartsNano(len(CLASSES)).to(memory_format=torch.channels_last)
        self.average = Average(self.network)
        self.optimizer = torch.optim.AdamW(_groups(self.network), lr=plan.learning_rate, betas=(0.9, 0.99))
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def save(self) -> None:
        """The checkpoint, replaced whole."""
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(
            {
                "plan": asdict(self.plan),
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "average_steps": self.average.steps,
                "optimizer": self.optimizer.state_dict(),
                "epoch": self.epoch,
                "seconds": self.seconds,
                "history": self.history,
            },
            partial,
        )
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one; the number of epochs may be another."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        same = replace(self.plan, epochs=state["plan"]["epochs"], low_epochs=state["plan"]["low_epochs"])
        if state["plan"] != asdict(same):
            sys.exit(f"{self.checkpoint} is of another plan: {state['plan']}; choose another --out")
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]

    def train_epoch(self, feeder: Feeder, bar: Progress) -> None:
        """One pass over the pictures, and a line of history."""
        plan = self.plan
        side = plan.side(self.epoch)
        steps = plan.scenes // plan.batch
        task = bar.add_task(f"epoch {self.epoch + 1}/{plan.epochs}, {side} px", total=steps)
        rate = 0.0
        sums = dict.fromkeys(("total", "box", "objectness", "classes"), 0.0)
        self.network.train()
        for i, (blob, truth) in enumerate(feeder.epoch(plan.batch, side, plan.seed * 1000 + self.epoch), 1):
            rate = self._rate(self.epoch * steps + i)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
                raw: Tensor = self.network(blob)
            losses = loss(raw.float(), truth, (side, side))
            self.optimizer.zero_grad()
            losses.total.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
            self.optimizer.step()
            self.average.update(self.network)
            for name in sums:
                sums[name] += getattr(losses, name).item()
            bar.update(
                task,
                completed=i,
                description=f"epoch {self.epoch + 1}/{plan.epochs}, {side} px, loss {sums['total'] / i:.3f}",
            )
        bar.remove_task(task)
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "of_epochs": plan.epochs,
                "side": side,
                "rate": rate,
                **{name: value / steps for name, value in sums.items()},
            }
        )

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a hundredth (Loshchilov & Hutter 2017)."""
        total = self.plan.epochs * (self.plan.scenes // self.plan.batch)
        if step < WARMUP_STEPS:
            return self.plan.learning_rate * step / WARMUP_STEPS
        part = (step - WARMUP_STEPS) / max(1, total - WARMUP_STEPS)
        return self.plan.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    """Weight decay for kernels alone, not for biases and normalization."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]


def plot(history: list[dict[str, float]], out: Path) -> None:
    """Loss and validation accuracy over the epochs: loss.svg, accuracy.svg, and a page with both."""
    epochs = [row["epoch"] for row in history]
    losses = [
        charts.Series(name, epochs, [row[name] for row in history])
        for name in ("total", "box", "objectness", "classes")
    ]
    measured = [row for row in history if "AP" in row]
    accuracies = [
        charts.Series(name, [row["epoch"] for row in measured], [row[name] for row in measured])
        for name in ("AP", "AP50")
    ]
    drawn = {
        "loss.svg": Chart(
            charts.lines(losses, x_label="epoch", y_label="loss", y_log=True), "Loss, mean of each epoch"
        ),
        "accuracy.svg": Chart(
            charts.lines(accuracies, x_label="epoch", y_label="AP", y_at_least=(0, 1)),
            "AP and AP50 of the averaged weights, on generated scenes that are not trained on",
        ),
    }
    for name, chart in drawn.items():
        write_svg(out / name, chart)
    page = Page("parts-nano: training", "", command(), [Section("Curves", list(drawn.values()))])
    write_html(out / "training.html", page)


def command() -> str:
    """What was typed, without the folder, which says nothing of the result."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if word != "--out" or next(words, None) is None]
    return " ".join(["python", "models/parts-nano/train.py", *kept])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = Plan()
    parser.add_argument(
        "--out", type=Path, default=Path("runs/parts-nano"), help="checkpoint, scenes, results"
    )
    parser.add_argument("--scenes", type=int, default=defaults.scenes)
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--low-epochs", type=int, default=defaults.low_epochs)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument(
        "--bf16", action="store_true", help="bfloat16: faster on CPUs with AMX or AVX512-BF16"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--validate-every", type=int, default=2, metavar="EPOCHS")
    parser.add_argument("--validation", type=int, default=300, help="pictures of the curve's AP")
    parser.add_argument("--robustness", type=int, default=200, help="pictures of each condition")
    parser.add_argument("--held-out", type=int, default=1000, help="pictures of the final measurement")
    parser.add_argument("--publish", action="store_true", help="put the model and its figures into the card")
    return parser.parse_args()


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    plan = Plan(
        scenes=args.scenes,
        epochs=args.epochs,
        low_epochs=args.low_epochs,
        batch=args.batch,
        bf16=args.bf16,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(plan, args.out)
    run.resume()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    scenes, seeds = args.out / "scenes", range(TRAIN_SEED, TRAIN_SEED + plan.scenes)
    with Progress(*columns) as bar:

        def step(name: str) -> Callable[[int, int], None]:
            task = bar.add_task(name)
            return lambda done, total: bar.update(task, completed=done, total=total)

        data = render(scenes, seeds, step("render"))
        check = dataset(
            args.out / "validation", VALIDATION_SEED, args.validation, progress=step("validation")
        )
        with Feeder(scenes, seeds) as feeder:
            while run.epoch < plan.epochs:
                started = time.monotonic()
                run.train_epoch(feeder, bar)
                if run.epoch % args.validate_every == 0 or run.epoch == plan.epochs:
                    candidate = args.out / "candidate.onnx"
                    to_onnx(run.average.network, candidate, (SIDE, SIDE), dynamic=False)
                    report = accuracy(candidate, check)
                    run.history[-1].update(AP=report.AP or 0.0, AP50=report.AP50 or 0.0)
                run.seconds += time.monotonic() - started
                run.save()
                plot(run.history, args.out)
                bar.print(" ".join(f"{name} {value:.4g}" for name, value in run.history[-1].items()))
        plot(run.history, args.out)
        static = args.out / "parts-nano.onnx"
        to_onnx(run.average.network, static, (SIDE, SIDE), dynamic=False)
        to_onnx(run.average.network, args.out / "parts-nano-dynamic.onnx", (SIDE, SIDE), dynamic=True)
        result = {
            "command": command(),
            "machine": machine.identity(),
            "versions": {"torch": torch.__version__},
            "plan": asdict(plan),
            "parameters": sum(p.numel() for p in run.network.parameters()),
            # Wall time, of whichever calls; the measuring that follows takes some minutes more.
            "minutes": {"rendering": round(data.seconds / 60, 1), "training": round(run.seconds / 60, 1)},
            "held_out": held_out(static, args.out, args.held_out, step("held-out")),
            "robustness": robustness(static, args.out, args.robustness, step("robustness")),
            "history": run.history,
        }
    (args.out / "training.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: result[name] for name in ("held_out", "robustness", "minutes")}, indent=1))
    if args.publish:
        publish(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
