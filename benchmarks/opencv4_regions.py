"""A worker of region_proposal.py: Proposal and ROIPooling of OpenCV 4's networks, timed call by call.

    python opencv4_regions.py CASE.npz

Runs in a Python that has OpenCV 4, whose networks are the last with these layers. Each line that it reads,
`propose` or `pool`, is one call of that layer on one thread; it answers with its nanoseconds. At first it
answers with the proposals that it makes, as a path.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np


def network(case: dict[str, np.ndarray], names: tuple[str, ...], layer: str) -> cv2.dnn.Net:
    """One layer behind the inputs of these names."""
    text = ""
    for name in names:
        shape = " ".join(f"dim: {n}" for n in case[name].shape)
        text += (
            f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'
        )
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    text += f'layer {{ name: "out" {bottoms} top: "out" {layer} }}\n'
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    for name in names:
        net.setInput(case[name], name)
    return net


def main() -> None:
    cv2.setNumThreads(1)
    case = dict(np.load(sys.argv[1]))
    nets = {
        "propose": network(
            case,
            ("scores", "deltas", "im_info"),
            'type: "Proposal" proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 '
            "pre_nms_topn: 6000 post_nms_topn: 300 nms_thresh: 0.7 }",
        ),
        "pool": network(
            case,
            ("features", "rois"),
            'type: "ROIPooling" roi_pooling_param { pooled_h: 7 pooled_w: 7 spatial_scale: 0.0625 }',
        ),
    }
    results = {name: net.forward() for name, net in nets.items()}
    path = sys.argv[1] + ".results.npz"
    np.savez(path, xyxy=results["propose"].reshape(-1, 5)[:, 1:], pooled=results["pool"])
    print(cv2.__version__, path, flush=True)
    for line in sys.stdin:
        name = line.strip()
        # A layer runs again only where an input was set anew.
        fresh = "scores" if name == "propose" else "rois"
        nets[name].setInput(case[fresh], fresh)
        started = time.perf_counter_ns()
        nets[name].forward()
        print(time.perf_counter_ns() - started, flush=True)


if __name__ == "__main__":
    main()
